"""In which numbers a model is trained."""

from typing import Literal

import torch

from chaperonin.adapt.precision import require_bf16
from chaperonin.kernels.hardware import lacks_bf16

Precision = Literal["auto", "fp32", "bf16"]


def native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 itself; elsewhere bf16 is emulated, and slower than fp32."""
    return not lacks_bf16(device)


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """What products are computed in: bf16, or None for plain fp32.

    Raises UnavailableError for bf16 that was asked for by name and is not native.
    """
    if precision == "bf16":
        require_bf16(device)
    return torch.bfloat16 if precision != "fp32" and native_bf16(device) else None
