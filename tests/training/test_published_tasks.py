"""The configs of the 18 xTrimoPGLM tasks, on small folders of the published layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, matthews_corrcoef, roc_auc_score
from tests.training import tiny_study
from tests.training.published_tasks import CLASSES, WITHOUT_VALID, write_task

from chaperonin.cli.main import main
from chaperonin.config import resolve
from chaperonin.training.finetune import fit
from chaperonin.training.finetune_settings import FineTuning, planned
from chaperonin.training.material import material_of
from chaperonin.training.results import judge
from chaperonin.training.results import tested_figures as figures_of_test

CONFIGS = Path(__file__).parents[2] / "configs"
Figure = Callable[[list[Any], list[Any]], float]


def precision(truth: list[Any], logits: list[Any]) -> float:
    """Of the L // 5 surest pairs more than 6 apart, the mean over proteins."""
    found = []
    for pairs, own in zip(truth, logits, strict=True):
        touching = {tuple(pair) for pair in pairs}
        length = len(own)
        far = [(-own[i, j], i, j) for i in range(length) for j in range(i + 7, length)]
        best = sorted(far)[: length // 5]
        found.append(np.mean([(i, j) in touching for _, i, j in best]))
    return float(np.mean(found))


def of_classes(measure: Figure, names: tuple[int, ...] = (0, 1)) -> Figure:
    """A measure of classes that are told apart by one logit, or by one each."""

    def figure(truth: list[Any], logits: list[Any]) -> float:
        rows = np.concatenate([np.atleast_2d(own) for own in logits])
        chosen = (rows[:, 0] > 0).astype(int) if rows.shape[1] == 1 else rows.argmax(axis=1)
        return measure(np.hstack(truth), np.array(names)[chosen])

    return figure


def of_values(measure: Any) -> Figure:
    return lambda truth, values: float(measure(np.hstack(truth), np.hstack(values))[0])


def area(truth: list[Any], logits: list[Any]) -> float:
    return float(roc_auc_score(truth, np.hstack(logits)))


TASKS: dict[str, Figure] = {
    "contact_prediction_binary": precision,
    "fold_prediction": of_classes(accuracy_score, CLASSES["fold_prediction"]),
    "ssp_q3": of_classes(accuracy_score, (0, 1, 2)),
    "localization_prediction": of_classes(accuracy_score, CLASSES["localization_prediction"]),
    "metal_ion_binding": of_classes(accuracy_score),
    "solubility_prediction": of_classes(accuracy_score),
    "antibiotic_resistance": of_classes(accuracy_score, CLASSES["antibiotic_resistance"]),
    "cloning_clf": area,
    "material_production": area,
    "tcr_pmhc_affinity": area,
    "peptide_HLA_MHC_affinity": area,
    "temperature_stability": of_classes(matthews_corrcoef),
    "fluorescence_prediction": of_values(spearmanr),
    "fitness_prediction": of_values(spearmanr),
    "stability_prediction": of_values(spearmanr),
    "enzyme_catalytic_efficiency": of_values(pearsonr),
    "optimal_temperature": of_values(spearmanr),
    "optimal_ph": of_values(spearmanr),
}
"""The measure of each task, by other means than ours."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study.write_base(tmp_path_factory.mktemp("base") / "model")


def settings_of(name: str, folder: Path, base: Path, *more: str) -> FineTuning:
    usual = [f"data.input={folder}", f"model={base}", "training.precision=fp32", "training.steps=2"]
    usual += ["training.evaluate_every=1", "training.checkpoint_every=2", *more]
    return resolve(FineTuning, file=CONFIGS / f"xtrimo/{name}.yaml", overrides=usual)


def test_there_is_a_config_for_each_task() -> None:
    assert {path.stem for path in (CONFIGS / "xtrimo").iterdir()} == set(TASKS)
    assert len(TASKS) == 18


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_trained_and_judged_by_its_own_measure(name: str, base: Path, tmp_path: Path) -> None:
    labels = write_task(tmp_path / name, name)
    settings = settings_of(name, tmp_path / name, base)
    material = material_of(settings)
    (parts,) = material.splits
    assert not material.dataset.rejected
    assert len(parts.test) == 12 and len(parts.validation)
    assert len(parts.training) + (len(parts.validation) if name in WITHOUT_VALID else 0) == 48
    fitted = fit(settings, material, parts, tmp_path / "run", torch.device("cpu"))
    means = material.target.probabilities if settings.kind == "regression" else lambda logits: logits
    said = [means(fitted.outputs[int(number)]) for number in parts.test]
    expected = TASKS[name](labels["test"], said)
    found = figures_of_test([judge(fitted, material, parts)], material)[settings.training.best]
    assert found["value"] == pytest.approx(expected, abs=1e-6)
    assert fitted.outcome.measure == settings.training.best
    if "valid" in labels:
        chosen = [means(fitted.outputs[int(number)]) for number in parts.validation]
        assert fitted.outcome.best_value == pytest.approx(TASKS[name](labels["valid"], chosen), abs=1e-5)


@pytest.mark.slow
def test_the_command_trains_the_bundled_model_and_leaves_one_that_predicts(tmp_path: Path) -> None:
    name = "contact_prediction_binary"
    labels = write_task(tmp_path / name, name, rows=6)
    words = ["train", str(CONFIGS / f"xtrimo/{name}.yaml"), str(tmp_path / "out"), "--device", "cpu"]
    for setting in (f"data.input={tmp_path / name}", "truncate=30", "training.steps=1"):
        words += ["--set", setting]
    assert main(words) == 0
    figures = json.loads((tmp_path / "out/metrics.json").read_text())
    measure = resolve(FineTuning, file=CONFIGS / f"xtrimo/{name}.yaml").training.best
    assert figures["parts"]["test"] == len(labels["test"]) == 6
    assert 0 <= figures["result"][measure]["value"] <= 1
    assert any("cut after 30 residues" in note for note in figures["notes"])
    (tmp_path / "some.fasta").write_text(">a\nMKTAYIAKQR\n")
    told = ["predict", str(tmp_path / "some.fasta"), str(tmp_path / "told")]
    assert main([*told, "--model", str(tmp_path / "out/model")]) == 0


def test_each_fold_of_an_assay_is_tested_once_and_another_one_chooses(base: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    lines = ["mutant\tsequences\tlabels\tfold_id"]
    for number in range(60):
        place, letter = int(generator.integers(50)), generator.choice(list("ACDEFGHIKL"))
        sequence = f"{'M' * place}{letter}{'M' * (49 - place)}"
        lines.append(f"M{place + 1}{letter}\t{sequence}\t{place / 50 + number / 100}\t{number % 5}")
    (tmp_path / "assay.tsv").write_text("\n".join(lines) + "\n")
    overrides = [f"data.input={tmp_path / 'assay.tsv'}", f"model={base}"]
    settings = resolve(FineTuning, file=CONFIGS / "dms-lora.yaml", overrides=overrides)
    material = material_of(settings)
    assert len(material.splits) == 5 and not material.dataset.rejected
    folds = [
        {example.group for example in map(material.dataset.examples.__getitem__, part)}
        for parts in material.splits
        for part in (parts.validation, parts.test)
    ]
    assert all(len(own) == 1 for own in folds)
    assert sorted(fold for own in folds[1::2] for fold in own) == list("01234")
    assert all(chosen != tested for chosen, tested in zip(folds[::2], folds[1::2], strict=True))
    loop = planned(settings, len(material.splits[0].training))
    assert (loop.steps, loop.schedule.warmup_steps, loop.schedule.peak) == (10_000, 500, 1e-4)
