"""A folding job that dies by SIGKILL at its first call that touches the disk, another at its second, and so on.

Usage: killed_fold.py MODEL_FOLDERS INPUT FOLDER; forks a process for each attempt; prints one JSON line.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import chaperonin.report  # noqa: F401 (imported before the fork, as are those below)
from chaperonin.cli.main import main
from chaperonin.config import resolve
from chaperonin.inference import fold_forecast, fold_job  # noqa: F401
from chaperonin.inference.fold_settings import FoldSettings

STATE = {"job.sqlite", "job.lock", "run.json", "times.csv", "report.html"}
"""What differs from run to run: the state of the job, and times."""
EVERY = 19
"""Of the calls that touch the disk each nineteenth is one to die at."""


def attempt(words: list[str], before: Callable[[], None]) -> int:
    """One run in a process of its own; minus the signal, or the exit status."""
    child = os.fork()
    if child == 0:
        before()
        os._exit(main(words))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(step: int) -> None:
    """Let the process kill itself before its step-th sync or renaming of a file."""
    left = step

    def dying(body: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **names: object) -> object:
            nonlocal left
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return body(*arguments, **names)

        return counted

    for name in ("fsync", "replace"):
        setattr(os, name, dying(getattr(os, name)))


def files(outdir: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in outdir.rglob("*")
        if path.is_file() and path.name not in STATE
    }


def run(models: str, source: str, folder: Path) -> dict[str, object]:
    def words(outdir: Path) -> list[str]:
        return ["fold", source, str(outdir), "--models", models, "--no-pictures", "--set", "device=cpu"]

    resolve(FoldSettings)  # what is imported late is imported before the fork too
    main(["fold", "--help"])
    assert attempt(words(folder / "whole"), lambda: None) == 3
    expected = files(folder / "whole")
    step, kills, with_results, different = 1, 0, 0, []
    while True:
        outdir = folder / f"killed{step}"
        status = attempt(words(outdir), lambda at=step: die_at(at))
        if status != -signal.SIGKILL:
            break
        kills += 1
        with_results += any(outdir.glob("shards/*.safetensors"))
        assert attempt(words(outdir), lambda: None) == 3
        found = files(outdir)
        different += [
            name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name)
        ]
        step += EVERY
    return {"kills": kills, "with_results": with_results, "different": different, "files": sorted(expected)}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
