"""Adapter files open in PEFT on Hugging Face's ESM with our numbers, and PEFT's open here."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chaperonin.adapt.lora import Adapter, merge, read_adapter, write_adapter
from chaperonin.adapt.lora_files import CONFIG, TENSORS
from chaperonin.errors import WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.weights.pretrained import save_folder

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
"""PEFT asks transformers by an older name."""

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
TARGETS = ["query", "value", "intermediate.dense"]


@pytest.fixture(scope="module")
def model(random_model: Callable[..., ESM]) -> ESM:
    return random_model()


@pytest.fixture(scope="module")
def base(model: ESM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as Hugging Face opens it."""
    folder = tmp_path_factory.mktemp("base")
    save_folder(LAYOUT, model, folder)
    return folder


@pytest.fixture
def tokens(stream: Callable[[list[int]], tuple[Tensor, Segments]]) -> Tensor:
    return stream([25])[0]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Transformers says on its own log that a task model's head is new."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


def ours(model: ESM, adapter: Adapter, tokens: Tensor, random_model: Callable[..., ESM]) -> Tensor:
    """Hidden states of the merged model."""
    merged = random_model()
    merge(merged, adapter)
    with torch.no_grad():
        return merged(tokens, Segments([len(tokens)]))


def theirs(kind: str, base: Path, **settings: Any) -> Any:
    import transformers

    return getattr(transformers, kind).from_pretrained(base, **settings).eval()


def test_masked_language_models_open_our_adapter_with_our_numbers(
    model: ESM, base: Path, tokens: Tensor, random_adapter: Callable, random_model: Callable, tmp_path: Path
) -> None:
    import peft

    adapter = random_adapter(model, 1)
    write_adapter(tmp_path, adapter, "a/base")
    opened = peft.PeftModel.from_pretrained(theirs("EsmForMaskedLM", base), tmp_path)
    with torch.no_grad():
        found = opened(tokens[None], output_hidden_states=True)
    expected = ours(model, adapter, tokens, random_model)
    torch.testing.assert_close(found.hidden_states[-1][0], expected, **TOLERANCE)
    with torch.no_grad():
        merged = random_model()
        merge(merged, adapter)
        torch.testing.assert_close(found.logits[0], merged.lm_head(expected), atol=2e-5, rtol=1e-5)


def test_classifiers_open_our_adapter_and_our_head(
    model: ESM, base: Path, tokens: Tensor, random_adapter: Callable, random_model: Callable, tmp_path: Path
) -> None:
    import peft

    adapter = random_adapter(model, 2, ("query", "out", "down"))
    head = {
        "classifier.dense.weight": torch.randn(32, 32),
        "classifier.dense.bias": torch.randn(32),
        "classifier.out_proj.weight": torch.randn(3, 32),
        "classifier.out_proj.bias": torch.randn(3),
    }
    write_adapter(tmp_path, adapter, str(base), extra=head, task_type="SEQ_CLS")
    opened = peft.PeftModel.from_pretrained(
        theirs("EsmForSequenceClassification", base, num_labels=3), tmp_path
    )
    with torch.no_grad():
        found = opened(tokens[None]).logits[0]
    first = ours(model, adapter, tokens, random_model)[0]
    dense = torch.tanh(head["classifier.dense.weight"] @ first + head["classifier.dense.bias"])
    expected = head["classifier.out_proj.weight"] @ dense + head["classifier.out_proj.bias"]
    torch.testing.assert_close(found, expected, **TOLERANCE)
    again = read_adapter(tmp_path)
    assert set(again.extra) == set(head) and all(torch.equal(again.extra[name], head[name]) for name in head)


def test_a_bare_encoder_opens_files_written_for_it(
    model: ESM, base: Path, tokens: Tensor, random_adapter: Callable, random_model: Callable, tmp_path: Path
) -> None:
    import peft

    adapter = random_adapter(model, 1)
    write_adapter(tmp_path, adapter, "a/base", encoder_only=True)
    opened = peft.PeftModel.from_pretrained(theirs("EsmModel", base, add_pooling_layer=False), tmp_path)
    with torch.no_grad():
        found = opened(tokens[None]).last_hidden_state[0]
    torch.testing.assert_close(found, ours(model, adapter, tokens, random_model), **TOLERANCE)
    assert read_adapter(tmp_path).tensors.keys() == adapter.tensors.keys()


