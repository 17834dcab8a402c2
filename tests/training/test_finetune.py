"""Fine-tuning as a whole: every means learns, goes on after a kill, and says the same in one process as in two."""

import csv
import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_gradients
import tiny_study
import torch
from tests.forked import Python, run_together

from chaperonin.errors import ChaperoninError, UsageError
from chaperonin.parallel.recompute import RecomputedLayer
from chaperonin.tasks.features import in_chunks
from chaperonin.tasks.folder import read_trained
from chaperonin.training import state
from chaperonin.training.features import cached_features
from chaperonin.training.finetune import new_predictor, new_training
from chaperonin.training.finetune_settings import planned
from chaperonin.training.material import read_material
from chaperonin.training.tracking import read_metrics

LORA, FULL, FROZEN = "means.method=lora", "means.method=full", "means.method=frozen"
PROGRAM = Path(tiny_study.__file__)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    tiny_study.settings(folder)
    return folder


def first_training(inputs: Path, folder: Path, *overrides: str):
    own = tiny_study.settings(inputs, *overrides)
    material = read_material(own.data, own.split, own.task, own.kind)
    parts = material.splits[0]
    predictor = new_predictor(own, material, planned(own, len(parts.training)), tiny_study.CPU)
    features = None
    if own.means.method == "frozen":
        features = cached_features(predictor, material.sequences, folder, tiny_study.CPU)
    return new_training(own, material, parts, predictor, features)


def events(folder: Path) -> list[dict[str, Any]]:
    lines = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in events(folder) if line["event"] == "train"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.parametrize("overrides", [(LORA,), (LORA, "means.base=int8"), (FULL,), (FROZEN,)])
def test_each_method_learns_and_leaves_a_model_that_says_the_same(
    inputs: Path, tmp_path: Path, overrides: tuple[str, ...]
):
    result = tiny_study.run(
        inputs, tmp_path, *overrides, "epochs=12", "training.schedule.peak=0.02", "training.patience=0"
    )
    found = losses(tmp_path)
    assert np.mean(found[-5:]) < 0.8 * np.mean(found[:3])
    assert result.figures["result"]["accuracy"]["value"] > 0.7
    trained = read_trained(tmp_path / "model")
    material = read_material(tiny_study.settings(inputs).data, tiny_study.settings(inputs).split, "sequence")
    by_id = {example.id: example.sequence for example in material.dataset.examples}
    rows = table(tmp_path / "predictions.csv")
    assert {row["stage"] for row in rows} == {"val", "test"}
    model = trained.backbone()
    for row in rows[:6]:
        ((_, vectors),) = in_chunks(model, [by_id[row["id"]]], 1000)
        said = trained.prediction(trained.outputs([vectors])[0])
        assert said.label == row["label"]
        assert said.probability == pytest.approx(float(row["probability"]), abs=1e-4)


