"""A very small pre-training run in a folder; as a program, one that a test can kill."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from chaperonin.data.clusters import Split
from chaperonin.data.stream import Sequences
from chaperonin.models.esm import ESMConfig
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.training.loop import LoopSettings
from chaperonin.training.optimizer import OptimizerSettings
from chaperonin.training.pretrain import Corpus, DataSettings, Pretraining, pretrain
from chaperonin.training.schedule import Schedule

SETTINGS = Pretraining(
    model=ESMConfig(width=16, depth=1, heads=2, inner_width=32),
    neighbour_layers=1,
    data=DataSettings(window=30, batch_tokens=128, evaluation_sequences=4),
    training=LoopSettings(
        seed=5,
        steps=60,
        accumulate=2,
        precision="fp32",
        average_decay=0.9,
        log_every=1,
        evaluate_every=10,
        checkpoint_every=4,
        optimizer=OptimizerSettings(method="muon"),
        schedule=Schedule(peak=3e-3, warmup_steps=10, plateau_steps=20),
    ),
)


def with_training(settings: Pretraining = SETTINGS, **changes: object) -> Pretraining:
    """The settings with other ones for the loop."""
    return replace(settings, training=replace(settings.training, **changes))


def corpus() -> Corpus:
    """Fifty random proteins, the last five held out."""
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list(STANDARD_RESIDUES), length)) for length in range(10, 60)]
    return Corpus(Sequences.gather(texts), [], Split(np.arange(45), np.arange(45, 50)))


def run(folder: Path, settings: Pretraining = SETTINGS):
    """Train in the folder, from its newest checkpoint if it has one."""
    torch.manual_seed(0)
    return pretrain(settings, corpus(), folder, torch.device("cpu"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]))
