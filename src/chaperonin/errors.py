"""The errors a user can act on: what was wrong, where, and what to do about it."""

from typing import ClassVar


class ChaperoninError(Exception):
    """Base of every error that is the input's or the machine's, not the program's."""

    kind: ClassVar[str] = "error"

    def __init__(self, what: str, *, where: str = "", advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.advice = advice

    def __str__(self) -> str:
        """One line: `where: what. advice`."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text.rstrip('.')}. {self.advice}" if self.advice else text


class InputError(ChaperoninError):
    """A record or a file cannot be used as it is."""

    kind = "input"


class UsageError(ChaperoninError):
    """An option, a setting or a combination of them makes no sense."""

    kind = "usage"


class WeightsError(ChaperoninError):
    """A checkpoint is missing, damaged, unsafe or of another model."""

    kind = "weights"


class UnavailableError(ChaperoninError):
    """A kernel, a precision or an optional part was asked for and this machine has none."""

    kind = "unavailable"


class MemoryLimitError(ChaperoninError):
    """One item needs more memory than there is, even alone."""

    kind = "memory"
