"""The computations of a job, batch by batch, with less at a time where memory runs out."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from chaperonin.errors import MemoryLimitError
from chaperonin.inference.jobs import Job, Unit
from chaperonin.inference.progress import Progress, Stage
from chaperonin.kernels.host_memory import return_free_memory

Compute = Callable[[list[Unit]], Sequence[Mapping[str, Any]]]
"""Units of one batch to their results, arrays by name."""


def run_units(
    job: Job, compute: Compute, token_budget: int, progress: Progress | None = None, stage: str = "compute"
) -> None:
    """Compute all pending units of a job.

    A batch for which memory runs out is halved, down to single units; a unit that does not fit alone fails
    with MemoryLimitError and the others go on. Later batches of that size are halved before they are tried.
    Every other error ends the run as it is; what was computed before is kept.
    """
    ladder = _Ladder(job, compute)
    with _stage(job, progress, stage) as shown:
        for batch in job.batches(token_budget):
            for part in ladder.run(batch):
                shown.advance(len(part), sum(unit.tokens for unit in part))
            return_free_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the device or on the host, and nothing else."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # an error of torch cannot come from a process without it
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # The allocator of the CPU raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)


_CPU_ALLOCATOR = "DefaultCPUAllocator: can't allocate memory"


class _Ladder:
    """Batches that shrink until they fit."""

    def __init__(self, job: Job, compute: Compute) -> None:
        self._job = job
        self._compute = compute
        self._too_many: float = float("inf")
        """Fewest tokens of several units for which memory ran out."""

    def run(self, batch: list[Unit]) -> Iterator[list[Unit]]:
        """Parts of the batch as they are stored or given up."""
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            tokens = sum(unit.tokens for unit in part)
            if len(part) == 1 or tokens < self._too_many:
                results = self._try(part)
                if results is not None:
                    self._job.store(part, results)
                    yield part
                    continue
                if len(part) == 1:
                    self._job.fail(part[0], _too_large(part[0]))
                    yield part
                    continue
                self._too_many = tokens
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]

    def _try(self, part: list[Unit]) -> Sequence[Mapping[str, Any]] | None:
        """Results, or None where memory ran out."""
        try:
            return self._compute(part)
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not is_out_of_memory(error):
                raise
        # Here the error and the frames that it held, with their tensors, are gone.
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return None


def _too_large(unit: Unit) -> MemoryLimitError:
    return MemoryLimitError(
        f"one computation of {unit.tokens:,} tokens needs more memory than there is, even alone",
        advice="Use a machine with more memory, a smaller model, or a shorter sequence.",
    )


class _Silent:
    def advance(self, items: int = 1, work: int = 0) -> None:
        """Show nothing."""


@contextmanager
def _stage(job: Job, progress: Progress | None, name: str) -> Iterator[Stage]:
    if progress is None:
        yield _Silent()
        return
    totals = job.totals
    with progress.stage(
        name,
        totals.units,
        work=totals.tokens,
        done_items=totals.units_finished,
        done_work=totals.tokens_finished,
        noun="computations",
    ) as stage:
        yield stage
