"""The one training loop, and what it stands on: optimizer, schedule, state, tracking."""

from chaperonin.training.loop import LoopSettings, Outcome, train

__all__ = ["LoopSettings", "Outcome", "train"]
