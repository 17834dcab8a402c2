"""A small job that a test kills: forks a process for each attempt, so that no attempt pays for imports.

Usage: killed_job.py MODE FOLDER, or killed_job.py verb FOLDER VERB INPUT OPTIONS… for a verb of the command line;
prints one JSON line that the test reads.
"""

import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from chaperonin.errors import ChaperoninError, InputError, MemoryLimitError
from chaperonin.files import write_atomically
from chaperonin.inference.jobs import Job, Unit

RECORDS = 60
KILLED = 77


def run(outdir: Path, pause_seconds: float, flush_seconds: float, width: int = 8) -> None:
    """The whole job as a verb does it: plan, compute, assemble, finish."""
    with Job.open(outdir, {"verb": "test", "width": width}, flush_seconds=flush_seconds) as job:
        if job.outcome is not None:
            return
        if not job.planned:
            with job.planning() as plan:
                for number in range(1, RECORDS + 1):
                    if number % 17 == 0:
                        plan.failure(number, f"r{number}", InputError("poison", where=f"line {number}"))
                        continue
                    sequence = "MKTAYIAKQR"[: number % 9 + 1] * (number % 5 + 1)
                    plan.unit(sequence, {"sequence": sequence}, len(sequence))
                    plan.record(number, f"r{number}", sequence, {"number": number})
        for batch in job.batches(100):
            time.sleep(pause_seconds)
            compute(job, batch, width)
        lines = []
        for record in job.records():
            arrays = {} if record.failed else job.result(record.unit)
            digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
            lines.append(json.dumps([record.number, record.id, record.failed, record.extra, digests]))
        write_atomically(outdir / "final.jsonl", "\n".join(lines))
        job.finish([outdir / "final.jsonl"])


def compute(job: Job, batch: list[Unit], width: int) -> None:
    """Results that depend on the company they were computed in, so that other batches are other bytes."""
    company = hashlib.sha256("".join(unit.key for unit in batch).encode()).digest()
    seed = np.frombuffer(company, np.uint8).astype(np.float32)
    good = [unit for unit in batch if unit.tokens != 9]
    for unit in batch:
        if unit.tokens == 9:
            job.fail(unit, MemoryLimitError("too large"))
    results = [{"rows": np.outer(seed, np.arange(unit.tokens * width)), "company": seed} for unit in good]
    job.store(good, results)


def digest(outdir: Path) -> str:
    """Of all that the job leaves for its user; each record must have ended once, as result or as failure."""
    records = [json.loads(line) for line in (outdir / "final.jsonl").read_text().splitlines()]
    assert [number for number, *_ in records] == list(range(1, RECORDS + 1))
    failures = [json.loads(line)["record"] for line in (outdir / "failures.jsonl").read_text().splitlines()]
    assert failures == [number for number, _, failed, *_ in records if failed]
    assert all(bool(digests) != failed for _, _, failed, _, digests in records)
    found = hashlib.sha256()
    for name in ("final.jsonl", "failures.jsonl"):
        found.update((outdir / name).read_bytes())
    return found.hexdigest()


