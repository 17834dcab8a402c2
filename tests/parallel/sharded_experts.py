"""One process of several that share experts: what it computes on its batch, for the test beside it."""

import sys
from pathlib import Path
from typing import Any

import torch

from chaperonin.kernels.segments import Segments
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.parallel.data import Processes, join_processes, leave_processes
from chaperonin.parallel.expert import add_gradients, shard_experts, whole_parameters

LENGTHS = ((5, 9, 3), (12,), (2, 2, 7), (30, 1))
"""Proteins of each process's batch."""


def model() -> AIDO:
    """The same in every process."""
    own = AIDO(AIDOConfig(width=16, depth=2, heads=2, inner_width=24, experts=8, experts_per_token=2))
    generator = torch.Generator().manual_seed(0)
    for parameter in own.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return own


def batch(number: int) -> tuple[torch.Tensor, Segments]:
    """Of one process. The last one's tokens are all alike, so that most experts get no row of it."""
    lengths = LENGTHS[number]
    generator = torch.Generator().manual_seed(number)
    tokens = torch.randint(1, 27, (sum(lengths),), generator=generator)
    return (torch.full_like(tokens, 5) if number == 3 else tokens), Segments(lengths)


def step(own: AIDO, number: int) -> torch.Tensor:
    """Logits of a batch, their gradients added to the model's."""
    logits = own.lm_head(own(*batch(number)))
    logits.square().sum().backward()
    return logits.detach()


def main(folder: Path, ways: list[int]) -> None:
    """Write what this process found, by each number of processes that share."""
    processes, _ = join_processes(torch.device("cpu"))
    for sharing in ways:
        torch.save(compute(processes, sharing), folder / f"{sharing}-{processes.rank}.pt")
    leave_processes()


def compute(processes: Processes, sharing: int) -> dict[str, Any]:
    """One step."""
    own = shard_experts(model(), processes, sharing)
    logits = step(own, processes.rank)
    add_gradients(own, processes)
    whole = whole_parameters(own)
    for parameter in own.parameters():  # gradients come together by the same way as weights
        parameter.data = parameter.grad
    held = own.layers[0].feed_forward.experts.up.weight.shape[0]
    return {"logits": logits, "weights": whole, "gradients": whole_parameters(own), "held": held}


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])
