"""Gradients of one step of several fine-tunings, written by each process of torchrun's or by one alone.

python tiny_gradients.py INPUTS FOLDER METHOD …
"""

import sys
from pathlib import Path
from typing import Any

import tiny_study
import torch

from chaperonin.parallel.data import join_processes, leave_processes
from chaperonin.training.finetune import new_predictor, new_training
from chaperonin.training.finetune_settings import planned
from chaperonin.training.material import read_material


class Noted(torch.optim.SGD):
    """Takes no step; keeps what it is given."""

    def step(self, closure: Any = None) -> None:
        """Copy the gradients, as the loop has added them up."""
        self.seen = [own.grad.clone() for group in self.param_groups for own in group["params"]]


def gradients(inputs: Path, method: str) -> dict[str, torch.Tensor]:
    """Gradient of every trained tensor in the first step, before anything shortens it."""
    options = [f"means.method={method}", "training.accumulate=4", "training.clip_norm=0"]
    own = tiny_study.settings(inputs, *options, "class_weights=balanced")
    material = read_material(own.data, own.split, own.task, own.kind)
    processes, device = join_processes(tiny_study.CPU)
    parts = material.splits[0]
    predictor = new_predictor(own, material, planned(own, len(parts.training)), device)
    training = new_training(own, material, parts, predictor, processes=processes)
    trained = {name: value for name, value in predictor.named_parameters() if value.requires_grad}
    noted = Noted(trained.values())
    training.optimizers = [noted]
    training.step()
    return dict(zip(trained, noted.seen, strict=True))


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {method: gradients(Path(sys.argv[1]), method) for method in sys.argv[3:]}
    rank = join_processes(tiny_study.CPU)[0].rank
    leave_processes()
    torch.save(found, Path(sys.argv[2]) / f"rank-{rank}.pt")
