import json
import textwrap

import numpy as np
import pytest
import torch
from tests.forked import run_python

from chaperonin.inference.jobs import Job, Outcome
from chaperonin.inference.run import is_out_of_memory, run_units

CPU_ERROR = (
    "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
)


@pytest.fixture
def job(tmp_path):
    """Ten units of 10, 9, …, 1 tokens, one for each record."""
    with Job.open(tmp_path, {}) as job:
        with job.planning() as plan:
            for number in range(1, 11):
                plan.unit(f"u{number}", {}, number)
                plan.record(number, f"r{number}", f"u{number}")
        yield job


class Machine:
    """Computes the number of tokens, as long as no more than `memory` of them come together."""

    def __init__(self, memory: int, error: BaseException):
        self.memory = memory
        self.error = error
        self.tried: list[list[int]] = []

    def __call__(self, units):
        self.tried.append([unit.tokens for unit in units])
        if sum(self.tried[-1]) > self.memory:
            raise self.error
        return [{"tokens": np.array(unit.tokens)} for unit in units]


def test_all_units_are_computed_in_the_job_s_batches(job):
    machine = Machine(100, MemoryError())
    run_units(job, machine, token_budget=19)
    assert machine.tried == [[10, 9], [8, 7], [6, 5, 4, 3], [2, 1]]
    assert all(job.result(f"u{number}")["tokens"] == number for number in range(1, 11))


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(CPU_ERROR)],
    ids=["host", "device", "torch on the host"],
)
@pytest.mark.parametrize("memory", [7, 10, 20, 54])
def test_where_memory_runs_out_batches_shrink_and_only_what_cannot_fit_alone_fails(job, error, memory):
    machine = Machine(memory, error)
    run_units(job, machine, token_budget=55)
    failed = [record.number for record in job.records() if record.failed]
    assert failed == [number for number in range(1, 11) if number > memory]
    assert all(job.result(f"u{number}")["tokens"] == number for number in range(1, min(memory, 10) + 1))
    assert job.finish() == Outcome(done=10 - len(failed), failed=len(failed))
    for line in job.failures():
        assert line["stage"] == "compute"
        assert f"{line['record']} tokens needs more memory" in line["error"]


def test_a_batch_as_large_as_one_that_did_not_fit_is_not_tried(job):
    machine = Machine(10, MemoryError())
    run_units(job, machine, token_budget=19)
    too_large = [sum(tokens) for tokens in machine.tried if sum(tokens) > 10]
    assert too_large == sorted(set(too_large), reverse=True)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("out of memory, says a library"), ValueError("x"), KeyboardInterrupt(), OSError(12, "x")],
)
def test_every_other_error_passes_unchanged(job, error):
    with pytest.raises(type(error)) as caught:
        run_units(job, Machine(0, error), token_budget=19)
    assert caught.value is error
    assert job.totals.units_finished == 0


def test_only_errors_of_memory_are_out_of_memory():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(RuntimeError(CPU_ERROR))
    assert is_out_of_memory(np._core._exceptions._ArrayMemoryError((1,), np.dtype("f8")))
    for error in (RuntimeError("CUDA error: out of resources"), ValueError(CPU_ERROR), OSError(12, "x")):
        assert not is_out_of_memory(error)


def test_what_was_computed_before_is_not_computed_again(job):
    calls = 0

    def interrupted(units):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return [{} for _ in units]

    with pytest.raises(KeyboardInterrupt):
        run_units(job, interrupted, token_budget=19)
    machine = Machine(100, MemoryError())
    run_units(job, machine, token_budget=19)
    assert calls == 3
    assert machine.tried == [[6, 5, 4, 3], [2, 1]]


def test_progress_counts_every_unit_and_its_tokens(job):
    shown: list[tuple[int, int]] = []

    class Shown:
        def advance(self, items=1, work=0):
            shown.append((items, work))

    class Bars:
        def stage(self, name, items, **others):
            from contextlib import nullcontext

            assert (name, items, others["work"]) == ("embed", 10, 55)
            return nullcontext(Shown())

    run_units(job, Machine(7, MemoryError()), token_budget=30, progress=Bars(), stage="embed")
    assert sum(items for items, _ in shown) == 10
    assert sum(work for _, work in shown) == 55


REAL = """
import json, resource, sys
import torch
from chaperonin.inference.jobs import Job
from chaperonin.inference.run import run_units

torch.set_num_threads(1)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
used = int(status["VmSize"].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)

def compute(units):
    memory = torch.zeros(sum(unit.tokens for unit in units), 1 << 20, dtype=torch.uint8)  # 1 MB each
    return [{"zero": memory[index, :3].numpy()} for index, unit in enumerate(units)]

with Job.open(sys.argv[1], {}) as job:
    with job.planning() as plan:
        for number, tokens in enumerate([1000, 60, 50, 100, 70, 90], start=1):
            plan.unit(str(number), {}, tokens)
            plan.record(number, str(number), str(number))
    run_units(job, compute, token_budget=400)
    outcome = job.finish()
    print(json.dumps([outcome.done, outcome.failed, [line["record"] for line in job.failures()]]))
"""


def test_a_real_limit_on_memory_fails_only_what_cannot_fit(tmp_path):
    done = run_python("-c", textwrap.dedent(REAL), tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [5, 1, [1]]
