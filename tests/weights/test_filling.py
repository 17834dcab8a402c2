"""A folder that is filled into a model gives what a folder that is read gives, and says what is wrong with it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chaperonin.adapt.filled import load_filled, read_filled
from chaperonin.adapt.quantize import quantize_for_training
from chaperonin.adapt.streamed import load_streamed
from chaperonin.errors import WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.models import layout_of
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.models.aido.weights import LAYOUT
from chaperonin.models.esm.fair_esm import ORIGIN
from chaperonin.weights import files, filling
from chaperonin.weights.convert import convert
from chaperonin.weights.pretrained import load_folder, save_folder
from chaperonin.weights.verify import verify

CPU = torch.device("cpu")


SHARDS = 3
UP = "bert.encoder.layer.1.mlp.dense_h_to_4h_{}.weight"
ROUTER = "bert.encoder.layer.0.mlp.router.weight"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"

Tensors = dict[str, Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small mixture in three shards."""
    torch.manual_seed(0)
    model = AIDO(AIDOConfig(width=32, depth=2, heads=4, inner_width=40, experts=4))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_folder(LAYOUT, model, tmp_path)
    tensors = load_file(tmp_path / SINGLE)
    (tmp_path / SINGLE).unlink()
    write_shards(tmp_path, tensors)
    return tmp_path


def write_shards(folder: Path, tensors: Tensors) -> None:
    places = {
        name: f"model-{1 + number % SHARDS:05}-of-00003.safetensors" for number, name in enumerate(tensors)
    }
    for shard in set(places.values()):
        save_file({name: tensors[name] for name, place in places.items() if place == shard}, folder / shard)
    (folder / INDEX).write_text(json.dumps({"weight_map": places}), encoding="utf-8")


def read_shards(folder: Path) -> Tensors:
    return {name: own for path in folder.glob("model-*") for name, own in load_file(path).items()}


def hidden(model: torch.nn.Module) -> Tensor:
    tokens = torch.arange(1, 18)
    with torch.inference_mode():
        return model(tokens, Segments([5, 9, 3]))


@pytest.mark.parametrize("block_bytes", [1, 300, filling.BLOCK_BYTES])
def test_a_filled_model_is_the_one_that_is_read(
    folder: Path, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "BLOCK_BYTES", block_bytes)
    expected = dict(load_folder(LAYOUT, folder).named_parameters())
    found = dict(read_filled(LAYOUT, folder, "fp32", CPU).named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], own) for name, own in expected.items())
    halves = dict(read_filled(LAYOUT, folder, "bf16", CPU).named_parameters())
    for name, own in expected.items():
        kept = (
            torch.float32 if "router" in name else torch.bfloat16
        )  # the scores are in fp32 whatever the rest is
        assert torch.equal(halves[name], own.to(kept)), name


def test_bytes_are_those_of_the_whole_matrices(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "BLOCK_BYTES", 500)
    expected = dict(quantize_for_training(load_folder(LAYOUT, folder)).named_parameters())
    found = dict(read_filled(LAYOUT, folder, "int8", CPU).named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], own) for name, own in expected.items())


def test_a_filled_model_runs_in_every_precision(folder: Path, no_byte_products: None) -> None:
    plain = hidden(load_folder(LAYOUT, folder))
    ready, chosen = load_filled(LAYOUT, folder, "auto", CPU)
    assert chosen == "fp32"
    torch.testing.assert_close(hidden(ready), plain, atol=1e-5, rtol=0)
    ready, chosen = load_filled(LAYOUT, folder, "int8", CPU)
    assert chosen == "int8"
    assert torch.nn.functional.cosine_similarity(hidden(ready), plain).min() > 0.99


def replace(tensors: Tensors, old: str, new: str) -> Tensors:
    return {name.replace(old, new): own for name, own in tensors.items()}


def without(tensors: Tensors, name: str) -> Tensors:
    return {own: tensor for own, tensor in tensors.items() if own != name}


