"""The model directory: comes back as it was, opens elsewhere with the same logits, and is whole or not there."""

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chaperonin.adapt.lora import LoraSettings, add_lora
from chaperonin.errors import WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.domain import Domain
from chaperonin.tasks.folder import Base, Method, read_trained, save_trained, trained_folder
from chaperonin.tasks.heads import build_head
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.target import Target
from chaperonin.weights.pretrained import load_folder, save_folder

WIDTH = 16
SEQUENCES = ("MKTAYIAKQRQISFVKSHFSRQ", "GATTACA")
TARGETS = {
    "binary": Target("sequence", "binary", ("S", "M")),
    "multiclass": Target("sequence", "multiclass", ("A", "B", "C")),
    "multilabel": Target("sequence", "multilabel", ("A", "B", "C")),
    "regression": Target("sequence", "regression", mean=3.0, deviation=2.0),
    "residue": Target("residue", "multiclass", ("H", "E", "C")),
    "pairs": Target("pairs", "binary", ("apart", "touching")),
}


def shake(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3, generator=generator)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base")
    model = ESM(ESMConfig(width=WIDTH, depth=2, heads=2, inner_width=32))
    shake(model, 0)
    save_folder(LAYOUT, model, folder)
    return Base.of(str(folder))


HIDDEN = {name: "none" if name == "residue" else "tanh" for name in TARGETS}
"""The hidden layer of the heads that transformers has too."""
Make = Callable[..., tuple[Predictor, Path]]


@pytest.fixture
def make(base: Base, tmp_path: Path) -> Make:
    """Predictor with random trained weights, and the folder that it was saved to."""

    def made(
        target: Target, method: Method, pooling: str = "mean", hidden: str = "none", inner: int = 0
    ) -> tuple[Predictor, Path]:
        backbone = load_folder(LAYOUT, Path(base.name))
        backbone.requires_grad_(method == "full")
        if method == "lora":
            add_lora(backbone, LoraSettings(rank=2, alpha=4))
        predictor = Predictor(backbone, build_head(target, WIDTH, pooling, hidden, inner), target).eval()
        shake(predictor, 1)
        features = np.random.default_rng(0).normal(size=(40, WIDTH))
        domain = Domain.fit(features, features)
        heats = 3 if target.kind == "multilabel" else 1
        calibration = Calibration((1.0,) * heats)
        folder = tmp_path / "model"
        metrics = {"parts": {"training": 40}, "result": {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0}}}
        save_trained(folder, predictor, base, calibration, domain, method=method, metrics=metrics)
        return predictor, folder

    return made


def packed() -> tuple[torch.Tensor, Segments]:
    arrays = [torch.from_numpy(ESM.alphabet.encode(sequence)) for sequence in SEQUENCES]
    return torch.cat(arrays), Segments([len(array) for array in arrays])


def logits_of(predictor: Predictor) -> list[np.ndarray]:
    with torch.inference_mode():
        logits = predictor(*packed())
    if isinstance(logits, list):
        return [own.numpy() for own in logits]
    if predictor.target.level == "residue":
        return [own.numpy() for own in logits.split([len(sequence) for sequence in SEQUENCES])]
    return list(logits.numpy())


