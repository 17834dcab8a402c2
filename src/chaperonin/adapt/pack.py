"""Weights in oneDNN's own layout: the same numbers, multiplied faster."""

from functools import partial
from typing import TypeVar

import torch
from torch import nn

from chaperonin.adapt.inference import replace_layers
from chaperonin.kernels.linear import onednn

Model = TypeVar("Model", bound=nn.Module)


def pack_linears(model: Model, dtype: torch.dtype = torch.float32) -> Model:
    """Change the encoder's linear layers, in place, into ones that only infer, on this CPU.

    fp32 gives the plain model's results to rounding. bf16 rounds the encoder's weights and the rows that
    they multiply to 8 bits of mantissa; attention, norms, the residual stream and the heads stay fp32.

    Raises UnavailableError where PyTorch has no oneDNN or the processor no native bf16.
    """
    replace_layers(model, partial(onednn.prepare, dtype=dtype))
    return model
