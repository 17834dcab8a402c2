"""Weights in 8 bits."""

from typing import TypeVar

from torch import nn

from chaperonin.adapt.inference import replace_layers
from chaperonin.kernels.linear import int8

Model = TypeVar("Model", bound=nn.Module)


def quantize_int8(model: Model) -> Model:
    """Change the encoder's linear layers, in place, into 8-bit ones that only infer, on this CPU.

    Weights are rounded once, one scale per output channel; activations as they come, one scale and lowest value per
    token, so no calibration data is needed. Embeddings, norms, attention, the residual stream and the heads stay
    fp32: together they are a small part of the work and the part that rounding would hurt.

    Raises UnavailableError where the processor has no 8-bit dot product.
    """
    replace_layers(model, int8.prepare)
    return model
