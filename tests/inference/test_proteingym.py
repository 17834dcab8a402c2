"""The supervised benchmark as a job: tables, averages, failures, and going on after a kill."""

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from chaperonin.data.assays import Assay
from chaperonin.errors import InputError, UsageError
from chaperonin.inference import proteingym
from chaperonin.inference.proteingym import SupervisedSettings, forecast_supervised, supervised_job
from chaperonin.inference.score import ScoreSettings, score
from chaperonin.models.esm import ESM
from chaperonin.protein.substitution import blosum62_score
from chaperonin.tasks.fitness import MODEL, ONE_HOT, SUBSTITUTION, FoldResult, Method

PROTEINS = {"P1": "MKTAYIAKQRQISFVKSHFSRQ", "P2": "GSHMLEDPVDRWTACNQKEF"}
TYPES = {
    "A": ("P1", "Stability"),
    "B": ("P1", "Stability"),
    "C": ("P2", "Stability"),
    "D": ("P1", "Activity"),
}


def write_assay(path: Path, protein: str, seed: int, count: int = 40) -> None:
    draw = np.random.default_rng(seed)
    lines = ["mutant,mutated_sequence,DMS_score,fold_random_5"]
    for number in range(count):
        first, second = sorted(draw.choice(len(protein), 2, replace=False))
        letters, names = list(protein), []
        for place in (first, second):
            new = "W" if protein[place] != "W" else "A"
            letters[place] = "ACDEFGHIKLMNPQRSTVY"[draw.integers(19)]
            if letters[place] == protein[place]:
                letters[place] = new
            names.append(f"{protein[place]}{place + 1}{letters[place]}")
        value = draw.normal() * 3 + 10
        lines.append(f"{':'.join(names)},{''.join(letters)},{value},{number % 5}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four assays of two proteins, deletions, and a table without values."""
    folder = tmp_path / "assays"
    folder.mkdir()
    for seed, (name, (protein, _)) in enumerate(TYPES.items()):
        write_assay(folder / f"{name}.csv", PROTEINS[protein], seed)
    wild = PROTEINS["P1"]
    deleted = [f"{wild[:n] + wild[n + 1 + n % 2 :]}\t{n}\t{n % 5}" for n in range(21)]
    (folder / "E_indels.tsv").write_text("\n".join(["sequences\tlabels\tfold_id", *deleted]) + "\n")
    (folder / "F.csv").write_text("mutant,mutated_sequence\nM1A,AK\n")
    return folder


@pytest.fixture
def reference(tmp_path: Path) -> str:
    lines = ["DMS_id,UniProt_ID,taxon,target_seq,MSA_Neff_L_category,coarse_selection_type"]
    types = {**TYPES, "E_indels": ("P1", "Activity"), "F": ("P1", "Binding")}
    lines += [f"{name},{who},Human,{PROTEINS[who]},Low,{kind}" for name, (who, kind) in types.items()]
    path = tmp_path / "reference.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


class Learner:
    """Says the measured value with some noise, and BLOSUM62; counts its calls, and is stopped after some."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.calls: list[tuple[str, int]] = []
        self.stop_after = stop_after

    def __call__(
        self, assay: Assay, fold: int, method: Method, vectors: NDArray[np.float32] | None, folder: Path
    ) -> FoldResult:
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append((assay.id, fold))
        assert (vectors is None) == (method == "lora")
        test = assay.parts(fold).test
        noise = np.random.default_rng(fold).normal(size=len(test))
        said = {MODEL: assay.values[test] + 2 * noise, ONE_HOT: assay.values[test] - noise}
        if assay.variants is not None:
            said[SUBSTITUTION] = np.array([blosum62_score(assay.variants[n]) for n in test], float)
        return FoldResult(said, 7)


def settings(**changes: object) -> SupervisedSettings:
    return SupervisedSettings(**{"precision": "fp32", "device": "cpu", **changes})


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.csv")}


def test_figures_are_those_of_the_predictions(model: ESM, source: Path, tmp_path: Path) -> None:
    outcome = supervised_job(model, Learner(), source, tmp_path / "out", settings())
    assert (outcome.done, outcome.failed, outcome.exit_code) == (5, 1, 3)
    rows = {row["DMS_id"]: row for row in read(tmp_path / "out/assays.csv")}
    assert list(rows) == ["A", "B", "C", "D", "E_indels"]
    for id, row in rows.items():
        variants = read(tmp_path / f"out/predictions/{id}.csv")
        truth = np.array([float(one["DMS_score"]) for one in variants])
        folds = np.array([int(one["fold"]) for one in variants])
        for column, prefix in (("prediction", ""), ("one_hot_ridge", "one_hot_ridge_")):
            said = np.array([float(one[column]) for one in variants])
            known = np.array([truth[folds != fold].var() for fold in range(5)])
            each = [spearmanr(truth[folds == fold], said[folds == fold]).statistic for fold in range(5)]
            assert float(row[f"{prefix}Spearman"]) == pytest.approx(
                spearmanr(truth, said).statistic, abs=1e-5
            )
            assert float(row[f"{prefix}MSE"]) == pytest.approx(
                ((truth - said) ** 2 / known[folds]).mean(), rel=1e-3
            )
            assert float(row[f"{prefix}Spearman_fold_deviation"]) == pytest.approx(np.std(each), abs=1e-4)
        assert row["variants"] == str(len(variants)) and row["steps"] == "7;7;7;7;7"
    assert rows["E_indels"]["BLOSUM62_Spearman"] == "" and "BLOSUM62" not in read(
        tmp_path / "out/predictions/E_indels.csv"
    )[0]  # fmt: skip
    (failure,) = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert failure["id"] == "F" and "no column of measured values" in failure["error"]
    assert not (tmp_path / "out/work").exists()


def test_blosum62_is_that_of_zero_shot_scores(model: ESM, source: Path, tmp_path: Path) -> None:
    supervised_job(model, Learner(), source / "A.csv", tmp_path / "out", settings())
    scored = score(
        model, source / "A.csv", ScoreSettings(target=PROTEINS["P1"], protocol="wt-marginal", evaluate=True)
    )
    (row,) = read(tmp_path / "out/assays.csv")
    expected = scored.metrics["baselines"]["BLOSUM62"]["Spearman"]
    assert float(row["BLOSUM62_Spearman"]) == pytest.approx(expected, abs=1e-5)


def test_averages_are_over_proteins_then_selection_types(
    model: ESM, source: Path, reference: str, tmp_path: Path
) -> None:
    supervised_job(model, Learner(), source, tmp_path / "out", settings(reference=reference))
    rows = {row["DMS_id"]: row for row in read(tmp_path / "out/assays.csv")}
    lines = {(line["metric"], line["Model_name"]): line for line in read(tmp_path / "out/summary.csv")}
    for prefix, name, count in (("one_hot_ridge_", "one_hot_ridge", 5), ("BLOSUM62_", "BLOSUM62", 4)):
        for metric in ("Spearman", "MSE"):
            own = {id: row[f"{prefix}{metric}"] for id, row in rows.items()}
            value = {id: round(float(cell), 3) for id, cell in own.items() if cell}
            stability = ((value["A"] + value["B"]) / 2 + value["C"]) / 2
            activity = [value[id] for id in ("D", "E_indels") if id in value]
            expected = (stability + sum(activity) / len(activity)) / 2
            line = lines[metric, name]
            assert float(line["Average"]) == pytest.approx(expected, abs=6e-4)
            assert float(line["Function_Stability"]) == pytest.approx(stability, abs=6e-4)
            assert (line["assays"], line["average_over"]) == (str(count), "selection types")
    for metric, sign in (("Spearman", -1), ("MSE", 1)):
        averages = [float(line["Average"]) for (own, _), line in lines.items() if own == metric]
        assert averages == sorted(averages, key=lambda value: sign * value)


def test_a_stopped_job_goes_on_and_leaves_the_same_bytes(model: ESM, source: Path, tmp_path: Path) -> None:
    whole = Learner()
    supervised_job(model, whole, source, tmp_path / "whole", settings(method="frozen"))
    assert len(whole.calls) == len(set(whole.calls)) == 25
    done: list[tuple[str, int]] = []
    for stop_after in (7, 9):
        stopped = Learner(stop_after)
        with pytest.raises(KeyboardInterrupt):
            supervised_job(model, stopped, source, tmp_path / "out", settings(method="frozen"))
        done += stopped.calls
    last = Learner()
    supervised_job(model, last, source, tmp_path / "out", settings(method="frozen"))
    assert [*done, *last.calls] == whole.calls
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    nothing = Learner()
    supervised_job(model, nothing, source, tmp_path / "out", settings(method="frozen"))
    assert not nothing.calls
    with pytest.raises(UsageError, match="job with other settings: seed was 0, now 1"):
        supervised_job(model, nothing, source, tmp_path / "out", settings(method="frozen", seed=1))


def test_a_fold_that_fails_is_the_failure_of_its_assay_alone(
    model: ESM, source: Path, tmp_path: Path
) -> None:
    class Failing(Learner):
        def __call__(self, assay: Assay, *rest: object) -> FoldResult:
            if assay.id == "B":
                raise InputError("too long", where="B.csv", advice="Shorten it.")
            if assay.id == "C":
                raise MemoryError
            return super().__call__(assay, *rest)

    outcome = supervised_job(model, Failing(), source, tmp_path / "out", settings())
    assert (outcome.done, outcome.failed) == (3, 3)
    lines = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert [(line["id"], line["stage"]) for line in lines] == [
        ("B", "compute"),
        ("C", "compute"),
        ("F", "read"),
    ]
    assert "more memory than there is" in lines[1]["error"]


def test_vectors_are_computed_once_and_kept_where_that_is_asked_for(
    model: ESM, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = settings(method="frozen", vectors=str(tmp_path / "vectors"))
    passes: list[int] = []
    pooled = proteingym.pooled
    monkeypatch.setattr(proteingym, "pooled", lambda *words: passes.append(1) or pooled(*words))
    supervised_job(model, Learner(), source, tmp_path / "one", kept)
    assert len(passes) == 5
    supervised_job(model, Learner(), source, tmp_path / "two", kept)
    assert len(passes) == 5
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    shutil.rmtree(tmp_path / "vectors")
    supervised_job(model, Learner(), source, tmp_path / "one", kept, overwrite=True)
    assert len(passes) == 10


@pytest.mark.parametrize(("few", "method"), [(21, "lora"), (22, "frozen")])
def test_few_indels_are_learned_on_the_frozen_model_and_all_else_by_lora(
    few: int, method: str, model: ESM, source: Path, reference: str, tmp_path: Path
) -> None:
    asked = settings(reference=reference, few_indels=few)
    plan = forecast_supervised(model, source, asked)
    assert "A: lora, 40 variants, 5 folds (fold_random_5)" in plan
    assert f"E_indels: {method}, 21 variants, 5 folds (fold_id)" in plan
    assert "would fail: F: F.csv: has no column of measured values" in plan
    supervised_job(model, Learner(), source, tmp_path / "out", asked)
    rows = {row["DMS_id"]: row["method"] for row in read(tmp_path / "out/assays.csv")}
    assert rows["A"] == "lora" and rows["E_indels"] == method


def test_where_nothing_can_be_used_every_table_is_empty(model: ESM, source: Path, tmp_path: Path) -> None:
    outcome = supervised_job(model, Learner(), source / "F.csv", tmp_path / "out", settings())
    assert (outcome.done, outcome.failed, outcome.exit_code) == (0, 1, 1)
    assert read(tmp_path / "out/assays.csv") == []
