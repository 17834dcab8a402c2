"""A loaded model made ready to infer on a device in a precision."""

from typing import Literal, TypeVar

import torch
from torch import nn

from chaperonin.adapt.pack import pack_linears
from chaperonin.adapt.precision import cast, require_bf16
from chaperonin.adapt.quantize import quantize_int8
from chaperonin.errors import UnavailableError
from chaperonin.kernels.hardware import lacks_bf16
from chaperonin.kernels.linear import onednn

Model = TypeVar("Model", bound=nn.Module)
Precision = Literal["auto", "fp32", "bf16", "int8"]


def prepare(model: Model, precision: Precision, device: torch.device) -> tuple[Model, str]:
    """The model, changed in place and in evaluation mode, and the precision that it got: fp32, bf16 or int8.

    `auto` is bf16 on a GPU that has it natively, else fp32. Everything on the CPU ends without gradients and cannot
    be saved any more: keep a plain model for that.

    Raises UnavailableError for what was asked for by name and this machine does not have.
    """
    chosen = choose_precision(precision, device)
    model = model.eval().requires_grad_(False)
    if device.type != "cpu":
        return cast(model.to(device), "bf16" if chosen == "bf16" else "fp32"), chosen
    model = cast(model.to(device), "fp32")
    if chosen == "int8":
        return quantize_int8(model), chosen
    if chosen == "bf16":
        return pack_linears(model, torch.bfloat16), chosen
    # A PyTorch without oneDNN (an Arm build, say) runs the plain layers: same results.
    return (model if onednn.lacks() else pack_linears(model)), chosen


def choose_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16", "int8"]:
    """What a precision means on a device; UnavailableError for one that it does not have."""
    if precision == "auto":
        return "bf16" if device.type == "cuda" and not lacks_bf16(device) else "fp32"
    if precision == "int8" and device.type != "cpu":
        raise UnavailableError(f"int8 runs on CPUs, not on {device}", advice="Use precision auto.")
    if precision == "bf16":
        require_bf16(device)
    return precision
