"""How far a stage is: a bar on a terminal, plain log lines elsewhere; always on stderr."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

logger = logging.getLogger(__name__)


class Stage(Protocol):
    """A stage that is under way."""

    def advance(self, items: int = 1, work: int = 0) -> None:
        """Count items as finished, and the work that was in them."""


class Progress:
    """Shows the stages of a job, one after the other."""

    def __init__(self, console: Console | None = None, interval_seconds: float = 5.0) -> None:
        """Show bars where the console (stderr by default) is a terminal; else log every so many seconds."""
        self._console = console or Console(file=sys.stderr)
        self._interval_seconds = interval_seconds

    @contextmanager
    def stage(
        self,
        name: str,
        items: int,
        *,
        work: int = 0,
        done_items: int = 0,
        done_work: int = 0,
        noun: str = "items",
    ) -> Iterator[Stage]:
        """A stage over so many items, some of them done in an earlier run.

        The time left is estimated from the work where there is any (tokens, as items differ in length), the
        rate is that of items in this run.
        """
        pace = _Pace(name, noun, items, work, done_items, done_work)
        if self._console.is_terminal:
            with _bar(self._console) as bar:
                yield _BarStage(pace, bar)
        else:
            yield (stage := _LogStage(pace, self._interval_seconds))
            stage.close()


class _Pace:
    """Counts and rates of one stage."""

    def __init__(self, name: str, noun: str, items: int, work: int, done_items: int, done_work: int) -> None:
        self.name = name
        self.noun = noun
        self.items = items
        self.total = work or items
        self._counts_work = bool(work)
        self.done_items = done_items
        self.done = done_work if work else done_items
        self._first_items = done_items
        self._first = self.done
        self._started = time.monotonic()

    def advance(self, items: int, work: int) -> None:
        self.done_items += items
        self.done += work if self._counts_work else items

    @property
    def rate(self) -> float:
        """Items per second of this run."""
        return (self.done_items - self._first_items) / max(time.monotonic() - self._started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """None before anything is done."""
        gained = self.done - self._first
        if gained <= 0:
            return None
        return (time.monotonic() - self._started) * max(self.total - self.done, 0) / gained


class _BarStage:
    def __init__(self, pace: _Pace, bar: RichProgress) -> None:
        self._pace = pace
        self._bar = bar
        self._task = bar.add_task(pace.name, total=pace.total, completed=pace.done, counts=_counts(pace))

    def advance(self, items: int = 1, work: int = 0) -> None:
        self._pace.advance(items, work)
        self._bar.update(self._task, completed=self._pace.done, counts=_counts(self._pace))


class _LogStage:
    def __init__(self, pace: _Pace, interval_seconds: float) -> None:
        self._pace = pace
        self._interval_seconds = interval_seconds
        self._last = time.monotonic()
        self._started = self._last

    def advance(self, items: int = 1, work: int = 0) -> None:
        self._pace.advance(items, work)
        now = time.monotonic()
        if now - self._last >= self._interval_seconds:
            self._last = now
            left = self._pace.seconds_left
            logger.info(
                "%s: %s%s",
                self._pace.name,
                _counts(self._pace),
                "" if left is None else f", {_span(left)} left",
            )

    def close(self) -> None:
        """Say that the stage is over."""
        took = time.monotonic() - self._started
        logger.info("%s: %s, took %s", self._pace.name, _counts(self._pace), _span(took))


def _bar(console: Console) -> RichProgress:
    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _counts(pace: _Pace) -> str:
    return f"{pace.done_items:,} of {pace.items:,} {pace.noun}, {pace.rate:,.1f}/s"


def _span(seconds: float) -> str:
    """A time as 8 s, 3 min 20 s or 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
