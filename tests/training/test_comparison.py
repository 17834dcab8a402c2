"""The comparison of the means: same steps and seeds for all, a process of its own each, nothing done twice."""

import csv
import json
from pathlib import Path

import pytest
import tiny_study
import torch

from chaperonin.config import resolve
from chaperonin.errors import UsageError
from chaperonin.kernels.host_memory import resident_bytes
from chaperonin.training import comparison
from chaperonin.training.comparison import ROWS, Comparison, Measured, batches_of, compare, mean_interval
from chaperonin.training.finetune import learn
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.training.material import Material, read_material
from chaperonin.training.tensor_memory import peak_held_bytes

CPU = torch.device("cpu")
SLACK = 20_000_000
"""Linux counts pages of a process in lots."""


pytestmark = pytest.mark.slow  # nine trainings, each in a process of its own


def read(settings: FineTuning) -> Material:
    return read_material(settings.data, settings.split, settings.task, settings.kind, settings.classes)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[FineTuning, Material, Path, Comparison]:
    """Base and LoRA, one seed."""
    folder = tmp_path_factory.mktemp("compared")
    settings = tiny_study.settings(folder, "training.steps=4", "training.seed=3")
    material = read(settings)
    return settings, material, folder, compare(settings, material, folder / "out", CPU, 1, ("base", "lora"))


def test_every_row_takes_the_same_steps_and_trains_what_it_says(
    compared: tuple[FineTuning, Material, Path, Comparison],
) -> None:
    base, lora = compared[3].rows
    assert base.trials[0]["steps"] == lora.trials[0]["steps"] == 4
    assert base.trials[0]["tokens"] == lora.trials[0]["tokens"] > 0
    assert base.trials[0]["trainable"] > lora.trials[0]["trainable"] > 0
    for row in (base, lora):
        assert row.predicted_bytes > 0
        assert row.trials[0]["peak_bytes"] > row.trials[0]["held_bytes"] > 0


def test_a_row_in_its_process_is_the_training_of_this_one(
    compared: tuple[FineTuning, Material, Path, Comparison], tmp_path: Path
) -> None:
    settings, material, _, found = compared
    own = ROWS["lora"].settings(settings)
    learned = learn(own, material, material.splits[0], tmp_path, CPU)
    assert learned.outcome.tokens == found.rows[1].trials[0]["tokens"]
    assert learned.trainable == found.rows[1].trials[0]["trainable"]


def test_files_hold_what_is_printed(compared: tuple[FineTuning, Material, Path, Comparison]) -> None:
    _, _, folder, found = compared
    with (folder / "out/comparison.csv").open() as opened:
        assert list(csv.reader(opened)) == list(found.lines())
    stored = json.loads((folder / "out/comparison.json").read_text())
    assert stored["measure"] == "accuracy"
    assert [row["trials"] for row in stored["rows"]] == [row.trials for row in found.rows]
    assert not list((folder / "out").rglob("work"))


def test_what_is_done_is_not_run_again_and_other_settings_are(
    compared: tuple[FineTuning, Material, Path, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, material, folder, found = compared
    started: list[list[str]] = []
    monkeypatch.setattr(comparison, "_start", lambda arguments, _: started.append(list(arguments)))
    again = compare(settings, material, folder / "out", CPU, 1, ("base", "lora"))
    assert not started and again.rows == found.rows
    other = resolve(FineTuning, options={"data.input": settings.data.input, "model": settings.model})
    with pytest.raises(FileNotFoundError):  # the process that was not started has left nothing
        compare(other, material, folder / "out", CPU, 1, ("base",))
    assert started[0][0] == "forecast"


def test_a_row_that_cannot_run_says_why_and_stops_no_other(tmp_path: Path) -> None:
    settings = tiny_study.settings(tmp_path, "training.steps=1", "means.lora.targets=[head]")
    found = compare(settings, read(settings), tmp_path / "out", CPU, 1, ("lora", "qlora"))
    for row, line in zip(found.rows, list(found.lines())[1:], strict=True):
        assert not row.trials and "would train the head alone" in row.note
        assert line[:2] == [row.title, "not run"] and f"{row.title}: " in str(found)


def test_rows_set_their_means_and_leave_the_rest_to_the_user(tmp_path: Path) -> None:
    given = tiny_study.settings(tmp_path, "means.lora.rank=3", "training.patience=2", "batch_size=12")
    for row in ROWS.values():
        own = row.settings(given)
        assert (own.batch_size, own.means.lora.rank, own.training.patience) == (12, 3, 0)
        assert own.training.accumulate == (6 if row.accumulates else 1)
    together = ROWS["all"].settings(given)
    assert (together.means.method, together.means.recompute, together.training.precision) == (
        "lora",
        True,
        "auto",
    )
    base = ROWS["base"].settings(given)
    assert (base.means.method, base.means.recompute, base.training.precision) == ("full", False, "fp32")
    chosen = tiny_study.settings(tmp_path, "means.recompute=selective")
    assert ROWS["all"].settings(chosen).means.recompute == "selective"
    assert ROWS["base"].settings(chosen).means.recompute is False


@pytest.mark.parametrize(
    ("size", "own", "batches"), [(32, 1, 8), (12, 1, 6), (7, 1, 7), (11, 1, 1), (32, 2, 2)]
)
def test_a_step_is_cut_into_equal_batches(tmp_path: Path, size: int, own: int, batches: int) -> None:
    given = tiny_study.settings(tmp_path, f"batch_size={size}", f"training.accumulate={own}")
    assert batches_of(given) == batches


def trials(values: list[float]) -> list[dict[str, object]]:
    return [
        {"seconds": 2.0, "peak_bytes": 10, "trainable": 1, "figures": {"accuracy": {"value": value}}}
        for value in values
    ]


def test_differences_are_taken_seed_by_seed() -> None:
    found = Comparison(
        [Measured("base", trials([0.9, 0.7, 0.8])), Measured("all", trials([0.91, 0.71, 0.81]))]
    )
    difference = found.difference(found.rows[1])
    assert difference == pytest.approx((0.01, 0.01, 0.01))
    mean, low, high = found.value(found.rows[1])
    assert mean == pytest.approx(0.81)
    # Student's t with two degrees of freedom: 4.303 · 0.1 / √3
    assert (mean - low, high - mean) == pytest.approx((0.2484, 0.2484), abs=1e-4)


def test_one_value_has_no_interval() -> None:
    mean, low, high = mean_interval([0.5])
    assert mean == 0.5 and low != low and high != high


def test_peak_memory_is_at_least_what_is_held_and_does_not_fall() -> None:
    held = torch.ones(50_000_000)
    during = peak_held_bytes(CPU)
    assert during > resident_bytes() - SLACK > held.nbytes
    del held
    assert peak_held_bytes(CPU) > during - SLACK > resident_bytes()


@pytest.mark.parametrize(
    ("seeds", "names", "words"), [(1, ("speed",), "no row is called 'speed'"), (0, ("base",), "at least one")]
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, seeds: int, names: tuple[str, ...], words: str
) -> None:
    settings = tiny_study.settings(tmp_path)
    with pytest.raises(UsageError, match=words):
        compare(settings, read(settings), tmp_path / "out", CPU, seeds, names)