@pytest.mark.parametrize("kind", ["EsmForMaskedLM", "EsmModel"])
@pytest.mark.parametrize(
    "settings",
    [
        {"lora_alpha": 16},
        {"lora_alpha": 3, "use_rslora": True},
        {
            "lora_alpha": 5,
            "rank_pattern": {"query": 2, r"layer\.1\..*\.value": 6},
            "alpha_pattern": {"query": 9},
        },
        {"layers_to_transform": [1]},
    ],
    ids=["plain", "rsLoRA", "patterns", "one layer"],
)
def test_adapters_that_peft_made_open_here_with_its_numbers(
    kind: str,
    settings: dict[str, Any],
    model: ESM,
    base: Path,
    tokens: Tensor,
    random_model: Callable,
    tmp_path: Path,
) -> None:
    import peft

    extra = {} if kind == "EsmForMaskedLM" else {"add_pooling_layer": False}
    config = peft.LoraConfig(r=4, target_modules=TARGETS, init_lora_weights=False, **settings)
    wrapped = peft.get_peft_model(theirs(kind, base, **extra), config).eval()
    with torch.no_grad():
        found = wrapped(tokens[None], output_hidden_states=True).hidden_states[-1][0]
    wrapped.save_pretrained(tmp_path)
    adapter = read_adapter(tmp_path)
    assert adapter.targets == ("q", "v", "ffn")
    torch.testing.assert_close(ours(model, adapter, tokens, random_model), found, **TOLERANCE)
    # What PEFT made and we write again is the same to PEFT.
    write_adapter(tmp_path / "again", adapter, "a/base", encoder_only=kind == "EsmModel")
    opened = peft.PeftModel.from_pretrained(theirs(kind, base, **extra), tmp_path / "again").eval()
    with torch.no_grad():
        again = opened(tokens[None], output_hidden_states=True).hidden_states[-1][0]
    torch.testing.assert_close(again, found, **TOLERANCE)


def test_a_language_head_that_peft_trained_in_full_is_merged_too(
    model: ESM, base: Path, tokens: Tensor, random_model: Callable, tmp_path: Path
) -> None:
    import peft

    config = peft.LoraConfig(
        target_modules=["query"], init_lora_weights=False, modules_to_save=["lm_head.dense"]
    )
    wrapped = peft.get_peft_model(theirs("EsmForMaskedLM", base), config).eval()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(0.1)
        found = wrapped(tokens[None]).logits[0]
    wrapped.save_pretrained(tmp_path)
    merged = random_model()
    merge(merged, read_adapter(tmp_path))
    with torch.no_grad():
        logits = merged.lm_head(merged(tokens, Segments([len(tokens)])))
    torch.testing.assert_close(logits, found, atol=2e-5, rtol=1e-5)
    write_adapter(tmp_path / "again", read_adapter(tmp_path), "a/base")
    opened = peft.PeftModel.from_pretrained(theirs("EsmForMaskedLM", base), tmp_path / "again")
    with torch.no_grad():
        torch.testing.assert_close(opened(tokens[None]).logits[0], found, **TOLERANCE)


