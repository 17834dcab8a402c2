"""LoRA on a language model: put in place by the PEFT library, proven to learn, collected, merged.

add_lora(model, LoraSettings(rank=8)); …train…; adapter = collect(model)
merge(plain, adapter)                        # or write_adapter(folder, adapter, base_name)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn

from chaperonin.adapt.lora_experts import GROUPED, LoraGroupedLinear, add_expert_lora, expert_of
from chaperonin.adapt.lora_files import Adapter, own_tensors, read_adapter, write_adapter
from chaperonin.adapt.lora_names import roles_of
from chaperonin.errors import ChaperoninError, UsageError, WeightsError
from chaperonin.layers.language import LanguageModel
from chaperonin.layers.linear import Linear
from chaperonin.layers.roles import ROLES as MODULES
from chaperonin.models.aido.experts import GroupedLinear, Router
from chaperonin.models.aido.model import AIDO

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
    """Roles: query, key, value, attention output, both layers of the feed-forward, and the head in full; of a mixture
    also the router, and the experts, which are its feed-forward."""


def add_lora(model: LanguageModel, settings: LoraSettings) -> None:
    """Wrap the layers of the settings' roles, in place, and freeze everything else of the model.

    B starts at zero, so the model's results stay the same; A and B are fp32 whatever the base is. Layers that are
    quantised or recomputed are wrapped just so. Numbers are drawn from PyTorch's generator: seed it before.

    Raises UsageError for a role that is unknown or matches no module, and for a model that has adapters already.
    """
    import peft

    ends, of_experts = _check(model, settings), MODULES["experts"]
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # PEFT computes with any number
        lora_dropout=settings.dropout,
        target_modules=rf"layers\.\d+\.({'|'.join(re.escape(end) for end in ends if end not in of_experts)})",
    )
    if set(ends) - set(of_experts):
        peft.inject_adapter_in_model(config, model, _NAME)
    chosen = tuple(end for end in ends if end in of_experts)
    if chosen:
        if not _wrapped(model):  # PEFT freezes what it does not wrap
            model.requires_grad_(False)
        add_expert_lora(model, chosen, settings.rank, settings.alpha, settings.dropout)
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
    if _wrapped(model) or any(isinstance(module, LoraGroupedLinear) for module in model.modules()):
        raise UsageError("the model has adapters already", advice="Merge them first.")
    layers = (nn.Linear, *GROUPED)
    names = [name for name, module in model.named_modules() if isinstance(module, layers)]
    is_mixture = any(name.endswith(MODULES["experts"]) for name in names)
    roles = [role for role in settings.targets if role != "head"]
    if is_mixture:
        roles = list(dict.fromkeys("experts" if role == "ffn" else role for role in roles))
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
    experts = {name: own for name, own in model.named_modules() if isinstance(own, LoraGroupedLinear)}
    if not wrapped and not experts:
        raise UsageError("the model has no adapter", advice="Call add_lora first.")
    pairs = {
        name: (_copy(layer.lora_A[_NAME].weight), _copy(layer.lora_B[_NAME].weight))
        for name, layer in wrapped.items()
    }
    for name, layer in experts.items():
        own = enumerate(layer.pairs())
        pairs |= {f"{name}.{expert}": (_copy(down), _copy(up)) for expert, (down, up) in own}
    rank, alpha = next(
        chain(
            ((int(layer.r[_NAME]), layer.lora_alpha[_NAME]) for layer in wrapped.values()),
            ((layer.down.shape[1], layer.alpha) for layer in experts.values()),
        )
    )
    return Adapter(
        rank=rank,
        alpha=alpha,
        targets=roles_of(pairs),
        tensors=pairs,
        model_type="fm4bio" if isinstance(model, AIDO) else "esm",
    )


def merge(model: LanguageModel, adapter: Adapter) -> None:
    """Add the adapter to the weights of a plain model, in place; products are in fp32, whatever the weights are.

    What the adapter trained in full of the model itself (a norm, the language head) takes the place of the model's.
    Nothing is changed when something does not fit: WeightsError.
    """
    modules = dict(model.named_modules())
    own = own_tensors(adapter)
    parameters = dict(model.named_parameters())
    weights = {name: _weight_of(name, modules) for name in adapter.tensors}
    for name, (down, up) in adapter.tensors.items():
        layer = modules.get(name)
        weight = weights[name]
        if weight is None:
            raise WeightsError(
                f"the adapter is for {name}, and this model has {type(layer).__name__} there",
                advice="Merge into the plain model that the adapter was trained on, before it is prepared.",
            )
        check_shape(name, down, up, (weight.shape[1], weight.shape[0]))
    for name, tensor in own.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise WeightsError(f"the adapter's {name} {list(tensor.shape)} does not fit this model")
    with torch.no_grad():
        for name, (down, up) in adapter.tensors.items():
            weight = cast(Tensor, weights[name])
            added = adapter.scale_of(name) * (up.to(weight.device) @ down.to(weight.device))
            weight.copy_(weight.float() + added)
        for name, tensor in own.items():
            parameters[name].copy_(tensor)


def _weight_of(name: str, modules: Mapping[str, nn.Module]) -> Tensor | None:
    """The plain weight that a name of an adapter is for, `[outputs, inputs]`; None where there is none."""
    layer = modules.get(name)
    if type(layer) in (Linear, Router):
        return cast(nn.Linear, layer).weight
    own = expert_of(name)
    layer = None if own is None else modules.get(own[0])
    if own is None or type(layer) is not GroupedLinear or own[1] >= len(layer.weight):
        return None
    return layer.weight[own[1]]


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
