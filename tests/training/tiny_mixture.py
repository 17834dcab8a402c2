"""The very small pre-training run, of a mixture of experts."""

from dataclasses import replace

import tiny_run

from chaperonin.training.architecture import AIDOModel
from chaperonin.training.pretrain import Pretraining
from chaperonin.training.schedule import Schedule

SETTINGS: Pretraining = replace(
    tiny_run.with_training(
        steps=8, evaluate_every=4, schedule=Schedule(peak=3e-3, warmup_steps=2, plateau_steps=20)
    ),
    model=AIDOModel(width=16, depth=2, heads=2, inner_width=24, experts=4, experts_per_token=2),
    neighbour_layers=0,
)
