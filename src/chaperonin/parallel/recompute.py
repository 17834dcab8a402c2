"""Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): layers are computed again in the backward pass."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from chaperonin.kernels.segments import Segments
from chaperonin.models.esm.model import ESM, Layer, Rotation


def recompute(model: ESM) -> ESM:
    """Keep only the input of every layer, in place; same results and gradients for one more forward pass.

    Names of modules and tensors stay, so adapters, quantisation and checkpoints do not notice, before or after.
    """
    for number, layer in enumerate(model.layers):
        if not isinstance(layer, RecomputedLayer):
            model.layers[number] = RecomputedLayer(cast(Layer, layer))
    return model


class RecomputedLayer(Layer):
    """A layer that owns the modules of another and forgets what it computed until the backward pass asks."""

    def __init__(self, layer: Layer) -> None:
        nn.Module.__init__(self)
        for name, child in layer.named_children():
            setattr(self, name, child)
        self.training = layer.training

    def forward(self, x: Tensor, segments: Segments, rotation: Rotation) -> Tensor:
        """The layer's own; without gradient there is nothing to keep or to compute again."""
        if not torch.is_grad_enabled():
            return super().forward(x, segments, rotation)
        # The older, reentrant kind cuts the graph where its input needs no gradient: behind a frozen embedding no
        # adapter would learn anything.
        return checkpoint(super().forward, x, segments, rotation, use_reentrant=False)
