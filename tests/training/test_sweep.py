from pathlib import Path

import tiny_study

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
    best = best_settings(own, material, tmp_path / "out", tiny_study.CPU)
    assert best.training.schedule.peak == 3e-2  # the other cannot leave its beginning
    rows = (tmp_path / "out" / "sweep.csv").read_text().splitlines()
    assert rows[0] == "learning_rate,rank,validation_loss,step,chosen"
    assert [row.endswith("yes") for row in rows[1:]] == [False, True]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.pt")}
    assert best_settings(own, material, tmp_path / "out", tiny_study.CPU) == best
    assert {path: path.stat().st_mtime_ns for path in before} == before