def attempt(body: Callable[[], None], kill_after_seconds: float | None = None) -> int:
    """Run in a process of its own; minus the signal, or the exit status."""
    child = os.fork()
    if child == 0:
        try:
            body()
        except ChaperoninError as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if kill_after_seconds is not None:
        time.sleep(kill_after_seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at_random(folder: Path) -> dict[str, object]:
    """Kill and resume until there were 30 kills; every job that gets through must equal the first."""
    start = time.monotonic()
    run(folder / "whole", 0.002, 0.01)
    whole_seconds = time.monotonic() - start
    expected = digest(folder / "whole")
    random.seed(20)
    kills, finished, different = 0, 0, 0
    while kills < 30 or finished < 4:
        outdir = folder / f"killed{finished}"
        status = attempt(partial(run, outdir, 0.002, 0.01), random.uniform(0, whole_seconds * 0.8))
        kills += status == -signal.SIGKILL
        if status == 0 or (outdir / "final.jsonl").exists():
            assert attempt(partial(run, outdir, 0, 1)) == 0
            finished += 1
            different += digest(outdir) != expected
    return {"kills": kills, "finished": finished, "different": different}


def crash_at_each_step(folder: Path) -> dict[str, object]:
    """Die at the first call that touches the disk, in the next run at the second, and so on, on one job each."""
    run(folder / "whole", 0, 0)
    expected = digest(folder / "whole")
    step, different = 0, 0
    while True:
        step += 1
        outdir = folder / f"step{step}"
        status = attempt(partial(_run_until, outdir, step))
        if status == 0:
            return {"steps": step - 1, "different": different}
        assert status == KILLED, status
        assert attempt(partial(run, outdir, 0, 0.01)) == 0
        different += digest(outdir) != expected
        leftovers = {path.name for path in outdir.iterdir()}
        assert leftovers == {"job.sqlite", "job.lock", "final.jsonl", "failures.jsonl"}, leftovers


def _run_until(outdir: Path, step: int) -> None:
    import chaperonin.files as files
    import chaperonin.inference.ledger as ledger

    left = step

    def dying(call):
        def counted(*arguments, **options):
            nonlocal left
            if arguments[1:] and isinstance(arguments[1], str) and arguments[1].startswith("SELECT"):
                return call(*arguments, **options)
            left -= 1
            if left == 0:
                os._exit(KILLED)
            return call(*arguments, **options)

        return counted

    files.os = _Wrapped(os, fsync=dying(os.fsync), replace=dying(os.replace))
    planning = ("INSERT INTO records", "INSERT INTO needs", "INSERT OR IGNORE", "INSERT INTO payloads")
    execute, slow = ledger.Ledger.execute, dying(ledger.Ledger.execute)
    ledger.Ledger.execute = lambda self, statement, *values: (
        execute if statement.startswith(planning) and values[0] != 50 else slow
    )(self, statement, *values)
    run(outdir, 0, 0)


class _Wrapped:
    def __init__(self, module, **calls):
        self.__dict__.update(vars(module), **calls)


def fill_the_disk(folder: Path) -> dict[str, object]:
    """Run with ever higher limits on the size of a file: each either ends well, or says that there is no space."""
    run(folder / "whole", 0, 0, width=64)
    expected = digest(folder / "whole")
    refused, different = 0, 0
    outdir = folder / "full"
    for kilobytes in [0, 1, 4, 8, 16, 30, 32, 40, 60, 64, 100, 128, 300, 1000, 2000]:

        def limited(kilobytes: int = kilobytes) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))
            run(outdir, 0, 0, width=64)

        status = attempt(limited)
        assert status in (0, 1), status
        refused += status
    assert attempt(partial(run, outdir, 0, 0, width=64)) == 0
    different += digest(outdir) != expected
    return {"refused": refused, "different": different}


def kill_verb(folder: Path, verb: str, source: str, *options: str) -> dict[str, object]:
    """Kill a verb of the command line at random moments and start it again; its files must be those of a whole run."""
    import importlib

    import chaperonin.cli.main
    import chaperonin.report

    # Imported before the fork, and without the pictures of the report, so that kills fall into the work.
    for module in ("cli.sequence_verb", f"cli.{verb}", f"inference.{verb}"):
        importlib.import_module(f"chaperonin.{module}")
    chaperonin.report.write_report = lambda outdir: outdir / "report.html"
    Job.open.__func__.__kwdefaults__["flush_seconds"] = 0.0  # results of every batch are kept
    store = Job.store
    Job.store = lambda job, *results: (
        time.sleep(0.05),
        store(job, *results),
    )  # most of the time is computation

    def verb_into(outdir: Path) -> int:
        words = [verb, source, str(outdir), *options]
        return attempt(lambda: os._exit(chaperonin.cli.main.main(words)), kill_after)

    kill_after: float | None = None
    start = time.monotonic()
    assert verb_into(folder / "whole") == 3
    whole_seconds = time.monotonic() - start
    expected = verb_files(folder / "whole")
    random.seed(21)
    kills = finished = resumed = 0
    different = []
    while kills < 6 or finished < 2:
        outdir = folder / f"killed{finished}"
        kill_after = random.uniform(0.1, 0.9) * whole_seconds
        status = verb_into(outdir)
        kills += status == -signal.SIGKILL
        resumed += any(outdir.glob("shards/*.safetensors"))
        if kills % 3 == 0 or status != -signal.SIGKILL:
            kill_after = None
            assert verb_into(outdir) == 3
            found = verb_files(outdir)
            different += [
                name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name)
            ]
            finished += 1
    return {"kills": kills, "finished": finished, "resumed": resumed, "different": different} | {
        "files": sorted(expected)
    }


def verb_files(outdir: Path) -> dict[str, str]:
    """Digests of the results: all files but the job's state, and those that tell of times."""
    state = {"job.sqlite", "job.lock", "run.json", "report.html"}
    return {
        str(path.relative_to(outdir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in outdir.rglob("*")
        if path.is_file() and path.name not in state
    }


if __name__ == "__main__":
    assert "torch" not in sys.modules or sys.argv[1] == "verb"
    modes = {"kill": kill_at_random, "crash": crash_at_each_step, "full": fill_the_disk, "verb": kill_verb}
    print(json.dumps(modes[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])))
