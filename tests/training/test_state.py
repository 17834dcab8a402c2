from pathlib import Path

import pytest
import torch

from chaperonin.errors import WeightsError
from chaperonin.training import state


def test_newest_checkpoint_is_the_one_of_the_highest_step(tmp_path: Path):
    assert state.latest(tmp_path) is None
    for step in (9, 10, 100):
        state.save({"step": step}, state.checkpoint_path(tmp_path, step))
    state.save({"step": 1}, tmp_path / state.FOLDER / state.BEST)
    assert state.load(state.latest(tmp_path)) == {"step": 100}


def test_half_written_checkpoint_is_never_seen(tmp_path: Path):
    state.save({"step": 1}, state.checkpoint_path(tmp_path, 1))
    (tmp_path / state.FOLDER / ".step-00000002.pt.part").write_bytes(b"half")
    assert state.latest(tmp_path) == state.checkpoint_path(tmp_path, 1)


def test_old_checkpoints_go_and_the_best_stays(tmp_path: Path):
    for step in range(5):
        state.save({}, state.checkpoint_path(tmp_path, step))
    state.save({}, tmp_path / state.FOLDER / state.BEST)
    state.remove_old(tmp_path, keep=2)
    names = sorted(path.name for path in (tmp_path / state.FOLDER).iterdir())
    assert names == ["best.pt", "step-00000003.pt", "step-00000004.pt"]


def test_damaged_checkpoint_is_named_with_what_to_do(tmp_path: Path):
    path = tmp_path / "step-00000001.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match=r"step-00000001\.pt.*Delete this file"):
        state.load(path)


def test_checkpoint_that_would_run_code_is_refused(tmp_path: Path):
    path = tmp_path / "step-00000001.pt"
    torch.save({"model": Path}, path)
    with pytest.raises(WeightsError, match="cannot be read"):
        state.load(path)
