"""A training whose best weights may be chosen by any figure of its task: MCC, Spearman, AUC …"""

from typing import Any

import numpy as np
import torch

from chaperonin.errors import UsageError
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.metrics import figure_names, metrics
from chaperonin.tasks.supervised import Supervised
from chaperonin.tasks.target import Target
from chaperonin.training.loop import Training


class JudgedTraining(Training[Any]):
    """Evaluations have the figure that `training.best` names, over the whole hold-out; uncalibrated."""

    def evaluate(self) -> dict[str, float]:
        """Besides what the loss adds up, the figure that is chosen by; nan where it is not defined."""
        values = super().evaluate()
        if self.settings.best in values:
            return values
        # Figures are no sums: the first process goes over the hold-out alone, and tells the others.
        found = self.processes.from_first(self.figure() if self.processes.is_first else 0.0)
        return {**values, self.settings.best: found}

    @torch.no_grad()
    def figure(self) -> float:
        """The figure, over all of the hold-out together."""
        task: Any = self.task
        assert isinstance(task, Supervised)
        target = task.target
        truth: Any = [record.target for records in self.holdout for record in records]
        said: Any = []
        for records in self.holdout:
            with self.autocast():
                outputs = task.outputs(self.model, task.collate(records).to(self.device))
            said += [Calibration().apply(own, target) for own in outputs]
        if target.level == "sequence":
            truth, said = np.stack(truth), np.stack(said)
        found = metrics(target.kind, target.level, truth, said, target.classes)
        return found.get(self.settings.best, float("nan"))


def check_measure(name: str, target: Target) -> None:
    """UsageError with all names for a measure that no evaluation of this target has."""
    own = "absolute_error" if target.kind == "regression" else "accuracy"
    figures = figure_names(target.kind, target.level, target.classes)
    names = dict.fromkeys(["loss", "perplexity", own, *figures])
    if name not in names:
        raise UsageError(
            f"the evaluations have no measure {name!r}",
            where="training.best",
            advice=f"There are: {', '.join(names)}.",
        )
