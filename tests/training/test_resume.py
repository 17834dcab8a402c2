"""Kill training at any moment, run it again: what follows is equal to the last bit."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch
from tests.forked import Python

from chaperonin.errors import UsageError
from chaperonin.training import state
from chaperonin.training.tracking import read_metrics
from chaperonin.weights.files import tensors, weight_files

PROGRAM = Path(tiny_run.__file__)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    tiny_run.run(folder)
    return folder


def events(folder: Path) -> list[dict[str, Any]]:
    """All that was noted, without the speed, which is the machine's."""
    lines = list(read_metrics(folder / "metrics.jsonl"))
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(tensors(weight_files(folder / "model")))


def assert_same_run(folder: Path, expected: Path) -> None:
    assert events(folder) == events(expected)
    ours, theirs = weights(folder), weights(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def kill_after(process: Python, folder: Path, lines: int) -> None:
    """SIGKILL as soon as the run has noted so many lines (or ended)."""
    deadline = time.monotonic() + 300
    path = folder / "metrics.jsonl"
    while process.poll() is None and time.monotonic() < deadline:
        if path.is_file() and path.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    process.wait(60)


def test_run_that_was_killed_goes_on_to_the_last_bit(tmp_path: Path, uninterrupted: Path):
    for lines in (9, 31):
        kill_after(process := Python(PROGRAM, tmp_path), tmp_path, lines)
        assert process.returncode == -signal.SIGKILL
    assert 8 < len(events(tmp_path)) < len(events(uninterrupted))
    tiny_run.run(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


def test_kill_inside_the_writing_of_a_checkpoint_costs_nothing(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        """Stands for a kill: no handler of the program sees it."""

    save = torch.save

    def die_halfway(stored: object, file: Any) -> None:
        save(stored, file)
        if isinstance(stored, dict) and stored.get("progress", {}).get("step") == 12:
            file.truncate(1000)
            raise Killed

    monkeypatch.setattr(torch, "save", die_halfway)
    with pytest.raises(Killed):
        tiny_run.run(tmp_path)
    monkeypatch.undo()
    assert state.latest(tmp_path) == state.checkpoint_path(tmp_path, 8)
    tiny_run.run(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.slow
def test_line_that_a_kill_cut_short_is_dropped(tmp_path: Path, uninterrupted: Path):
    kill_after(Python(PROGRAM, tmp_path), tmp_path, 20)
    with (tmp_path / "metrics.jsonl").open("a") as lines:
        lines.write('{"event": "train", "st')
    tiny_run.run(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


def test_finished_run_does_nothing_when_run_again(tmp_path: Path):
    tiny_run.run(tmp_path, tiny_run.with_training(steps=10))
    before = events(tmp_path), weights(tmp_path)
    outcome = tiny_run.run(tmp_path, tiny_run.with_training(steps=10))
    assert outcome.step == 10
    assert events(tmp_path) == before[0]
    assert all(torch.equal(tensor, before[1][name]) for name, tensor in weights(tmp_path).items())


def test_only_the_newest_checkpoints_and_the_best_stay(uninterrupted: Path):
    names = sorted(path.name for path in (uninterrupted / state.FOLDER).iterdir())
    assert names == ["best.pt", "step-00000056.pt", "step-00000060.pt"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 6}, "training.seed"),
        ({"accumulate": 1}, "training.accumulate"),
        ({"optimizer": tiny_run.OptimizerSettings(method="adamw")}, "training.optimizer"),
        ({"schedule": tiny_run.Schedule(peak=1e-3)}, "learning rates so far"),
    ],
)
def test_other_settings_are_refused_by_name(uninterrupted: Path, change: dict[str, Any], name: str):
    with pytest.raises(UsageError, match=name):
        tiny_run.run(uninterrupted, tiny_run.with_training(**change))


def test_more_steps_may_be_given_during_the_plateau(tmp_path: Path):
    short = tiny_run.with_training(steps=20)
    longer = tiny_run.with_training(steps=40)
    tiny_run.run(tmp_path / "resumed", short)
    tiny_run.run(tmp_path / "resumed", longer)
    tiny_run.run(tmp_path / "straight", longer)
    assert_same_run(tmp_path / "resumed", tmp_path / "straight")


def test_more_steps_are_refused_once_the_rate_falls(tmp_path: Path):
    tiny_run.run(tmp_path, tiny_run.with_training(steps=36))
    with pytest.raises(UsageError, match="learning rates so far"):
        tiny_run.run(tmp_path, tiny_run.with_training(steps=40))
