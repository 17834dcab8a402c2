"""Predictions in memory and in files, of proteins, residues and pairs; labelled ones with their metrics."""

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet

from chaperonin.adapt.lora import LoraSettings, add_lora
from chaperonin.data.labelled import LabelSettings
from chaperonin.errors import UsageError, WeightsError
from chaperonin.inference.assess import EvaluateSettings, evaluate_job
from chaperonin.inference.load import load, origin_of
from chaperonin.inference.predict import PredictSettings, outputs_of, predict, predict_job
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.domain import Domain
from chaperonin.tasks.folder import Base, save_trained
from chaperonin.tasks.heads import build_head
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.target import Target
from chaperonin.weights.pretrained import load_folder

SEQUENCES = {"one": "MKTAYIAKQRQISFVKSHFSRQ", "a/../b": "GATTACA", "twin": "GATTACA", "=x": "MLLWRKDE" * 9}
TARGETS = {
    "binary": Target("sequence", "binary", ("S", "M")),
    "labels": Target("sequence", "multilabel", ("A", "B", "C")),
    "value": Target("sequence", "regression", mean=3.0, deviation=2.0),
    "residue": Target("residue", "multiclass", ("H", "E", "C")),
    "pairs": Target("pairs", "binary", ("apart", "touching")),
}
Train = Callable[..., Path]


