"""The feed-forward of AIDO.Protein: gated, and split into experts of which each token goes through a few."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from chaperonin.kernels.grouped_matmul import grouped_matmul
from chaperonin.kernels.grouped_matmul.gates import Gate, gated
from chaperonin.layers.linear import Linear, fused
from chaperonin.models.aido.config import AIDOConfig
from chaperonin.shapes import Float, Int


class FeedForward(nn.Module):
    """Two linear layers with a gate between them: the dense model's."""

    def __init__(self, config: AIDOConfig) -> None:
        super().__init__()
        self.gate: Gate = config.gate
        self.up = Linear(config.width, 2 * config.inner_width, config.bias)
        self.down = Linear(config.inner_width, config.width, config.bias)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """down(gate(up(x))) + residual."""
        return fused(self.down, gated(self.up(x), self.gate), residual=residual)


class MixtureOfExperts(nn.Module):
    """A router and gated feed-forwards; each token goes through those that the router scores highest."""

    def __init__(self, config: AIDOConfig) -> None:
        super().__init__()
        self.experts_per_token = config.experts_per_token
        self.router = Router(config.width, config.experts)
        self.experts = Experts(config)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Σ weight · expert(x) over each token's experts, + residual."""
        routes = route(self.router(x).to(x.dtype), self.experts_per_token)
        results = self.experts(x[routes.tokens], routes.counts)
        # Back in the order of the tokens each one's results are neighbours: their sum has one order on any device.
        results = results[routes.places].unflatten(0, (len(x), -1))
        return residual + torch.einsum("tk,tkw->tw", routes.weights, results)


class Router(nn.Linear):
    """Scores of all experts. Its product is in fp32 whatever the model is in, as published."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__(width, experts, bias=False)

    def forward(self, input: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens experts"]:
        """Logits, fp32."""
        with torch.autocast(input.device.type, enabled=False):
            return functional.linear(input.float(), self.weight.float())


class Experts(nn.Module):
    """All experts of a layer, side by side in two tensors."""

    def __init__(self, config: AIDOConfig) -> None:
        super().__init__()
        self.gate: Gate = config.gate
        self.up = GroupedLinear(config.experts, config.width, 2 * config.inner_width, config.bias)
        self.down = GroupedLinear(config.experts, config.inner_width, config.width, config.bias)

    def forward(
        self, rows: Float[Tensor, "rows width"], counts: Int[Tensor, " experts"]
    ) -> Float[Tensor, "rows width"]:
        """down(gate(up(row))) by each row's expert; `counts` rows belong to each, in the order of the experts."""
        return self.down(self.up(rows, counts, self.gate), counts)


class GroupedLinear(nn.Module):
    """One linear layer per expert."""

    def __init__(self, groups: int, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(groups, outputs)) if bias else None

    def forward(self, x: Tensor, counts: Tensor, gate: Gate | None = None) -> Tensor:
        """gate(x weightᵀ + bias), each row with its own group's."""
        return grouped_matmul(x, self.weight, self.bias, counts, gate)


@dataclass(frozen=True)
class Routes:
    """Which rows go to which expert, and the way back."""

    weights: Float[Tensor, "tokens chosen"]
    """Share of each of a token's experts; they sum to 1."""
    tokens: Int[Tensor, " rows"]
    """Token of each row, expert after expert."""
    places: Int[Tensor, " rows"]
    """Row of each (token, choice), token after token."""
    counts: Int[Tensor, " experts"]
    """Rows of each expert."""


def route(logits: Float[Tensor, "tokens experts"], chosen: int) -> Routes:
    """Each token to its `chosen` highest experts, weighted by the softmax over these alone, in fp32.

    Nothing waits for the device: counts stay a tensor. No expert has a capacity and no token is dropped.
    """
    scores, experts = logits.topk(chosen, dim=-1)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(logits.dtype)
    flat = experts.flatten()
    order = flat.argsort(stable=True)
    places = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    counts = torch.zeros(logits.shape[1], dtype=torch.int64, device=flat.device)
    counts.scatter_add_(0, flat, torch.ones_like(flat))
    return Routes(weights, order.div(chosen, rounding_mode="floor"), places, counts)
