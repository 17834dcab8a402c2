"""The contrast of some pairs in one process of several; each writes its gradients into the folder that is given."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from chaperonin.parallel.data import join_processes, leave_processes
from chaperonin.tasks.protein_text import contrast

PAIRS = 8


class Towers(nn.Module):
    """Two small towers and a temperature."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.protein = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 6))
        self.text = nn.Linear(7, 6)
        self.log_scale = nn.Parameter(torch.tensor(1.7))
        self.proteins, self.texts = torch.randn(PAIRS, 10), torch.randn(PAIRS, 7)

    def step(self, own: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of some of the pairs among all of them, divided by all pairs; gradients are left behind."""
        found = contrast(self.protein(self.proteins[own]), self.text(self.texts[own]), self.log_scale)
        (found.loss / PAIRS).backward()
        return found.loss.detach(), found.proteins_right, found.texts_right


def main(folder: Path) -> None:
    """One process of torchrun's."""
    torch.set_num_threads(1)
    processes, _ = join_processes(torch.device("cpu"))
    towers = Towers()
    count = PAIRS // processes.world
    sums = towers.step(slice(processes.rank * count, (processes.rank + 1) * count))
    processes.add_gradients(towers.parameters())
    gradients = {name: own.grad for name, own in towers.named_parameters()}
    torch.save(
        {"sums": torch.stack([own.float() for own in sums]), **gradients}, folder / f"{processes.rank}.pt"
    )
    leave_processes()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
