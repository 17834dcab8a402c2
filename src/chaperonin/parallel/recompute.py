"""Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): layers are computed again in the backward pass.

Selective (Korthikanti et al. 2022, arXiv 2205.05198): what takes long to compute is kept, what takes much memory for
little work is computed again.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from chaperonin.kernels.attention import attention
from chaperonin.kernels.segments import Segments
from chaperonin.layers.attention import Rotation
from chaperonin.layers.language import LanguageModel
from chaperonin.layers.linear import fused
from chaperonin.models.aido.model import Layer as MixtureLayer
from chaperonin.models.esm.model import Layer

_DEAR = frozenset({
    "aten::addmm",
    "chaperonin::linear_int8_frozen",
    "chaperonin::grouped_matmul_cpu",
    "aten::_grouped_mm",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "torch_attn::_varlen_attn",
})  # fmt: skip
"""Operations whose results selective recomputation keeps: products with a bias, which those of adapters have not, and
attention."""


def recompute(model: LanguageModel, selective: bool = False) -> LanguageModel:
    """Keep only the input of every layer, in place; same results and gradients for one more forward pass.

    `selective`: keep the large products and attention too, so that only cheap operations are computed again.
    Names of modules and tensors stay, so adapters, quantisation and checkpoints do not notice, before or after.
    """
    for number, layer in enumerate(model.layers):
        if isinstance(layer, RecomputedLayer | RecomputedMixtureLayer):
            continue
        if isinstance(layer, MixtureLayer):
            model.layers[number] = RecomputedMixtureLayer(layer, selective)
        else:
            model.layers[number] = RecomputedLayer(cast(Layer, layer), selective)
    return model


class RecomputedLayer(Layer):
    """A layer that owns the modules of another and forgets what it computed until the backward pass asks."""

    def __init__(self, layer: Layer, selective: bool = False) -> None:
        nn.Module.__init__(self)
        _take_over(self, layer)
        self.options = _options(selective)

    def forward(self, x: Tensor, segments: Segments, rotation: Rotation) -> Tensor:
        """The layer's own; without gradient there is nothing to keep or to compute again."""
        if not torch.is_grad_enabled():
            return super().forward(x, segments, rotation)
        last = self.feed_forward.down
        plain = getattr(last, "base_layer", last)
        idle = getattr(last, "disable_adapters", False) or getattr(last, "merged", False)
        if idle or any(parameter.requires_grad for parameter in plain.parameters()):
            return checkpoint(super().forward, x, segments, rotation, **self.options)
        # A frozen product needs nothing but its weight on the way back: outside, it is not computed again.
        inner, rest = checkpoint(self._before_last, x, segments, rotation, **self.options)
        return rest + plain(inner)

    def _before_last(self, x: Tensor, segments: Segments, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """What goes into the layer's last product, and what is added to that."""
        attended = attention(*self.attention.heads(self.attention_norm(x), rotation), segments, 1.0)
        x = fused(self.attention.out, attended.flatten(1), residual=x)
        inner = fused(self.feed_forward.up, self.feed_forward_norm(x), activation="gelu")
        return inner, _with_adapters(self.feed_forward.down, inner, x)


class RecomputedMixtureLayer(MixtureLayer):
    """The same of an AIDO.Protein, from its first operation to its last."""

    def __init__(self, layer: MixtureLayer, selective: bool = False) -> None:
        nn.Module.__init__(self)
        _take_over(self, layer)
        self.residual_scale = layer.residual_scale
        self.options = _options(selective)

    def forward(self, x: Tensor, segments: Segments, rotation: Rotation) -> Tensor:
        """The layer's own; without gradient there is nothing to keep or to compute again."""
        if not torch.is_grad_enabled():
            return super().forward(x, segments, rotation)
        return checkpoint(super().forward, x, segments, rotation, **self.options)


def _take_over(layer: nn.Module, plain: nn.Module) -> None:
    """Give a layer the modules of another."""
    for name, child in plain.named_children():
        setattr(layer, name, child)
    layer.training = plain.training


def _options(selective: bool) -> dict[str, Any]:
    """Of PyTorch's checkpoint.

    The older, reentrant kind cuts the graph where its input needs no gradient: behind a frozen embedding no adapter
    would learn anything.
    """
    return {"use_reentrant": False, **({"context_fn": _contexts} if selective else {})}


def _contexts() -> Any:
    """The two that a selective checkpoint runs its passes in."""
    return create_selective_checkpoint_contexts(_policy)


def _policy(context: Any, operation: Any, *arguments: Any, **options: Any) -> CheckpointPolicy:
    dear = operation.name() in _DEAR
    return CheckpointPolicy.MUST_SAVE if dear else CheckpointPolicy.PREFER_RECOMPUTE


def _with_adapters(layer: Any, x: Tensor, total: Tensor) -> Tensor:
    """`total` and what the adapters of a layer make of x; the names are PEFT's."""
    for name in getattr(layer, "active_adapters", ()):
        down, up = layer.lora_A[name], layer.lora_B[name]
        rows = x if torch.is_autocast_enabled(x.device.type) else x.to(down.weight.dtype)
        total = total + up(down(layer.lora_dropout[name](rows))) * layer.scaling[name]
    return total