@pytest.mark.parametrize("method", ["full", "lora", "frozen"])
@pytest.mark.parametrize("name", TARGETS)
def test_what_was_saved_comes_back_and_predicts_the_same(name: str, method: Method, make: Make) -> None:
    predictor, folder = make(TARGETS[name], method)
    trained = read_trained(folder)
    assert trained.target == TARGETS[name] and trained.method == method
    with torch.inference_mode():
        hidden = trained.backbone()(*packed())
    _, segments = packed()
    rows = [own[:-1].numpy() for own in hidden.split(segments.lengths)]
    for output, expected in zip(trained.outputs(rows), logits_of(predictor), strict=True):
        np.testing.assert_allclose(output.logits, expected, atol=2e-5)
        assert np.isfinite(output.distance)
    predictions = trained.predictions(hidden, segments)
    for prediction, sequence, expected in zip(predictions, SEQUENCES, logits_of(predictor), strict=True):
        stored = json.loads(json.dumps(prediction.as_json()))
        assert stored["in_domain"] == (stored["distance"] <= 1)
        if name == "residue":
            assert len(prediction.label) == len(sequence) == len(stored["residues"])
        if name == "pairs":
            assert prediction.pairs is not None and prediction.pairs.shape == (len(sequence), len(sequence))
        if name == "binary":
            assert prediction.label == ("M" if expected[0] > 0 else "S")
        if name == "regression":
            assert stored["value"] == pytest.approx(float(expected[0]) * 2 + 3, abs=1e-4)


def in_transformers(model: nn.Module) -> list[np.ndarray]:
    found = []
    for sequence in SEQUENCES:
        tokens = torch.from_numpy(ESM.alphabet.encode(sequence))[None]
        with torch.inference_mode():
            found.append(
                model.eval()(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0].numpy()
            )
    return found


def expected_there(predictor: Predictor) -> list[np.ndarray]:
    """Our logits as transformers should give them."""
    target, ours = predictor.target, logits_of(predictor)
    if target.kind == "binary":
        return [np.concatenate([np.zeros_like(own), own], axis=-1) for own in ours]
    return [own * 2 + 3 for own in ours] if target.kind == "regression" else ours


@pytest.mark.parametrize("name", ["binary", "multiclass", "multilabel", "regression", "residue"])
def test_transformers_opens_a_full_fine_tune_with_equal_logits(name: str, make: Make) -> None:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    predictor, folder = make(TARGETS[name], "full", "cls", HIDDEN[name])
    auto = AutoModelForTokenClassification if name == "residue" else AutoModelForSequenceClassification
    model, loading = auto.from_pretrained(folder, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["mismatched_keys"]
    for found, expected in zip(in_transformers(model), expected_there(predictor), strict=True):
        np.testing.assert_allclose(found[1:-1] if name == "residue" else found, expected, atol=2e-4)
    if name != "regression":
        assert tuple(model.config.id2label.values()) == TARGETS[name].classes


def test_transformers_opens_the_encoder_where_it_has_no_such_head(make: Make) -> None:
    from transformers import AutoModelForMaskedLM

    predictor, folder = make(TARGETS["multiclass"], "full", "mean", "none")
    model = AutoModelForMaskedLM.from_pretrained(folder)
    tokens, segments = packed()
    with torch.inference_mode():
        expected = predictor.backbone.lm_head(predictor.backbone(tokens, segments)).split(segments.lengths)
    for found, own in zip(in_transformers(model), expected, strict=True):
        np.testing.assert_allclose(found, own.numpy(), atol=2e-4)


@pytest.mark.parametrize("name", ["binary", "residue"])
def test_peft_opens_an_adapter_and_its_head_with_equal_logits(name: str, make: Make, base: Base) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    predictor, folder = make(TARGETS[name], "lora", "cls", HIDDEN[name])
    auto = AutoModelForTokenClassification if name == "residue" else AutoModelForSequenceClassification
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = auto.from_pretrained(base.name, num_labels=len(TARGETS[name].classes))
        model = PeftModel.from_pretrained(plain, folder)
    for found, expected in zip(in_transformers(model), expected_there(predictor), strict=True):
        np.testing.assert_allclose(found[1:-1] if name == "residue" else found, expected, atol=2e-4)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(
    ("name", "pooling", "hidden", "inner"),
    [
        ("multiclass", "mean", "none", 0),
        ("binary", "mean", "tanh", 0),
        ("multiclass", "cls", "tanh", 12),
        ("regression", "cls", "none", 0),
        ("residue", "mean", "relu", 0),
        ("residue", "mean", "tanh", 12),
        ("pairs", "mean", "none", 12),
    ],
)
def test_lines_of_the_card_give_the_logits_where_transformers_has_no_such_head(
    name: str, pooling: str, hidden: str, inner: int, method: Method, make: Make
) -> None:
    predictor, folder = make(TARGETS[name], method, pooling, hidden, inner)
    assert isinstance(read_trained(folder).head, type(predictor.head))
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    for sequence, expected in zip(SEQUENCES, logits_of(predictor), strict=True):
        found: dict[str, torch.Tensor] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT asks transformers for what is going to be called otherwise
            exec(code.replace("path/to/model", str(folder)).replace("SEQUENCE", sequence), found)
        np.testing.assert_allclose(found["logits"].numpy(), expected, atol=2e-4)


def test_a_frozen_backbone_is_named_and_not_copied(make: Make) -> None:
    _, folder = make(TARGETS["binary"], "frozen")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "domain.safetensors",
        "head.safetensors",
        "metrics.json",
        "task.json",
    ]
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nbase_model:") and "0.900 (0.800 to 1.000)" in card


