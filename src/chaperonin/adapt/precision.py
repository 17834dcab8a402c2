"""A model in another floating-point precision."""

from typing import Literal, TypeVar

import torch
from torch import nn

from chaperonin.errors import UnavailableError
from chaperonin.kernels.hardware import lacks_bf16

Model = TypeVar("Model", bound=nn.Module)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def cast(model: Model, precision: Literal["fp32", "bf16"]) -> Model:
    """Round every parameter of the model, in place, but those that need all digits: angles, and routers' scores.

    Raises UnavailableError for bf16 where the model's device would only emulate it.
    """
    dtype = DTYPES[precision]
    if dtype == torch.bfloat16:
        require_bf16(next(model.parameters()).device)
    for name, parameter in model.named_parameters():
        if not name.endswith(("rotary_frequencies", "router.weight")):
            parameter.data = parameter.data.to(dtype)
    return model


def require_bf16(device: torch.device) -> None:
    """Raise UnavailableError where bf16 is not native."""
    if missing := lacks_bf16(device):
        raise UnavailableError(f"bf16 is not native on {device}: {missing}", advice="Use precision fp32.")
