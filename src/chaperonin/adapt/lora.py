"""LoRA on an ESM: put in place by the PEFT library, proven to learn, collected, merged.

add_lora(model, LoraSettings(rank=8)); …train…; adapter = collect(model)
merge(plain, adapter)                        # or write_adapter(folder, adapter, base_name)
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chaperonin.adapt.lora_files import Adapter, own_tensors, read_adapter, roles_of, write_adapter
from chaperonin.errors import ChaperoninError, UsageError, WeightsError
from chaperonin.layers.language import LanguageModel
from chaperonin.layers.linear import Linear
from chaperonin.models.esm.roles import ROLES as MODULES

__all__ = [
    "ROLES", "Adapter", "LoraSettings", "add_lora", "collect", "merge", "read_adapter", "require_gradients",
    "write_adapter",
]  # fmt: skip

ROLES = (*MODULES, "head")
"""What LoRA may be put on; the head is trained in full wherever there is one."""

_NAME = "default"
"""PEFT's name of the one adapter that is trained."""


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adaptation of the encoder's linear layers."""

    rank: int = 8
    """Channels between A and B."""
    alpha: float = 16
    """B A is added times alpha / rank."""
    dropout: float = 0.0
    """Share of the inputs of A that training drops."""
    targets: tuple[str, ...] = ("q", "k", "v", "out", "ffn")
    """Roles: query, key, value, attention output, both layers of the feed-forward, and the head in full."""


def add_lora(model: LanguageModel, settings: LoraSettings) -> None:
    """Wrap the layers of the settings' roles, in place, and freeze everything else of the model.

    B starts at zero, so the model's results stay the same; A and B are fp32 whatever the base is. Layers that are
    quantised or recomputed are wrapped just so. Numbers are drawn from PyTorch's generator: seed it before.

    Raises UsageError for a role that is unknown or matches no module, and for a model that has adapters already.
    """
    import peft

    ends = _check(model, settings)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # PEFT computes with any number
        lora_dropout=settings.dropout,
        target_modules=rf"layers\.\d+\.({'|'.join(re.escape(end) for end in ends)})",
    )
    peft.inject_adapter_in_model(config, model, _NAME)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.train(model.training)


def _check(model: LanguageModel, settings: LoraSettings) -> list[str]:
    """Ends of the module names that the roles stand for."""
    if settings.rank < 1 or not settings.alpha > 0 or not 0 <= settings.dropout < 1:
        raise UsageError(
            f"LoRA of rank {settings.rank}, alpha {settings.alpha:g}, dropout {settings.dropout:g} does not exist",
            advice="Rank is at least 1, alpha above 0, dropout from 0 to below 1.",
        )
    unknown = [role for role in settings.targets if role not in ROLES]
    if unknown:
        raise UsageError(f"LoRA has no role {unknown[0]!r}", advice=f"Roles are {', '.join(ROLES)}.")
    if _wrapped(model):
        raise UsageError("the model has adapters already", advice="Merge them first.")
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    roles = [role for role in settings.targets if role != "head"]
    for role in roles:
        if not any(name.endswith(MODULES[role]) for name in names):
            raise UsageError(
                f"the role {role!r} matches no linear layer of this model",
                advice="LoRA goes on a plain or frozen 8-bit model, not on one prepared for inference.",
            )
    if not roles:
        raise UsageError(
            "LoRA without a role of the encoder would train the head alone",
            advice="Add q, k, v, out or ffn to its targets, or train on a frozen backbone.",
        )
    return [end for role in roles for end in MODULES[role]]


def collect(model: LanguageModel) -> Adapter:
    """A copy of the adapter that `add_lora` put into the model, on the CPU in fp32."""
    wrapped = _wrapped(model)
    if not wrapped:
        raise UsageError("the model has no adapter", advice="Call add_lora first.")
    pairs = {
        name: (_copy(layer.lora_A[_NAME].weight), _copy(layer.lora_B[_NAME].weight))
        for name, layer in wrapped.items()
    }
    first = next(iter(wrapped.values()))
    return Adapter(
        rank=int(first.r[_NAME]),
        alpha=first.lora_alpha[_NAME],
        targets=roles_of(pairs),
        tensors=pairs,
    )


def merge(model: LanguageModel, adapter: Adapter) -> None:
    """Add the adapter to the weights of a plain model, in place; products are in fp32, whatever the weights are.

    What the adapter trained in full of the model itself (a norm, the language head) takes the place of the model's.
    Nothing is changed when something does not fit: WeightsError.
    """
    modules = dict(model.named_modules())
    own = own_tensors(adapter)
    parameters = dict(model.named_parameters())
    for name, (down, up) in adapter.tensors.items():
        layer = modules.get(name)
        if type(layer) is not Linear:
            raise WeightsError(
                f"the adapter is for {name}, and this model has {type(layer).__name__} there",
                advice="Merge into the plain model that the adapter was trained on, before it is prepared.",
            )
        check_shape(name, down, up, (layer.in_features, layer.out_features))
    for name, tensor in own.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise WeightsError(f"the adapter's {name} {list(tensor.shape)} does not fit this model")
    with torch.no_grad():
        for name, (down, up) in adapter.tensors.items():
            weight = parameters[f"{name}.weight"]
            added = adapter.scale_of(name) * (up.to(weight.device) @ down.to(weight.device))
            weight.copy_(weight.float() + added)
        for name, tensor in own.items():
            parameters[name].copy_(tensor)


def check_shape(name: str, down: Tensor, up: Tensor, shape: tuple[int, int]) -> None:
    """Raise WeightsError unless A and B fit a layer with (inputs, outputs)."""
    found = (down.shape[1], up.shape[0])
    if found != shape:
        raise WeightsError(
            f"{name} is {shape[0]} → {shape[1]} channels, the adapter's {found[0]} → {found[1]}",
            advice="The adapter was trained on another model: use the base that its adapter_config.json names.",
        )


def require_gradients(model: nn.Module, loss: Tensor) -> None:
    """Prove with the loss of one probe batch that every trainable tensor learns; `.grad` stays as it is.

    A gradient of zeros counts (B starts at zero, so A's is zero in the first step) unless all are. Raises
    ChaperoninError with the names of the tensors that get none: training would leave them as they are, in silence.
    """
    named = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    if not named:
        raise ChaperoninError(
            "no tensor of the model is trainable", advice="Train a head, LoRA or the model."
        )
    gradients: tuple[Tensor | None, ...] = (None,) * len(named)
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    without = [name for name, gradient in zip(named, gradients, strict=True) if gradient is None]
    if without:
        shown = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        raise ChaperoninError(
            f"{len(without)} of {len(named)} trainable tensors get no gradient: {shown}",
            advice="Freeze them, or use them in the loss.",
        )
    if not any(gradient is not None and gradient.any() for gradient in gradients):
        raise ChaperoninError("every gradient is zero: nothing would be learned", advice="Check the labels.")


def _wrapped(model: nn.Module) -> dict[str, Any]:
    """Module name → PEFT's layer around it."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu().clone()
