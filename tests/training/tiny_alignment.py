"""A pre-training of a ProtST in one of two processes, which a test can kill.

python tiny_alignment.py RANK SETTINGS FOLDER MEETING KILL
"""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import distributed

from chaperonin.config import resolve
from chaperonin.parallel.data import join_processes, leave_processes
from chaperonin.training.alignment import Alignment, align, read_pairs
from chaperonin.training.loop import Training

WORLD = 2
SETTINGS = ("training.steps=10", "training.evaluate_every=5", "training.optimizer.backbone_share=0.1")


def run(rank: int, settings_file: Path, folder: Path, meeting: Path, kill: int = 0) -> None:
    """Train in the folder, from its newest checkpoint if it has one; die after step `kill`, before anything is noted.

    The processes find each other through the file `meeting`.
    """
    torch.set_num_threads(1)
    os.environ["WORLD_SIZE"] = str(WORLD)
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=WORLD)
    processes, device = join_processes(torch.device("cpu"))
    after_step = Training.after_step

    def dies(self: Training, *rest: object) -> None:
        if self.progress.step == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        after_step(self, *rest)

    Training.after_step = dies
    settings = resolve(Alignment, file=settings_file, overrides=[*SETTINGS, f"training.accumulate={WORLD}"])
    align(settings, read_pairs(settings), folder, device, processes)
    leave_processes()


if __name__ == "__main__":
    run(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
