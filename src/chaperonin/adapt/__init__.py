"""Functions that turn a model into a changed model: packed, quantised or in another precision."""

from chaperonin.adapt.pack import pack_linears
from chaperonin.adapt.precision import cast
from chaperonin.adapt.prepare import prepare
from chaperonin.adapt.quantize import quantize_int8

__all__ = ["cast", "pack_linears", "prepare", "quantize_int8"]