@pytest.fixture(scope="session")
def train(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """A model directory of a LoRA with random weights."""

    def trained(target: Target, pooling: str = "mean") -> Path:
        torch.manual_seed(3)
        backbone = load_folder(LAYOUT, model_folder)
        assert isinstance(backbone, ESM)
        backbone.requires_grad_(False)
        add_lora(backbone, LoraSettings(rank=2, alpha=4))
        head = build_head(target, 32, pooling, "none")
        predictor = Predictor(backbone, head, target)
        for parameter in predictor.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(std=0.2)
        features = np.random.default_rng(0).normal(size=(40, 32))
        folder = tmp_path_factory.mktemp("trained") / "model"
        heats = (2.0, 1.0, 0.5) if target.kind == "multilabel" else (2.0,)
        calibration = Calibration(heats, interval=1.5 if target.kind == "regression" else None)
        base = Base.of(str(model_folder))
        save_trained(
            folder, predictor.eval(), base, calibration, Domain.fit(features, features), method="lora"
        )
        return folder

    return trained


@pytest.fixture(scope="session")
def loaded(train: Train) -> Callable[[str], ESM]:
    """Each target's model, loaded once."""
    models: dict[str, ESM] = {}

    def get(name: str) -> ESM:
        if name not in models:
            models[name] = load(str(train(TARGETS[name])), precision="fp32", device="cpu")
        return models[name]

    return get


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.fasta"
    text = "".join(f">{id}\n{sequence}\n" for id, sequence in SEQUENCES.items())
    path.write_text(text + ">bad\nA-C\n")
    return path


def rows_of(outdir: Path) -> list[dict[str, str]]:
    with (outdir / "predictions.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_trained_model_is_loaded_with_its_head_and_another_has_none(
    loaded: Callable[[str], ESM], model: ESM, model_folder: Path
) -> None:
    origin = origin_of(loaded("binary"))
    assert origin.trained is not None and origin.trained.target == TARGETS["binary"]
    assert origin.sha256 not in (origin_of(model).sha256, origin_of(loaded("value")).sha256)
    assert origin_of(model).trained is None
    with pytest.raises(UsageError, match="predicts no property"):
        predict(model, SEQUENCES)
    tokens = torch.from_numpy(model.alphabet.encode("MKTAYI"))
    with torch.inference_mode():
        difference = loaded("binary")(tokens, Segments([8])) - model(tokens, Segments([8]))
    assert difference.abs().max() > 1e-3  # the adapter is merged


def test_a_base_that_changed_is_refused(train: Train, tmp_path: Path, model_folder: Path) -> None:
    folder = train(TARGETS["binary"])
    task = json.loads((folder / "task.json").read_text())
    (folder / "task.json").write_text(json.dumps(task | {"base": {**task["base"], "sha256": "0" * 64}}))
    with pytest.raises(WeightsError, match="not those that it was trained on"):
        load(str(folder), device="cpu")


@pytest.mark.parametrize("name", TARGETS)
def test_files_hold_what_is_predicted_in_memory(
    name: str, loaded: Callable[[str], ESM], source: Path, tmp_path: Path
) -> None:
    model, target, out = loaded(name), TARGETS[name], tmp_path / "out"
    outcome = predict_job(model, source, out)
    assert (outcome.done, outcome.failed, outcome.exit_code) == (4, 1, 3)
    found = predict(model, source)
    assert found.ids == list(SEQUENCES) and [one.id for one in found.failures] == ["bad"]
    rows = rows_of(out)
    assert [row["id"] for row in rows] == ["one", "a/../b", "twin", "'=x"]
    for row, (_, prediction) in zip(rows, found, strict=True):
        assert row["in_domain"] == str(prediction.in_domain).lower()
        assert float(row["distance"]) == pytest.approx(prediction.distance, rel=1e-5)
        if name == "value":
            assert prediction.value is not None
            numbers = [float(row[column]) for column in ("low", "value", "high")]
            # The value is near 1.5 here: what a difference leaves keeps its rounding.
            sides = [prediction.value + side for side in (-1.5, 0, 1.5)]
            assert numbers == pytest.approx(sides, rel=1e-4, abs=1e-6)
            continue
        assert row["label"] == prediction.label
        for label, share in prediction.probabilities.items():
            assert float(row[f"p_{label}"]) == pytest.approx(share, rel=1e-4)
    if name == "residue":
        table = parquet.read_table(out / "residues.parquet").to_pylist()
        assert [row["residue"] for row in table] == list("".join(SEQUENCES.values()))
        assert "".join(row["label"] for row in table) == "".join(row["label"] for row in rows)
        shares = np.array([[row[f"p_{one}"] for one in target.classes] for row in table])
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    if name == "pairs":
        assert len(list((out / "pairs").glob("*.npz"))) == 4
        for path in (out / "pairs").glob("*.npz"):
            with np.load(path, allow_pickle=False) as stored:
                length = len(SEQUENCES[str(stored["id"])])
                assert stored["pairs"].shape == (length, length)
                np.testing.assert_allclose(stored["pairs"], stored["pairs"].T, atol=1e-6)


def test_probabilities_are_those_of_the_predictor_divided_by_the_temperature(
    loaded: Callable[[str], ESM],
) -> None:
    model = loaded("binary")
    trained = origin_of(model).trained
    assert trained is not None
    (output,) = outputs_of(model, [SEQUENCES["one"]], 4096)
    tokens = torch.from_numpy(model.alphabet.encode(SEQUENCES["one"]))
    with torch.inference_mode():
        rows = trained.backbone()(tokens, Segments([len(tokens)]))
        logit = trained.head(rows[1:-1].mean(dim=0, keepdim=True)).item()
    assert output.logits.item() == pytest.approx(logit, abs=1e-4)
    expected = 1 / (1 + np.exp(-logit / 2.0))
    assert trained.prediction(output).probabilities["M"] == pytest.approx(expected, abs=1e-4)


def test_long_proteins_are_read_in_windows(loaded: Callable[[str], ESM]) -> None:
    long = {"long": "MKTAYIAKQR" * 150}
    (whole,) = predict(loaded("residue"), long).predictions
    assert len(whole.label) == 1500 and whole.residues is not None and np.isfinite(whole.residues).all()
    (cut,) = predict(loaded("residue"), long, PredictSettings(long="truncate")).predictions
    assert len(cut.label) == 1022
    assert predict(loaded("residue"), long, PredictSettings(long="fail")).failures[0].id == "long"


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(
    loaded: Callable[[str], ESM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in.fasta"
    generator = np.random.default_rng(5)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    source.write_text("".join(f">p{n}\n{''.join(generator.choice(letters, 20 + n))}\n" for n in range(40)))
    model, settings = loaded("binary"), PredictSettings(batch_tokens=150)
    predict_job(model, source, tmp_path / "whole", settings)
    monkeypatch.setattr("chaperonin.inference.jobs.FLUSH_BYTES", 1)
    child = os.fork()
    if child == 0:
        import chaperonin.inference.predict as module

        real, left = module.outputs_of, 4

        def dying(*arguments: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)  # type: ignore[arg-type]

        module.outputs_of = dying  # type: ignore[assignment]
        torch.set_num_threads(1)
        predict_job(model, source, tmp_path / "killed", settings)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "killed/predictions.csv").exists()
    predict_job(model, source, tmp_path / "killed", settings)
    for name in ("predictions.csv", "failures.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_evaluation_counts_what_is_right(loaded: Callable[[str], ESM], tmp_path: Path) -> None:
    generator = np.random.default_rng(6)
    sequences = {f"p{n}": "".join(generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), 30)) for n in range(40)}
    model = loaded("binary")
    called = {id: one.label for id, one in predict(model, sequences)}
    other = {"S": "M", "M": "S"}
    wrong = {"p3", "p7"}
    lines = [
        f"{id},{sequence},{other[called[id]] if id in wrong else called[id]},{'train' if id == 'p0' else 'test'}"
        for id, sequence in sequences.items()
    ]
    source = tmp_path / "labelled.csv"
    source.write_text("\n".join(["id,sequence,label,stage", *lines, "odd,MKTAYI,Q,test"]) + "\n")
    outcome = evaluate_job(model, source, tmp_path / "out", EvaluateSettings(stage="test", draws=50))
    assert (outcome.done, outcome.failed) == (39, 1)
    judged = json.loads((tmp_path / "out/metrics.json").read_text())
    accuracy = judged["result"]["accuracy"]
    assert accuracy["value"] == pytest.approx(37 / 39)
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert judged["parts"] == {"test": 39} and 0 <= judged["calibration"]["ece_here"] <= 1
    rows = rows_of(tmp_path / "out")
    assert {row["id"] for row in rows if row["truth"] != row["label"]} == wrong
    (failure,) = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert failure["id"] == "odd" and "no class" in failure["error"] and failure["advice"]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("labels", ["A|B", "C", "|"]),
        ("value", ["3.5", "1", "-2"]),
        ("residue", ["HHH", "EEC", "C.H"]),
        ("pairs", ["1-3", "1-2 2-3", "1-3"]),
    ],
)
def test_every_kind_of_label_is_evaluated(
    name: str, labels: list[str], loaded: Callable[[str], ESM], tmp_path: Path
) -> None:
    source = tmp_path / "labelled.csv"
    source.write_text(
        "id,sequence,label\n"
        + "".join(
            f"p{n},{s},{t}\n" for n, (s, t) in enumerate(zip(["MKT", "GAT", "WYW"], labels, strict=True))
        )
    )
    settings = EvaluateSettings(draws=20, data=LabelSettings())
    assert evaluate_job(loaded(name), source, tmp_path / "out", settings).exit_code == 0
    judged = json.loads((tmp_path / "out/metrics.json").read_text())
    assert judged["target"]["kind"] == TARGETS[name].kind
    assert judged["curves"].get("count") == (8 if name == "residue" else None)  # the pairs are too near
    assert [row["truth"] for row in rows_of(tmp_path / "out")] == labels
