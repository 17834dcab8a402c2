"""AdamW for everything, or Muon for the matrices inside the layers and AdamW for the rest."""

from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import AdamW, Muon, Optimizer


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


def build_optimizers(model: nn.Module, settings: OptimizerSettings) -> list[Optimizer]:
    """Optimizers that together own every parameter that is trained; their learning rate is set at each step."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    inside = [
        name
        for name, parameter in trained.items()
        if settings.method == "muon" and parameter.ndim == 2 and name.startswith("layers.")
    ]
    rest = [parameter for name, parameter in trained.items() if name not in inside]
    groups = [
        {
            "params": [parameter for parameter in rest if parameter.ndim >= 2],
            "weight_decay": settings.weight_decay,
        },
        {"params": [parameter for parameter in rest if parameter.ndim < 2], "weight_decay": 0.0},
    ]
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


def set_rate(optimizers: list[Optimizer], rate: float) -> None:
    """Give every group this learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
