"""Every combination of the means trains, or is refused with one sentence."""

import math
from itertools import product
from pathlib import Path

import pytest
import tiny_study
import torch

from chaperonin.errors import UsageError
from chaperonin.kernels.hardware import lacks_bf16
from chaperonin.training import precision, state
from chaperonin.training.features import cached_features
from chaperonin.training.finetune import new_predictor, new_training, prove_gradients
from chaperonin.training.finetune_settings import planned
from chaperonin.training.material import Material, read_material

METHODS, BASES = ("lora", "full", "frozen"), ("auto", "fp32", "bf16", "int8")
REFUSED = {
    ("full", "bf16"): "a base of bf16 cannot be trained itself",
    ("full", "int8"): "a base of int8 cannot be trained itself",
    ("frozen", "bf16"): "are computed once, in fp32, not from bf16",
    ("frozen", "int8"): "are computed once, in fp32, not from int8",
}


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


@pytest.fixture(params=["this machine", "one without bf16"])
def precisions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """What products may be asked for in."""
    if request.param == "one without bf16":
        monkeypatch.setattr(precision, "lacks_bf16", lambda device: "an old processor")
        return ("auto",)
    return ("fp32", "auto") if lacks_bf16(tiny_study.CPU) else ("fp32", "bf16", "auto")


def read(inputs: Path, *overrides: str) -> Material:
    own = tiny_study.settings(inputs, *overrides)
    return read_material(own.data, own.split, own.task, own.kind, own.classes)


def train(inputs: Path, material: Material, *overrides: str) -> None:
    """Two steps: the losses are finite and every trained tensor learns."""
    own = tiny_study.settings(inputs, *overrides)
    parts = material.splits[0]
    predictor = new_predictor(own, material, planned(own, len(parts.training)), tiny_study.CPU)
    features = None
    if own.means.method == "frozen":
        features = cached_features(predictor, material.sequences, inputs / own.task, tiny_study.CPU)
    training = new_training(own, material, parts, predictor, features)
    prove_gradients(training)
    before = {name: value.clone() for name, value in state.trained_weights(training.model).items()}
    for _ in range(2):
        targets, sums = training.step()
        assert math.isfinite(float(sums["loss"]) / targets), overrides
    after = state.trained_weights(training.model)
    assert all(not torch.equal(after[name], value) for name, value in before.items()), overrides


def expected(method: str, base: str, name: str, has_bf16: bool) -> str:
    """Words of the refusal; empty where it trains."""
    if (method, base) in REFUSED:
        return REFUSED[method, base]
    if (method, base) == ("lora", "bf16") and (name == "fp32" or not has_bf16):
        return "a base of bf16 needs products in bf16"
    return ""


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("method", METHODS)
def test_every_combination_trains_or_is_refused_with_a_sentence(
    inputs: Path, method: str, base: str, precisions: tuple[str, ...]
) -> None:
    material = read(inputs)
    for name in precisions:
        words = expected(method, base, name, "bf16" in precisions)
        # A refusal comes before recomputation and accumulation are looked at.
        for recompute, accumulate in (
            [("false", 1)] if words else product(("false", "true", "selective"), (1, 2))
        ):
            options = [f"means.method={method}", f"means.base={base}", f"training.precision={name}"]
            options += [f"means.recompute={recompute}", f"training.accumulate={accumulate}"]
            if not words:
                train(inputs, material, *options)
                continue
            with pytest.raises(UsageError, match=words) as caught:
                train(inputs, material, *options)
            assert caught.value.where and caught.value.advice


@pytest.mark.parametrize("kind", [kind for kind in tiny_study.KINDS if kind != "binary"])
def test_every_kind_of_label_trains_by_every_method(inputs: Path, kind: str) -> None:
    material = read(inputs, *tiny_study.KINDS[kind])
    ways = [("lora", "auto"), ("lora", "int8"), ("full", "auto"), ("frozen", "auto")]
    for (method, base), (name, recompute) in product(ways, (("fp32", "true"), ("auto", "selective"))):
        options = [f"means.method={method}", f"means.base={base}", f"training.precision={name}"]
        options += [f"means.recompute={recompute}", "training.accumulate=2"]
        train(inputs, material, *tiny_study.KINDS[kind], *options)
