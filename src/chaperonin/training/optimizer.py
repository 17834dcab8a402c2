"""AdamW for everything, or Muon for the matrices inside the layers and AdamW for the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from chaperonin.errors import UsageError

BACKBONES = ("backbone.", "protein.")
"""Where a predictor, and a ProtST, have the protein model that they begin with."""


@dataclass(frozen=True)
class OptimizerSettings:
    """How gradients become steps."""

    method: Literal["adamw", "muon"] = "adamw"
    """Muon (Jordan et al. 2024) steps along orthogonalised momentum; it learns more per token, and costs a few products
    of the weights with themselves per step."""
    weight_decay: float = 0.01
    """Share of the learning rate by which matrices shrink; biases and norms never do."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's memory of gradients and of their squares."""
    momentum: float = 0.95
    """Muon's memory of gradients."""
    backbone_share: float = 1.0
    """Learning rate of the protein model that a fine-tuning or a ProtST begins with, and of its adapters, as a share of
    that of everything else; ProtST was trained with 0.1."""


def build_optimizers(model: nn.Module, settings: OptimizerSettings) -> list[Optimizer]:
    """Optimizers that together own every parameter that is trained; their learning rate is set at each step."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    inside = [
        name
        for name, parameter in trained.items()
        if settings.method == "muon"
        and parameter.ndim == 2
        and _decays(name, parameter)
        and name.startswith("layers.")
    ]
    if settings.method == "muon" and not inside:
        raise UsageError(
            "no layer of this model is trained by muon",
            where="training.optimizer.method",
            advice="Write adamw: muon is for pre-training a language model.",
        )
    rest = {name: parameter for name, parameter in trained.items() if name not in inside}
    groups = _groups(rest, settings)
    optimizers: list[Optimizer] = [
        AdamW([group for group in groups if group["params"]], betas=settings.betas, fused=True)
    ]
    if inside:
        matrices = [trained[name] for name in inside]
        # This scaling makes a step as large as AdamW's, so that both share one learning rate (Liu et al. 2025).
        muon = Muon(
            matrices,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        optimizers.append(muon)
    return optimizers


def _groups(parameters: Mapping[str, nn.Parameter], settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Matrices, which decay, and the rest; where the backbone has a rate of its own, its two apart."""
    share = settings.backbone_share
    shares = {name: share if name.startswith(BACKBONES) else 1.0 for name in parameters}
    if share < 0 or share not in (1.0, *shares.values()):
        what = f"a share cannot be {share:g}" if share < 0 else "no backbone is trained here"
        advice = "Leave it out; it is for a ProtST, and for means.method=full and lora."
        raise UsageError(what, where="training.optimizer.backbone_share", advice=advice)
    return [
        {
            "params": [
                own
                for name, own in parameters.items()
                if shares[name] == each and _decays(name, own) is decays
            ],
            "weight_decay": settings.weight_decay if decays else 0.0,
            "share": each,
        }
        for each in sorted(set(shares.values()))
        for decays in (True, False)
    ]


def _decays(name: str, parameter: nn.Parameter) -> bool:
    """Matrices do; the biases of experts lie side by side in one tensor, and are biases all the same."""
    return parameter.ndim >= 2 and not name.endswith("bias")


def set_rate(optimizers: list[Optimizer], rate: float) -> None:
    """Give every group this learning rate, or its share of it."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