def with_nan(tensors: Tensors) -> Tensors:
    spoilt = tensors[ROUTER].clone()
    spoilt[1, 2] = torch.nan
    return tensors | {ROUTER: spoilt}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: without(own, UP.format(2)), f"{UP.format(2)} is missing: expert 2 of 4"),
        (lambda own: own | {UP.format(4): own[UP.format(3)].clone()}, f"{UP.format(4)} is of one expert more"),
        (with_nan, f"{ROUTER} holds numbers that are NaN or infinite"),
        (lambda own: own | {"bert.surprise": torch.ones(1)}, "fit nothing in the model: bert.surprise"),
        (lambda own: without(own, ROUTER), "missing: layers.0.feed_forward.router.weight"),
        (lambda own: own | {ROUTER: torch.ones(5, 32)}, f"{ROUTER} is [5, 32], config.json makes it [4, 32]"),
        (lambda own: own | {ROUTER: torch.ones(4, 32, dtype=torch.int32)}, "holds torch.int32"),
        (
            lambda own: own | {ROUTER.removeprefix("bert."): own[ROUTER].clone()},
            f"{ROUTER.removeprefix('bert.')} and {ROUTER} are two spellings of one tensor",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(folder: Path, change: Callable[[Tensors], Tensors], message: str) -> None:
    write_shards(folder, change(read_shards(folder)))
    with pytest.raises(WeightsError, match=re.escape(message)):
        read_filled(LAYOUT, folder, "fp32", CPU)


def test_an_index_that_lies_is_named(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    shards = sorted(set(index["weight_map"].values()))
    index["weight_map"][ROUTER] = next(own for own in shards if own != index["weight_map"][ROUTER])
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(WeightsError, match=re.escape(f"says that {ROUTER} is in model-")):
        read_filled(LAYOUT, folder, "fp32", CPU)
    index["weight_map"][ROUTER] = "model-00004-of-00003.safetensors"
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"files that are not here: model-00004-of-00003"):
        read_filled(LAYOUT, folder, "fp32", CPU)


def test_a_tensor_in_two_shards_is_named(folder: Path) -> None:
    (folder / INDEX).unlink()
    tensors = read_shards(folder)
    for path in folder.glob("model-*"):
        path.unlink()
    write_shards(folder, tensors)
    shard = folder / "model-00001-of-00003.safetensors"
    first = next(iter(load_file(folder / "model-00002-of-00003.safetensors")))
    save_file(load_file(shard) | {first: tensors[first]}, shard)
    with pytest.raises(WeightsError, match=re.escape(f"holds {first}, which")):
        read_filled(LAYOUT, folder, "fp32", CPU)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_layers_that_stay_on_disk_give_the_same(folder: Path, precision: str) -> None:
    streamed = load_streamed(LAYOUT, folder, precision, CPU)
    held = [parameter for layer in streamed.layers for parameter in layer.parameters()]
    assert not held  # but for the one that all of them use
    whole = read_filled(LAYOUT, folder, precision, CPU)
    for _ in range(2):  # a second pass reads them again
        assert torch.equal(hidden(streamed), hidden(whole))


def test_what_is_larger_than_a_shard_is_written_in_shards(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_folder(LAYOUT, folder)
    monkeypatch.setattr(files, "SHARD_BYTES", 30_000)
    save_folder(LAYOUT, model, tmp_path / "out")
    shards = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert len(shards) > 2 and not (tmp_path / "out" / SINGLE).exists()
    assert all(path.stat().st_size < 40_000 for path in shards)
    again = read_filled(LAYOUT, tmp_path / "out", "fp32", CPU)
    for name, parameter in model.named_parameters():
        assert torch.equal(dict(again.named_parameters())[name], parameter)
    assert list(verify(tmp_path / "out", layout_of)) == []


def test_pickled_shards_become_safe_ones_one_at_a_time(folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    places = {}
    for path in folder.glob("model-*.safetensors"):
        name = path.name.replace("model", "pytorch_model").replace("safetensors", "bin")
        torch.save(load_file(path), pickled / name)
        places |= dict.fromkeys(load_file(path), name)
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    (pickled / "config.json").write_text((folder / "config.json").read_text())
    convert(layout_of, ORIGIN, pickled, tmp_path / "converted")
    assert len(list((tmp_path / "converted").glob("model-*.safetensors"))) == SHARDS
    expected = read_filled(LAYOUT, folder, "fp32", CPU)
    assert torch.equal(hidden(read_filled(LAYOUT, tmp_path / "converted", "fp32", CPU)), hidden(expected))


def test_a_damaged_mixture_is_told_by_verify(folder: Path) -> None:
    assert list(verify(folder, layout_of)) == []
    write_shards(folder, with_nan(read_shards(folder)))
    assert list(verify(folder, layout_of)) == [f"{ROUTER}: 1 of 128 numbers are NaN or infinite"]
    write_shards(folder, without(read_shards(folder), UP.format(2)))
    assert any("expert 2 of 4" in problem for problem in verify(folder, layout_of))