@pytest.mark.parametrize("method", [LORA, FULL, FROZEN])
def test_accumulation_recomputation_and_windows_leave_the_losses_as_they_are(
    inputs: Path, tmp_path: Path, method: str
):
    plain = first_training(inputs, tmp_path / "plain", method, "training.accumulate=1")
    spared = first_training(
        inputs, tmp_path / "spared", method, "training.accumulate=4", "means.recompute=true"
    )
    for _ in range(4):
        one, other = plain.step(), spared.step()
        assert one[0] == other[0]
        # Sums of the same terms in another order.
        torch.testing.assert_close(one[1]["loss"], other[1]["loss"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("overrides", [(LORA, "means.recompute=true"), (FULL,)])
def test_backbone_and_adapters_learn_at_their_share_and_the_head_at_the_whole_rate(
    inputs: Path, tmp_path: Path, overrides: tuple[str, ...]
):
    own = first_training(inputs, tmp_path, *overrides, "training.optimizer.backbone_share=0.1")
    own.step()
    rate = own.settings.schedule.rate(0, own.settings.steps)
    names = {id(tensor): name for name, tensor in own.model.named_parameters()}
    rates = {
        names[id(tensor)]: group["lr"]
        for optimizer in own.optimizers
        for group in optimizer.param_groups
        for tensor in group["params"]
    }
    assert rates.keys() == state.trained_weights(own.model).keys()
    for name, found in rates.items():
        assert found == (rate if name.startswith("head.") else rate * 0.1), name
    assert len(set(rates.values())) == 2


def test_dropout_in_adapters_is_the_same_however_a_step_is_cut_or_recomputed(inputs: Path, tmp_path: Path):
    found = []
    for recompute in ("true", "false"):
        own = first_training(
            inputs, tmp_path / recompute, LORA, "means.lora.dropout=0.5", f"means.recompute={recompute}"
        )
        found.append([float(own.step()[1]["loss"]) for _ in range(4)])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


# The loop is the one that test_resume kills, and test_study stops every method.
@pytest.mark.slow
@pytest.mark.parametrize("method", [LORA, FROZEN])
def test_run_that_was_killed_goes_on_to_the_last_bit(inputs: Path, tmp_path: Path, method: str):
    options = (method, "epochs=6", "training.checkpoint_every=2")
    tiny_study.run(inputs, tmp_path / "whole", *options)
    process = Python(PROGRAM, inputs, tmp_path / "killed", *options)
    path = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if path.is_file() and path.read_bytes().count(b"\n") >= 9:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    process.wait(60)
    assert process.returncode == -signal.SIGKILL
    tiny_study.run(inputs, tmp_path / "killed", *options)
    assert events(tmp_path / "killed") == events(tmp_path / "whole")
    for name in ("predictions.csv", "model/head.safetensors", "model/task.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.fixture(scope="module")
def residues(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuning to labels of residues."""
    folder = tmp_path_factory.mktemp("residues")
    tiny_study.run(inputs, folder, LORA, "task=residue", "data.label_column=residues")
    return folder


def test_checkpoint_of_an_adapter_holds_the_adapter_alone(residues: Path):
    stored = state.load(state.latest(residues))
    assert all("lora_" in name or name.startswith("head.") for name in stored["model"])


def test_metrics_of_residues_hold_curves_of_the_same_residues_and_the_cost(residues: Path):
    stored = json.loads((residues / "metrics.json").read_text())
    ((name, curve),) = stored["curves"]["classes"].items()
    count = stored["curves"]["count"]
    tested = [row["truth"] for row in table(residues / "predictions.csv") if row["stage"] == "test"]
    assert name == "S" and count == sum(letter != "." for text in tested for letter in text)
    assert curve["auc"] == pytest.approx(stored["result"]["auc"]["value"], abs=1e-9)
    assert curve["pr_auc"] == pytest.approx(stored["result"]["pr_auc"]["value"], abs=1e-9)
    assert sum(stored["curves"]["reliability"]["count"]) == count
    assert stored["cost"]["peak_bytes"] > 1e7 and "predicted_bytes" not in stored["cost"]


@pytest.mark.slow  # of the two of them, the gradients tensor by tensor say more and are in the usual suite
@pytest.mark.parametrize("method", [LORA, FROZEN])
def test_two_processes_give_the_step_of_one(inputs: Path, tmp_path: Path, method: str):
    options = (method, "training.accumulate=4", "means.lora.dropout=0.1")
    tiny_study.run(inputs, tmp_path / "one", *options)
    run_together(2, PROGRAM, inputs, tmp_path / "two", *options)
    one, two = events(tmp_path / "one"), events(tmp_path / "two")
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for ours, theirs in zip(one, two, strict=True):
        for name, value in ours.items():
            # Gradients are added up in another order: rounding of fp32.
            assert theirs[name] == (
                pytest.approx(value, rel=2e-4, abs=1e-6) if isinstance(value, float) else value
            )
    ours, theirs = (table(tmp_path / name / "predictions.csv") for name in ("one", "two"))
    assert [row["label"] for row in ours] == [row["label"] for row in theirs]


def test_two_processes_have_the_gradients_of_one_tensor_by_tensor(inputs: Path, tmp_path: Path):
    methods = ("lora", "full")
    run_together(2, tiny_gradients.__file__, inputs, tmp_path, *methods)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"rank-{rank}.pt")
        for method in methods:
            alone = tiny_gradients.gradients(inputs, method)
            assert alone.keys() == found[method].keys() and len(alone) > 2
            for name, expected in alone.items():
                # Sums of four batches in another order: rounding of fp32, measured by the tensor's largest number.
                bound = 1e-6 * max(1.0, float(expected.abs().max()))
                torch.testing.assert_close(found[method][name], expected, rtol=0, atol=bound, msg=name)
            assert any(expected.any() for expected in alone.values())


def test_training_proves_its_gradients_before_the_first_step(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An adapter that is cut off from the loss: training would go on in silence, with the head alone."""
    run = RecomputedLayer.forward

    def cut(layer: RecomputedLayer, x: torch.Tensor, *others: Any) -> torch.Tensor:
        return run(layer, x, *others).detach()

    monkeypatch.setattr(RecomputedLayer, "forward", cut)
    with pytest.raises(ChaperoninError, match=r"trainable tensors get no gradient: .*lora_A"):
        tiny_study.run(inputs, tmp_path, LORA, "means.recompute=true")
    assert not (tmp_path / "metrics.jsonl").exists()


def test_folds_judge_every_example_once_and_leave_one_model(inputs: Path, tmp_path: Path):
    result = tiny_study.run(inputs, tmp_path, FROZEN, "split.method=random", "split.folds=3")
    rows = [row for row in table(tmp_path / "predictions.csv") if row["stage"] == "test"]
    assert sorted(row["id"] for row in rows) == sorted(f"p{number}" for number in range(80))
    assert result.figures["parts"]["test"] == 80
    assert result.figures["split"] == "random, 3 folds"
    assert (tmp_path / "model" / "task.json").is_file()
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert {"majority", "composition", "kmer"} <= stored["baselines"].keys()
    low, value, high = (stored["result"]["accuracy"][name] for name in ("low", "value", "high"))
    assert low <= value <= high


def test_frozen_base_is_run_once(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from chaperonin.training import features

    seen: list[int] = []
    compute = features.in_chunks

    def counted(model: Any, sequences: Any, budget: int) -> Any:
        seen.append(len(sequences))
        return compute(model, sequences, budget)

    monkeypatch.setattr(features, "in_chunks", counted)
    own = first_training(inputs, tmp_path, FROZEN, "epochs=20")
    first_training(inputs, tmp_path, FROZEN, "epochs=20")  # a second start finds them in the folder
    assert seen == [80]
    for _ in range(30):
        own.step()
    assert {name.partition(".")[0] for name in state.trained_weights(own.model)} == {"out_proj"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("batch_size=9", "training.accumulate=2"), "multiple of training.accumulate"),
        (("means.lora.targets=[q,nonsense]",), "no role 'nonsense'"),
        ((FULL, "means.base=int8"), "cannot be trained itself"),
        (
            ("training.best=nothing",),
            "no measure 'nothing'.*There are: loss, perplexity, accuracy, .*mcc, .*auc",
        ),
        (("training.best=spearman",), "no measure 'spearman'"),
        (("epochs=0",), "above 0"),
        ((FROZEN, "training.optimizer.backbone_share=0.1"), "no backbone is trained here"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    inputs: Path, tmp_path: Path, overrides: tuple[str, ...], words: str
):
    with pytest.raises(UsageError, match=words):
        tiny_study.run(inputs, tmp_path, *overrides)
