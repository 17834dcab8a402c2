"""Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): layers are computed again in the backward pass."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from chaperonin.kernels.attention import attention
from chaperonin.kernels.segments import Segments
from chaperonin.layers.linear import fused
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
        last = self.feed_forward.down
        plain = getattr(last, "base_layer", last)
        # The older, reentrant kind cuts the graph where its input needs no gradient: behind a frozen embedding no
        # adapter would learn anything.
        idle = getattr(last, "disable_adapters", False) or getattr(last, "merged", False)
        if idle or any(parameter.requires_grad for parameter in plain.parameters()):
            return checkpoint(super().forward, x, segments, rotation, use_reentrant=False)
        # A frozen product needs nothing but its weight on the way back: outside, it is not computed again.
        inner, rest = checkpoint(self._before_last, x, segments, rotation, use_reentrant=False)
        return rest + plain(inner)

    def _before_last(self, x: Tensor, segments: Segments, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """What goes into the layer's last product, and what is added to that."""
        attended = attention(*self.attention.heads(self.attention_norm(x), rotation), segments, 1.0)
        x = fused(self.attention.out, attended.flatten(1), residual=x)
        inner = fused(self.feed_forward.up, self.feed_forward_norm(x), activation="gelu")
        return inner, _with_adapters(self.feed_forward.down, inner, x)


def _with_adapters(layer: Any, x: Tensor, total: Tensor) -> Tensor:
    """`total` and what the adapters of a layer make of x; the names are PEFT's."""
    for name in getattr(layer, "active_adapters", ()):
        down, up = layer.lora_A[name], layer.lora_B[name]
        rows = x if torch.is_autocast_enabled(x.device.type) else x.to(down.weight.dtype)
        total = total + up(down(layer.lora_dropout[name](rows))) * layer.scaling[name]
    return total
