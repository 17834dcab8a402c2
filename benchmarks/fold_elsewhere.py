"""A program of another interpreter, which ./go bench fold asks for one iteration at a time."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from weakref import finalize

SCRIPTS = Path(__file__).parent


def hold_processors() -> Callable[[], None]:
    """What a new process calls to run on as many processors as its side has threads (OMP_NUM_THREADS).

    XLA takes a thread for each processor that it may run on.
    """
    processors = sorted(os.sched_getaffinity(0))[: int(os.environ["OMP_NUM_THREADS"])]
    return lambda: os.sched_setaffinity(0, processors)


class Elsewhere:
    """A script that says when it is ready, and then answers each line with the line that a call returns."""

    def __init__(self, python: Path, script: Path, *arguments: object) -> None:
        self.script = script
        command = [str(python), str(script), *map(str, arguments)]
        self.process = Popen(command, stdin=PIPE, stdout=PIPE, text=True, preexec_fn=hold_processors())
        self._end = finalize(self, _end, self.process)
        self._answer()

    def __call__(self) -> str:
        """One iteration, and what was answered."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._end()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"benchmarks/{self.script.name} ended; above stands why")
        return answer


def _end(process: "Popen[str]") -> None:
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
