"""What a model is trained for: one file a task, each with its batch and its loss."""

from chaperonin.tasks.masked_language import MaskedLanguage
from chaperonin.tasks.task import Task

__all__ = ["MaskedLanguage", "Task"]
