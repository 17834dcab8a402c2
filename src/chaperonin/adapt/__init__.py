"""Functions that turn a model into a changed model: adapted, packed, quantised or in another precision."""

from chaperonin.adapt.adapters import AdapterBank
from chaperonin.adapt.lora import (
    Adapter,
    LoraSettings,
    add_lora,
    collect,
    merge,
    read_adapter,
    require_gradients,
    write_adapter,
)
from chaperonin.adapt.pack import pack_linears
from chaperonin.adapt.precision import cast
from chaperonin.adapt.prepare import prepare
from chaperonin.adapt.quantize import quantize_for_training, quantize_int8

__all__ = [
    "Adapter",
    "AdapterBank",
    "LoraSettings",
    "add_lora",
    "cast",
    "collect",
    "merge",
    "pack_linears",
    "prepare",
    "quantize_for_training",
    "quantize_int8",
    "read_adapter",
    "require_gradients",
    "write_adapter",
]
