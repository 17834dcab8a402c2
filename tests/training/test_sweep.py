import csv
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_study

from chaperonin.cli.main import main
from chaperonin.config import resolve
from chaperonin.data.splitting import Parts
from chaperonin.training import sweep
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.training.material import read_material
from chaperonin.training.sweep import best_settings, combinations


def test_every_rate_meets_every_rank_and_adapters_keep_their_scale(tmp_path: Path):
    own = tiny_study.settings(tmp_path, "sweep.learning_rates=[1e-3,1e-2]", "sweep.ranks=[2,16]")
    found = list(combinations(own))
    pairs = [(trial.training.schedule.peak, trial.means.lora.rank) for trial in found]
    assert pairs == [(1e-3, 2), (1e-3, 16), (1e-2, 2), (1e-2, 16)]
    scales = {trial.means.lora.alpha / trial.means.lora.rank for trial in found}
    assert scales == {own.means.lora.alpha / own.means.lora.rank}


def test_best_trial_is_the_one_of_the_lowest_loss_and_nothing_runs_twice(tmp_path: Path):
    own = tiny_study.settings(tmp_path, "means.method=frozen", "sweep.learning_rates=[1e-6,3e-2]", "epochs=4")
    material = read_material(own.data, own.split, own.task)
    best = best_settings(own, material, material.splits[0], tmp_path / "out", tiny_study.CPU)
    assert best.training.schedule.peak == 3e-2  # the other cannot leave its beginning
    rows = (tmp_path / "out" / "sweep.csv").read_text().splitlines()
    assert rows[0] == "learning_rate,rank,validation_loss,step,chosen"
    assert [row.endswith("yes") for row in rows[1:]] == [False, True]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.pt")}
    assert best_settings(own, material, material.splits[0], tmp_path / "out", tiny_study.CPU) == best
    assert {path: path.stat().st_mtime_ns for path in before} == before


def chosen(folder: Path) -> tuple[float, int]:
    """Rate and rank that sweep.csv marks."""
    with (folder / "sweep.csv").open(newline="") as opened:
        (row,) = (row for row in csv.DictReader(opened) if row["chosen"] == "yes")
    return float(row["learning_rate"]), int(row["rank"])


def test_what_a_sweep_chose_is_what_config_and_run_say(tmp_path: Path) -> None:
    tiny_study.settings(tmp_path)
    options = ["sweep.learning_rates=[1e-6,2e-2]", "sweep.ranks=[2,4]", "epochs=3", "means.lora.alpha=8"]
    options += ["training.precision=fp32", "batch_size=8"]
    words = [part for option in options for part in ("--set", option)]
    out = tmp_path / "out"
    arguments = [str(tmp_path / "table.csv"), str(out), "--model", str(tmp_path / "base"), "--device", "cpu"]
    assert main(["train", *arguments, "--sweep", *words]) == 0
    rate, rank = chosen(out)
    assert rate == 2e-2
    written = resolve(FineTuning, file=out / "config.yaml")
    run: dict[str, Any] = json.loads((out / "run.json").read_text())
    adapter = json.loads((out / "model" / "adapter_config.json").read_text())
    lora = run["config"]["means"]["lora"]
    assert (written.training.schedule.peak, written.means.lora.rank) == (rate, rank) == chosen(out)
    assert (run["config"]["training"]["schedule"]["peak"], lora["rank"], adapter["r"]) == (rate, rank, rank)
    assert lora["alpha"] == adapter["lora_alpha"] == rank  # alpha / rank stays 8 / 8
    assert run["model"]["parameters"] == json.loads((out / "metrics.json").read_text())["cost"]["parameters"]


def test_folds_search_for_themselves_and_see_no_protein_that_they_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, seen = sweep.learn, []

    def watched(settings: FineTuning, material: Any, parts: Parts, *others: Any) -> Any:
        seen.append(parts)
        return learn(settings, material, parts, *others)

    monkeypatch.setattr(sweep, "learn", watched)
    options = ("means.method=frozen", "split.method=random", "split.folds=3")
    tiny_study.run(tmp_path, tmp_path / "out", *options, "sweep.learning_rates=[1e-3,3e-2]", sweeps=True)
    own = tiny_study.settings(tmp_path, *options)
    splits = read_material(own.data, own.split, own.task).splits
    assert len(seen) == 8  # two rates: each of three folds, and the model that is kept
    for number, parts in enumerate(splits):
        for looked in seen[2 * number : 2 * number + 2]:
            used = {*looked.training, *looked.validation}
            assert used.isdisjoint(parts.test) and list(looked.validation) == list(parts.validation)
    assert all(not len(parts.test) for parts in seen[6:])
    assert len(list((tmp_path / "out").rglob("sweep.csv"))) == 4
