"""Where a mixture of experts sends its tokens: losses that keep the router even and its logits small, and the usage.

The model stays as in its paper: hooks on its routers take the logits of one forward pass. A second pass, by which
recomputation gets the layers back during the backward pass, comes when the hooks are gone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from chaperonin.models.aido.experts import MixtureOfExperts
from chaperonin.shapes import Float, Int


@dataclass(frozen=True)
class Routing:
    """What the router of one layer said of all tokens of a batch."""

    logits: Float[Tensor, "tokens experts"]
    """fp32, with gradient."""
    chosen: Int[Tensor, "tokens chosen"]
    """The experts that each token went through."""

    @property
    def counts(self) -> Float[Tensor, " experts"]:
        """Choices that fell on each expert."""
        flat = self.chosen.flatten()
        ones = torch.ones_like(flat, dtype=torch.float32)
        # Not bincount: it waits for the device, and its result has no shape before.
        return ones.new_zeros(self.logits.shape[1]).scatter_add_(0, flat, ones)

    @property
    def shares(self) -> Float[Tensor, " experts"]:
        """Share of all choices that fell on each expert; they sum to 1 however many experts a token has."""
        return self.counts / self.chosen.numel()


@contextmanager
def routings(model: nn.Module) -> Iterator[list[Routing]]:
    """A list that the forward passes inside fill: one entry a layer with experts, none for a dense model."""
    found: list[Routing] = []

    def keeper(chosen: int) -> Any:
        def keep(router: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
            # Rounded as the layer rounds them before it chooses.
            rounded = logits.detach().to(inputs[0].dtype)
            found.append(Routing(logits, rounded.topk(chosen, dim=-1).indices))

        return keep

    mixtures = [own for own in model.modules() if isinstance(own, MixtureOfExperts)]
    hooks = [own.router.register_forward_hook(keeper(own.experts_per_token)) for own in mixtures]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def balance_loss(layers: Sequence[Routing]) -> Tensor:
    """E · Σ f P, the mean over the layers (Fedus et al. 2021, arXiv 2101.03961, equation 4).

    f is each expert's share of the choices, P its mean probability over all experts; both are over the tokens of the
    batch. 1 where both are even, E where one expert gets everything. The gradient flows through P.
    """
    each = [
        own.logits.shape[1] * (own.shares * own.logits.softmax(dim=-1).mean(dim=0)).sum() for own in layers
    ]
    return torch.stack(each).mean()


def router_z_loss(layers: Sequence[Routing]) -> Tensor:
    """Mean over tokens and layers of logsumexp(logits)² (Zoph et al. 2022, arXiv 2202.08906, equation 5)."""
    return torch.stack([own.logits.logsumexp(dim=-1).square().mean() for own in layers]).mean()


@torch.no_grad()
def usage(layers: Sequence[Routing]) -> dict[str, Tensor]:
    """Busiest and idlest expert's share of the choices in each layer, and how even the shares are.

    Evenness is the entropy of the shares over that of even ones: 1 where all are used alike, 0 where one gets all.
    """
    found: dict[str, Tensor] = {}
    evenness = []
    for number, own in enumerate(layers, start=1):
        shares = own.shares
        evenness.append(torch.special.entr(shares).sum() / log(max(2, len(shares))))
        found[f"busiest_expert_of_layer_{number}"] = shares.max()
        found[f"idlest_expert_of_layer_{number}"] = shares.min()
        found[f"expert_evenness_of_layer_{number}"] = evenness[-1]
    return {"expert_evenness": torch.stack(evenness).mean(), **found}
