"""One process of several that share experts: what it computes on its batch, for the test beside it."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from chaperonin.config import resolve
from chaperonin.kernels.segments import Segments
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.parallel.data import Processes, join_processes, leave_processes
from chaperonin.parallel.expert import add_gradients, clip_gradients, put_together, shard_experts
from chaperonin.training.pretrain import MODEL_FOLDER, Pretraining, new_model, pretrain, read_corpus

STEPS = 4
"""Of pre-training with each number of processes that share."""
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


def compute(processes: Processes, sharing: int) -> dict[str, Any]:
    """One step."""
    own = shard_experts(model(), processes, sharing)
    logits = step(own, processes.rank)
    add_gradients(own, processes)
    weights = whole(own)
    gradients = {name: value.grad.clone() for name, value in own.named_parameters()}
    held = own.layers[0].feed_forward.experts.up.weight.shape[0]
    length = clip_gradients(own, 0.5)
    clipped = put_together(own, {name: value.grad for name, value in own.named_parameters()})
    return {
        "logits": logits, "weights": weights, "gradients": gradients, "held": held, "length": length, "clipped": clipped
    }  # fmt: skip


def main(folder: Path, config: Path, ways: list[int]) -> None:
    """Write what this process found, by each number of processes that share; pre-train a little more with each.

    And an ESM, beside the mixture's `config` as dense.yaml: there is nothing to share, all of it is repeated.
    """
    processes, _ = join_processes(torch.device("cpu"))
    for number, sharing in enumerate(ways, start=1):
        torch.save(compute(processes, sharing), folder / f"{sharing}-{processes.rank}.pt")
        chosen = (f"expert_processes={sharing}", f"training.steps={STEPS * number}")
        settings = resolve(Pretraining, file=config, overrides=chosen)
        pretrain(settings, read_corpus(settings), folder / "run", torch.device("cpu"), processes)
    later = replace(settings, initial=str(folder / "run" / MODEL_FOLDER))
    torch.save(
        whole(new_model(later, torch.device("cpu"), processes)), folder / f"initial-{processes.rank}.pt"
    )
    dense = resolve(Pretraining, file=config.with_name("dense.yaml"))
    pretrain(dense, read_corpus(dense), folder / "dense", torch.device("cpu"), processes)
    leave_processes()


def whole(own: AIDO) -> dict[str, torch.Tensor]:
    """Its weights, in the first process those of all experts."""
    return put_together(own, {name: value.detach() for name, value in own.named_parameters()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [int(word) for word in sys.argv[3:]])
