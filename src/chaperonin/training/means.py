"""The means of an efficient fine-tuning, each a setting and free to combine: what they do to the model, in one order.

Numbers of the base, then adapters, then recomputation. Accumulation, bf16 products and data parallelism are the loop's.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from chaperonin.adapt.lora import LoraSettings, add_lora
from chaperonin.adapt.quantize import quantize_for_training
from chaperonin.errors import UsageError
from chaperonin.layers.language import LanguageModel
from chaperonin.layers.linear import Linear
from chaperonin.parallel.recompute import recompute
from chaperonin.tasks.predictor import Predictor

Method = Literal["lora", "full", "frozen"]


@dataclass(frozen=True)
class Means:
    """How a model is fine-tuned, and what is spared."""

    method: Method = "lora"
    """Adapters on a frozen base (`lora`), every weight (`full`), or the head alone (`frozen`), for which the sequences
    go through the base once and never again."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Rank, scale and places of the adapters."""
    base: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """Numbers of the base under adapters: `int8` is QLoRA, `auto` those that products are computed in, and `bf16` needs
    products in bf16. A base that is trained, or frozen without adapters, stays fp32."""
    recompute: bool | Literal["selective"] = False
    """Keep the input of each layer only and compute the rest again on the way back (activation checkpointing);
    `selective` keeps large products and attention too, and computes again what is cheap."""

    def __str__(self) -> str:
        parts = [f"lora rank {self.lora.rank}" if self.method == "lora" else self.method]
        if self.method == "lora" and self.base not in ("auto", "fp32"):
            parts.append(f"{self.base} base")
        if self.recompute:
            parts.append("recomputation" if self.recompute is True else f"{self.recompute} recomputation")
        return ", ".join(parts)


def apply_means(predictor: Predictor, means: Means, dtype: torch.dtype | None) -> None:
    """Change a predictor, in place, into what is trained. `dtype` is that of the products, None for fp32."""
    _check(means, dtype)
    backbone = predictor.backbone
    if means.method == "full":
        freeze_unused(backbone)
    else:
        backbone.requires_grad_(False)
        _store(backbone, means, dtype)
    if means.method == "lora":
        add_lora(backbone, means.lora)
        for module in backbone.modules():
            if dtype is not None and hasattr(module, "cast_input_dtype_enabled"):
                # PEFT would widen what autocast narrows again.
                vars(module)["cast_input_dtype_enabled"] = False
    if means.recompute and means.method != "frozen":
        recompute(backbone, selective=means.recompute == "selective")


def _check(means: Means, dtype: torch.dtype | None) -> None:
    """UsageError for numbers of the base that do not go with the method or the products."""
    if means.base in ("auto", "fp32"):
        return
    if means.method == "full":
        raise UsageError(
            f"a base of {means.base} cannot be trained itself",
            where="means.base",
            advice="Leave it out, or use means.method=lora.",
        )
    if means.method == "frozen":
        raise UsageError(
            f"the vectors of a frozen base are computed once, in fp32, not from {means.base}",
            where="means.base",
            advice="Leave it out, or use means.method=lora.",
        )
    if means.base == "bf16" and dtype is None:
        raise UsageError(
            "a base of bf16 needs products in bf16, and here they are in fp32",
            where="means.base, training.precision",
            advice="Use means.base=int8 or fp32; where `chaperonin doctor` shows bf16, training.precision=bf16 too.",
        )


def base_dtype(means: Means, dtype: torch.dtype | None) -> torch.dtype:
    """What the matrices of the layers are stored in: a base that is trained, or rounded to bytes later, in fp32."""
    if means.method != "lora" or means.base in ("fp32", "int8"):
        return torch.float32
    return torch.bfloat16 if means.base == "bf16" else dtype or torch.float32


def freeze_unused(backbone: LanguageModel) -> None:
    """Train everything but the heads that no task here uses, and the angles of the positions."""
    backbone.requires_grad_(True)
    for unused in (backbone.masked_language, backbone.contact):
        if unused is not None:
            unused.requires_grad_(False)
    if backbone.config.positions == "rotary":
        backbone.rotary_frequencies.requires_grad_(False)


def _store(backbone: LanguageModel, means: Means, dtype: torch.dtype | None) -> None:
    """Give the frozen weights of the layers the numbers they are multiplied in, so that none is kept twice."""
    if means.base == "int8":
        quantize_for_training(backbone)
        return
    wanted = base_dtype(means, dtype)
    if wanted == torch.float32:
        return
    for module in backbone.layers.modules():
        if isinstance(module, Linear):
            for parameter in module.parameters():
                parameter.data = parameter.data.to(wanted)


def trainable_parameters(model: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