def test_a_round_trip_keeps_every_bit(model: ESM, random_adapter: Callable, tmp_path: Path) -> None:
    adapter = random_adapter(model, 3, rank=5)
    one, other = list(adapter.tensors)[:2]
    tensors = {**adapter.tensors, one: (torch.randn(2, 32), torch.randn(32, 2))}
    adapter = dataclasses.replace(adapter, tensors=tensors, alphas={other: 1 / 3}, root=True, alpha=0.1)
    write_adapter(tmp_path, adapter, "a/base")
    again = read_adapter(tmp_path)
    assert again.tensors.keys() == adapter.tensors.keys()
    for name, pair in adapter.tensors.items():
        assert all(torch.equal(*halves) for halves in zip(pair, again.tensors[name], strict=True))
        assert again.scale_of(name) == adapter.scale_of(name)
    assert (again.rank, again.alpha, again.targets) == (adapter.rank, adapter.alpha, adapter.targets)
    assert {path.name for path in tmp_path.iterdir()} == {CONFIG, TENSORS}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "use_dora True is not supported"),
        ({"bias": "all"}, "bias 'all' is not supported"),
        ({"lora_bias": True}, "lora_bias True is not supported"),
        ({"peft_type": "IA3"}, "peft_type 'IA3' is not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' is not supported"),
        ({"r": 3}, r"has rank 4, adapter_config.json says 3"),
        ({"lora_alpha": None}, "lora_alpha None, not a positive number"),
        ({"lora_alpha": float("nan")}, "lora_alpha nan, not a positive number"),
        ({"rank_pattern": {"query": "x"}}, "rank_pattern"),
        ({"rank_pattern": ["x"]}, "rank_pattern"),
        ({"alpha_pattern": {"(": 3}}, "alpha_pattern"),
        ({"modules_to_save": 5}, "modules_to_save"),
    ],
)
def test_other_methods_and_damaged_settings_are_refused_by_name(
    settings: dict[str, Any], message: str, model: ESM, random_adapter: Callable, tmp_path: Path
) -> None:
    write_adapter(tmp_path, random_adapter(model, 1), "a/base")
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, **settings}))
    with pytest.raises(WeightsError, match=message):
        read_adapter(tmp_path)


QUERY = "base_model.model.esm.encoder.layer.0.attention.self.query"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (f"{QUERY}.lora_magnitude_vector", torch.ones(32), "lora_magnitude_vector: not supported"),
        (f"{QUERY}.lora_B.bias", torch.ones(32), "lora_B.bias: not supported"),
        (f"{QUERY}.bias", torch.ones(32), "query.bias: not supported"),
        (
            "base_model.model.lm_head.dense.lora_A.weight",
            torch.ones(4, 32),
            "lm_head.dense.lora_A.weight: not",
        ),
        (
            "base_model.model.esm.pooler.dense.lora_A.weight",
            torch.ones(4, 32),
            "pooler.dense.lora_A.weight: not",
        ),
        (f"{QUERY}.lora_A.weight", None, "query has only lora_B"),
        (f"{QUERY}.lora_A.weight", torch.ones(7, 32), "B A does not exist"),
        (f"{QUERY}.lora_A.weight", torch.full((4, 32), torch.inf), "not finite"),
    ],
)
def test_tensors_that_are_no_lora_are_refused_by_name(
    name: str, tensor: Tensor | None, message: str, model: ESM, random_adapter: Callable, tmp_path: Path
) -> None:
    write_adapter(tmp_path, random_adapter(model, 1), "a/base")
    stored = load_file(tmp_path / TENSORS)
    if tensor is None:
        del stored[name]
    else:
        stored[name] = tensor
    save_file(stored, tmp_path / TENSORS)
    with pytest.raises(WeightsError, match=message):
        read_adapter(tmp_path)


def test_what_is_missing_pickled_or_cut_off_is_said(
    model: ESM, random_adapter: Callable, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=f"no {CONFIG}"):
        read_adapter(tmp_path)
    write_adapter(tmp_path, random_adapter(model, 1), "a/base")
    whole = (tmp_path / TENSORS).read_bytes()
    (tmp_path / TENSORS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError):
        read_adapter(tmp_path)
    (tmp_path / TENSORS).unlink()
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(WeightsError, match=r"only a pickled adapter_model\.bin"):
        read_adapter(tmp_path)
    (tmp_path / CONFIG).write_text("{")
    with pytest.raises(WeightsError, match="not JSON"):
        read_adapter(tmp_path)
    (tmp_path / CONFIG).write_text("[]")
    with pytest.raises(WeightsError, match="not a JSON object"):
        read_adapter(tmp_path)