def test_saving_again_replaces_and_leaves_nothing_beside_it(make: Make) -> None:
    _, folder = make(TARGETS["binary"], "lora")
    make(TARGETS["regression"], "frozen")
    assert read_trained(folder).target.kind == "regression"
    assert not (folder / "adapter_config.json").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_failure_half_way_leaves_the_old_folder(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = make(TARGETS["binary"], "frozen")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("chaperonin.tasks.folder.model_card", fail)
    with pytest.raises(KeyboardInterrupt):
        make(TARGETS["regression"], "lora")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def write_task(folder: Path, **changes: object) -> None:
    task = json.loads((folder / "task.json").read_text())
    (folder / "task.json").write_text(json.dumps(task | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "task.json").unlink(), "no task.json"),
        (lambda folder: (folder / "task.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "task.json").write_text("[]"), "not a JSON object"),
        (lambda folder: write_task(folder, format=99), "format 99"),
        (lambda folder: write_task(folder, target={"level": "moon"}), "says no trained model"),
        (lambda folder: write_task(folder, method="magic"), "says no trained model"),
        (lambda folder: write_task(folder, head={}), "says no trained model"),
        (lambda folder: (folder / "head.safetensors").unlink(), "head.safetensors: is missing"),
        (lambda folder: (folder / "head.safetensors").write_bytes(b"\x08"), "head.safetensors"),
        (
            lambda folder: shutil.copy(folder / "domain.safetensors", folder / "head.safetensors"),
            "head.safetensors",
        ),
        (lambda folder: (folder / "domain.safetensors").unlink(), "domain.safetensors"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "adapter_model.safetensors"),
        (
            lambda folder: write_task(folder, base={"name": "no-such-base", "sha256": ""}),
            "its base is missing",
        ),
    ],
)
def test_a_damaged_folder_is_refused_with_its_place(
    damage: Callable[[Path], object], message: str, make: Make
) -> None:
    _, folder = make(TARGETS["binary"], "lora")
    damage(folder)
    with pytest.raises(WeightsError, match=message) as caught:
        read_trained(folder)
    assert caught.value.where and caught.value.advice


def test_another_base_of_the_same_name_is_refused(make: Make, base: Base) -> None:
    _, folder = make(TARGETS["binary"], "lora")
    write_task(folder, base={"name": base.name, "sha256": "ab" * 32})
    with pytest.raises(WeightsError, match="not those that it was trained on"):
        read_trained(folder).backbone()


def test_a_name_is_a_trained_model_where_it_has_a_task(make: Make, base: Base) -> None:
    _, folder = make(TARGETS["binary"], "frozen")
    assert trained_folder(str(folder)) == folder
    assert trained_folder(base.name) is None
    assert trained_folder("chaperonin/esm2-tiny") is None and trained_folder("") is None
