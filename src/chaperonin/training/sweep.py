"""A small search over learning rate and rank, judged on the validation part; the test part is not looked at.

With folds each fold searches for itself: what one fold validates on, others test on.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from chaperonin.data.splitting import Parts
from chaperonin.errors import UsageError
from chaperonin.files import atomic_file
from chaperonin.parallel.data import Processes
from chaperonin.training.finetune import learn
from chaperonin.training.finetune_settings import PEAK, FineTuning
from chaperonin.training.loop import SMALLER_IS_BETTER
from chaperonin.training.material import Material

FOLDER, TABLE = "sweep", "sweep.csv"
_AROUND = (1 / 3, 1.0, 3.0)


@dataclass(frozen=True)
class Trial:
    """One combination, and how good it was."""

    settings: FineTuning
    value: float
    """Best evaluation; of `training.best`."""
    step: int

    @property
    def name(self) -> str:
        """Rate and rank, as a folder is called."""
        return trial_name(self.settings)


def best_settings(
    settings: FineTuning,
    material: Material,
    parts: Parts,
    folder: Path,
    device: torch.device,
    processes: Processes | None = None,
    cache: Path | None = None,
) -> FineTuning:
    """Train each combination on one split in `folder`/sweep, write sweep.csv, and give the best one's settings.

    The same call goes on where it stopped: a trial that has ended is not trained again. `cache`: as for `fit`.
    """
    if not len(parts.validation):
        raise UsageError(
            "without a validation part no trial can be judged",
            where="split.validation_share",
            advice="Give it a share.",
        )
    trials = []
    for own in combinations(settings):
        place = folder / FOLDER / trial_name(own)
        outcome = learn(own, material, parts, place, device, processes, cache or folder).outcome
        trials.append(Trial(own, outcome.best_value, outcome.best_step))
    best = _best(trials, settings.training.best)
    if processes is None or processes.is_first:
        _write(folder / TABLE, trials, best, settings.training.best)
    chosen = replace(settings.training, schedule=best.settings.training.schedule)
    return replace(settings, training=chosen, means=best.settings.means)


def combinations(settings: FineTuning) -> Iterator[FineTuning]:
    """Each rate with each rank; adapters keep their scale alpha / rank."""
    usual = settings.training.schedule.peak or PEAK[settings.means.method]
    rates = settings.sweep.learning_rates or tuple(float(f"{usual * factor:.2g}") for factor in _AROUND)
    lora = settings.means.lora
    ranks = (settings.sweep.ranks or (lora.rank,)) if settings.means.method == "lora" else (lora.rank,)
    for rate in rates:
        for rank in ranks:
            schedule = replace(settings.training.schedule, peak=rate)
            adapters = replace(lora, rank=rank, alpha=lora.alpha * rank / lora.rank)
            yield replace(
                settings,
                training=replace(settings.training, schedule=schedule),
                means=replace(settings.means, lora=adapters),
                epochs=settings.sweep.epochs or settings.epochs,
            )


def trial_name(settings: FineTuning) -> str:
    """Rate and rank, as a folder is called."""
    rate = f"rate-{settings.training.schedule.peak:g}"
    return f"{rate}-rank-{settings.means.lora.rank}" if settings.means.method == "lora" else rate


def _best(trials: list[Trial], measure: str) -> Trial:
    """The best of those that were evaluated to a number at all."""
    sign = 1 if measure in SMALLER_IS_BETTER else -1
    judged = [trial for trial in trials if trial.step]
    if not judged:
        raise UsageError(
            "no trial came to a number", where="sweep.learning_rates", advice="Try smaller learning rates."
        )
    return min(judged, key=lambda trial: sign * trial.value)


def _write(path: Path, trials: list[Trial], best: Trial, measure: str) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(["learning_rate", "rank", f"validation_{measure}", "step", "chosen"])
        for trial in trials:
            lora = trial.settings.means.lora.rank if trial.settings.means.method == "lora" else ""
            rate = trial.settings.training.schedule.peak
            table.writerow([rate, lora, trial.value, trial.step, "yes" if trial is best else ""])
