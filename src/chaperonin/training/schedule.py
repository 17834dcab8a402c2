"""The learning rate over the steps of a run."""

from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, an optional plateau, then half a cosine down to a share of the peak."""

    peak: float = 1e-3
    """Highest learning rate."""
    warmup_steps: int = 100
    """Steps of linear rise; the first step has 1 / warmup_steps of the peak."""
    plateau_steps: int = 0
    """Steps at the peak after the rise. With a plateau, a stopped run can still be given more or fewer steps."""
    final_share: float = 0.0
    """Learning rate after the last step, as a share of the peak."""

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0, in a run of so many steps."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        falling = step - self.warmup_steps - self.plateau_steps
        if falling <= 0:
            return self.peak
        done = min(1.0, falling / max(1, steps - self.warmup_steps - self.plateau_steps))
        return self.peak * (self.final_share + (1 - self.final_share) * (1 + cos(pi * done)) / 2)
