import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.errors import ChaperoninError, InputError, MemoryLimitError, UnavailableError, UsageError
from chaperonin.inference.jobs import Job, Outcome

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory where there is one: some tests sync a thousand times."""
SETTINGS = {"verb": "test", "input": "abc", "model": {"name": "tiny", "sha256": "0"}}


def plan_three(job: Job) -> None:
    """Records a, b and c: a and c need the same unit, b failed."""
    with job.planning() as plan:
        plan.unit("x", {"sequence": "MKT"}, 5)
        plan.unit("x", {"sequence": "never"}, 99)
        plan.record(1, "a", "x", {"length": 3})
        plan.failure(2, "b", InputError("empty", where="in.csv:3", advice="Fill it."))
        plan.unit("y", {"sequence": "GG"}, 4)
        plan.record(3, "c", ["x", "y"], where="in.csv:4")


def compute(job: Job, token_budget: int = 100) -> int:
    """Run what is pending; the number of units."""
    count = 0
    for batch in job.batches(token_budget):
        job.store(
            batch, [{"length": np.array(unit.tokens), "name": np.arange(len(unit.key))} for unit in batch]
        )
        count += len(batch)
    return count


def test_a_job_goes_from_plan_to_outcome(tmp_path):
    with Job.open(tmp_path / "out", SETTINGS) as job:
        assert not job.planned
        plan_three(job)
        assert job.planned
        (batch,) = job.batches(100)
        assert [(unit.key, unit.payload, unit.tokens) for unit in batch] == [
            ("x", {"sequence": "MKT"}, 5),
            ("y", {"sequence": "GG"}, 4),
        ]
        assert (job.totals.units_finished, job.totals.units, job.totals.tokens) == (0, 2, 9)
        assert compute(job) == 2
        assert job.totals.tokens_finished == 9
        first, second, third = job.records()
        assert (first.number, first.id, first.unit, first.extra, first.failed) == (
            1,
            "a",
            "x",
            {"length": 3},
            False,
        )
        assert (second.units, second.failed) == ((), True)
        assert third.units == ("x", "y")
        assert job.outcome is None
        assert job.finish() == job.outcome == Outcome(done=2, failed=1)
        assert job.outcome.exit_code == 3
    lines = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "b", "record": 2, "stage": "read", "error": "empty", "where": "in.csv:3", "advice": "Fill it."}
    ]


def test_a_record_fails_with_any_of_its_units_and_tells_of_the_first(tmp_path):
    with Job.open(tmp_path, SETTINGS) as job:
        plan_three(job)
        for batch in job.batches(100):
            for unit in batch:
                job.fail(unit, MemoryLimitError(f"{unit.key} is too large"), stage="compute")
        assert [record.failed for record in job.records()] == [True, True, True]
        assert job.finish() == Outcome(done=0, failed=3)
        assert job.outcome is not None
        assert job.outcome.exit_code == 1
        with pytest.raises(KeyError):
            job.result("x")
    failures = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert [(line["record"], line["stage"], line["error"], line["where"]) for line in failures] == [
        (1, "compute", "x is too large", ""),
        (2, "read", "empty", "in.csv:3"),
        (3, "compute", "x is too large", "in.csv:4"),
    ]


def test_failures_are_written_even_when_there_are_none(tmp_path):
    with Job.open(tmp_path, SETTINGS) as job:
        with job.planning() as plan:
            plan.record(1, "wild type", ())
        assert job.finish().exit_code == 0
    assert (tmp_path / "failures.jsonl").read_bytes() == b""


@pytest.mark.parametrize(("done", "failed", "code"), [(1, 0, 0), (0, 0, 1), (0, 2, 1), (1, 1, 3)])
def test_the_exit_code_tells_all_some_or_none(done, failed, code):
    assert Outcome(done, failed).exit_code == code


def test_results_come_back_as_they_were_before_and_after_the_flush(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    given = {
        "transposed": rows.T,
        "slice": rows[:, 1:3],
        "number": np.float64(0.1),
        "mask": np.array([True, False]),
        "half": rows.astype(np.float16),
        "none": np.empty((0, 4), dtype=np.int64),
        **{
            f"of {code}": np.arange(3).astype(code)
            for code in ("i1", "i2", "i4", "u1", "u2", "u4", "u8", "f8")
        },
    }
    with Job.open(tmp_path, SETTINGS) as job:
        plan_three(job)
        for batch in job.batches(100):
            job.store(batch, [given, {}])
            rows_before = rows.copy()
            rows[:] = -1  # what was stored is a copy
            before = job.result("x")
            job.flush()
            after = job.result("x")
            rows[:] = rows_before
        for found in (before, after):
            assert found.keys() == given.keys()
            for name, array in given.items():
                assert found[name].dtype == array.dtype
                assert found[name].shape == array.shape
                assert np.array_equal(found[name], array)
        assert job.result("x", "mask").keys() == {"mask"}
        assert job.result("y") == {}
        for wrong in (("z",), ("y", "mask"), ("x", "nope")):
            with pytest.raises(KeyError):
                job.result(*wrong)


def test_each_unit_needs_its_result(tmp_path):
    with Job.open(tmp_path, SETTINGS) as job:
        plan_three(job)
        for batch in job.batches(100):
            with pytest.raises(ValueError, match="shorter"):
                job.store(batch, [{}])


def test_a_plan_that_fails_leaves_nothing(tmp_path):
    with Job.open(tmp_path, SETTINGS) as job:
        with pytest.raises(ZeroDivisionError), job.planning() as plan:
            plan.unit("x", {}, 1)
            plan.record(1, "a", "x")
            raise ZeroDivisionError
        assert not job.planned
        assert list(job.records()) == []
        plan_three(job)
        assert len(list(job.records())) == 3


def test_a_record_cannot_need_what_was_not_planned(tmp_path):
    with (
        Job.open(tmp_path, SETTINGS) as job,
        pytest.raises(ValueError, match="record 1 needs a unit"),
        job.planning() as plan,
    ):
        plan.record(1, "a", "x")


def test_a_job_with_pending_units_or_missing_files_cannot_finish(tmp_path):
    with Job.open(tmp_path, SETTINGS) as job:
        plan_three(job)
        with pytest.raises(ValueError, match="2 units"):
            job.finish()
        compute(job)
        with pytest.raises(ValueError, match=r"final\.csv"):
            job.finish([tmp_path / "final.csv"])


def test_other_settings_are_refused_by_name(tmp_path):
    with Job.open(tmp_path, SETTINGS) as job:
        plan_three(job)
    other = {"verb": "test", "input": "abd", "model": {"name": "big", "sha256": "0"}, "new": [1, 2]}
    with pytest.raises(UsageError) as caught:
        Job.open(tmp_path, other)
    assert 'input was "abc", now "abd"; model.name was "tiny", now "big"; new was null, now [1, 2]' in str(
        caught.value
    )
    assert "sha256" not in str(caught.value)
    with Job.open(tmp_path, SETTINGS) as job:
        assert job.planned


def test_a_finished_job_is_not_computed_again_while_its_files_are_there(tmp_path):
    def run() -> tuple[int, bool]:
        with Job.open(tmp_path, SETTINGS) as job:
            if job.outcome is not None:
                assert job.outcome == Outcome(2, 1)
                return 0, True
            if not job.planned:
                plan_three(job)
            count = compute(job)
            (tmp_path / "final.csv").write_text("x")
            job.finish([tmp_path / "final.csv"])
            return count, False

    assert run() == (2, False)
    assert sorted(os.listdir(tmp_path)) == ["failures.jsonl", "final.csv", "job.lock", "job.sqlite"]
    assert run() == (0, True)
    (tmp_path / "failures.jsonl").unlink()
    assert run() == (2, False)
    (tmp_path / "final.csv").unlink()
    assert run() == (2, False)
    assert run() == (0, True)


def test_a_finished_job_may_be_moved(tmp_path):
    with Job.open(tmp_path / "here", SETTINGS) as job:
        plan_three(job)
        compute(job)
        (tmp_path / "here/final.csv").write_text("x")
        job.finish([tmp_path / "here/final.csv"])
    (tmp_path / "here").rename(tmp_path / "there")
    with Job.open(tmp_path / "there", SETTINGS) as job:
        assert job.outcome == Outcome(2, 1)


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(UnavailableError, match="No locks available"):
        Job.open(tmp_path, SETTINGS)


def test_without_final_files_the_shards_stay(tmp_path):
    with Job.open(tmp_path, SETTINGS) as job:
        plan_three(job)
        compute(job)
        job.finish()
    with Job.open(tmp_path, SETTINGS) as job:
        assert job.outcome == Outcome(2, 1)
        assert job.result("x")["length"] == 5


def test_overwrite_removes_the_files_of_the_job_and_no_other(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/mine.txt").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    outside = tmp_path.with_name(tmp_path.name + ".csv")
    outside.write_text("mine")
    with Job.open(tmp_path, SETTINGS) as job:
        plan_three(job)
        compute(job)
        (tmp_path / "final.csv").write_text("x")
        (tmp_path / "run.json").write_text("x")
        job.finish([tmp_path / "final.csv", outside])
    with Job.open(tmp_path, {"verb": "other"}, overwrite=True) as job:
        assert not job.planned
        assert job.outcome is None
    assert sorted(os.listdir(tmp_path)) == ["job.lock", "job.sqlite", "notes.txt", "shards"]
    assert os.listdir(tmp_path / "shards") == ["mine.txt"]
    assert outside.exists()


def test_a_damaged_state_is_refused_and_can_be_overwritten(tmp_path):
    (tmp_path / "job.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="--overwrite"):
        Job.open(tmp_path, SETTINGS)
    with Job.open(tmp_path, SETTINGS, overwrite=True) as job:
        plan_three(job)


def test_a_lost_or_changed_shard_is_computed_again_and_a_stray_one_removed(tmp_path):
    with Job.open(tmp_path, SETTINGS, flush_seconds=0) as job:
        plan_three(job)
        assert compute(job, token_budget=1) == 2
    shards = sorted((tmp_path / "shards").iterdir())
    assert [path.name for path in shards] == ["000001.safetensors", "000002.safetensors"]
    shards[0].write_bytes(shards[0].read_bytes()[:-1])
    for stray in ("000003.safetensors", ".000004.safetensors.part"):
        (tmp_path / "shards" / stray).write_bytes(b"half")
    with Job.open(tmp_path, SETTINGS) as job:
        assert [path.name for path in (tmp_path / "shards").iterdir()] == ["000002.safetensors"]
        assert [[unit.key for unit in batch] for batch in job.batches(1)] == [["x"]]
        assert compute(job) == 1
        assert job.result("x")["length"] == 5


def test_small_results_share_a_shard(tmp_path):
    with Job.open(tmp_path, SETTINGS, flush_bytes=1000, flush_seconds=1e9) as job:
        with job.planning() as plan:
            for number in range(100):
                plan.unit(f"unit {number}", {}, 10)
        for batch in job.batches(10):
            job.store(batch, [{"row": np.full(10, unit.number)} for unit in batch])  # 80 bytes
        assert len(list((tmp_path / "shards").iterdir())) == 8  # 13 results each
        assert all(job.result(f"unit {number}")["row"][9] == number + 1 for number in range(100))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(0, 40), st.integers(1, 200), st.data()
)
def test_batches_do_not_depend_on_where_the_job_was_interrupted(tokens, stop, other_budget, data):
    budget = data.draw(st.integers(1, 100))
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        with Job.open(folder, SETTINGS, flush_seconds=0) as job:
            with job.planning() as plan:
                for number, count in enumerate(tokens):
                    plan.unit(str(number), {}, count)
            whole = [[unit.key for unit in batch] for batch in job.batches(budget)]
            done = []
            for batch in job.batches(budget):
                if len(done) == stop:
                    break
                job.store(batch, [{}] * len(batch))
                done.append([unit.key for unit in batch])
        with Job.open(folder, SETTINGS) as job:
            rest = [[unit.key for unit in batch] for batch in job.batches(other_budget)]
    assert done + rest == whole


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    code = "import sys; from chaperonin.inference.jobs import Job; "
    code += "job = Job.open(sys.argv[1], {}); print('open', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **pipes) as first:
        assert first.stdout.readline() == b"open\n"
        for overwrite in (False, True):
            with pytest.raises(
                UsageError, match=f"another process \\({first.pid}\\) is working in this folder"
            ):
                Job.open(tmp_path, {}, overwrite=overwrite)
        first.send_signal(signal.SIGKILL)
        first.wait()
    with Job.open(tmp_path, {}), pytest.raises(UsageError, match="another process"):
        Job.open(tmp_path, {})


def test_outdir_must_be_a_folder_that_can_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    for outdir in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(UsageError, match="OUTDIR is a file"):
            Job.open(outdir, {})


def test_the_room_that_is_missing_shrinks_as_results_are_written(tmp_path):
    with Job.open(tmp_path, SETTINGS, flush_seconds=0) as job:
        assert (job.result_bytes, job.missing_bytes) == (0, 0)
        with job.planning() as plan:
            for key, result_bytes in (("x", 4000), ("x", 4000), ("y", 8000)):
                plan.unit(key, {}, 10, result_bytes)
        assert (job.result_bytes, job.missing_bytes) == (12000, 24000)
        for batch in job.batches(10):
            job.store(
                batch, [{"row": np.zeros(4000 if unit.key == "x" else 8000, np.uint8)} for unit in batch]
            )
        assert 11000 < job.missing_bytes < 12000  # the files, beside shards that have a header
    with Job.open(tmp_path, SETTINGS) as job:
        assert (job.result_bytes, job.missing_bytes < 12000) == (12000, True)


def test_results_are_kept_when_the_computation_raises(tmp_path):
    with pytest.raises(ZeroDivisionError), Job.open(tmp_path, SETTINGS) as job:
        plan_three(job)
        for batch in job.batches(1):
            job.store(batch, [{"length": np.array(1)}])
            raise ZeroDivisionError
    with Job.open(tmp_path, SETTINGS) as job:
        assert job.totals.units_finished == 1


def test_a_full_disk_is_said_and_the_next_run_goes_on(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with (
            pytest.raises(ChaperoninError, match=r"no space left .* run the same command again"),
            Job.open(tmp_path, SETTINGS) as job,
        ):
            plan_three(job)
            compute(job)
    with Job.open(tmp_path, SETTINGS) as job:
        assert job.planned
        assert compute(job) == 2
        assert job.finish() == Outcome(2, 1)


def test_a_database_that_cannot_grow_is_a_full_disk_and_keeps_its_state(tmp_path):
    with Job.open(tmp_path, SETTINGS) as job:
        job._ledger.execute("PRAGMA max_page_count = 30")
        with pytest.raises(ChaperoninError, match=r"job\.sqlite: no space left"), job.planning() as plan:
            for number in range(100):
                plan.unit(str(number), {"sequence": "A" * 4000}, 4000)
        assert not job.planned
        plan_three(job)
    with Job.open(tmp_path, SETTINGS) as job:
        assert compute(job) == 2


@pytest.fixture
def driver():
    """Runs tests/inference/killed_job.py."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:

        def run(mode: str) -> dict[str, int]:
            script = Path(__file__).with_name("killed_job.py")
            command = [sys.executable, str(script), mode, folder]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        yield run


def test_killed_at_random_moments_the_output_is_the_same_bytes(driver):
    found = driver("kill")
    assert found["kills"] >= 30
    assert found["finished"] >= 4
    assert found["different"] == 0


def test_killed_at_each_write_the_output_is_the_same_bytes_and_nothing_is_left_over(driver):
    found = driver("crash")
    assert found["steps"] > 50
    assert found["different"] == 0


def test_a_limit_on_file_size_is_said_and_the_job_goes_on_after_it(driver):
    found = driver("full")
    assert found["refused"] > 5
    assert found["different"] == 0
