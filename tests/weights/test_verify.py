"""Every kind of damage to a model folder is found and named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file

from chaperonin.errors import WeightsError
from chaperonin.models import layout_of
from chaperonin.models.esm.model import ESM, ESMConfig
from chaperonin.weights import listing
from chaperonin.weights.files import INDEX, SINGLE
from chaperonin.weights.headers import count_parameters, read_header
from chaperonin.weights.manifest import Manifest, read_manifest, record_files
from chaperonin.weights.pretrained import save_folder
from chaperonin.weights.verify import verify

BIAS = "esm.encoder.layer.1.output.dense.bias"
LONELY = "esm.encoder.layer.1.lonely.weight"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole small model, with its record."""
    torch.manual_seed(1)
    model = ESM(ESMConfig(width=16, depth=2, heads=4, inner_width=32))
    model.initialise()
    save_folder(layout_of("esm"), model, tmp_path)
    record(tmp_path)
    return tmp_path


def record(folder: Path) -> None:
    names = [path.name for path in folder.iterdir() if path.name != "chaperonin.json"]
    Manifest("test", "", record_files(folder, names)).write(folder)


def problems(folder: Path) -> list[str]:
    return list(verify(folder, layout_of))


def change(folder: Path, name: str, tensor: torch.Tensor | None) -> None:
    """Another tensor in the file, and a record that says so: only the content is wrong."""
    stored = load_file(folder / SINGLE)
    if tensor is None:
        del stored[name]
    else:
        stored[name] = tensor
    save_file(stored, folder / SINGLE)
    record(folder)


def shard(folder: Path) -> dict[str, str]:
    """The model in two shards; returns what the index says."""
    stored = load_file(folder / SINGLE)
    places = {name: (FIRST, SECOND)[number % 2] for number, name in enumerate(sorted(stored))}
    for file in (FIRST, SECOND):
        save_file({name: stored[name] for name in places if places[name] == file}, folder / file)
    (folder / SINGLE).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    record(folder)
    return places


def test_nothing_is_wrong_with_a_whole_model(folder: Path) -> None:
    assert problems(folder) == []
    shard(folder)
    assert problems(folder) == []


def test_one_flipped_bit_is_found_by_its_hash(folder: Path) -> None:
    content = bytearray((folder / SINGLE).read_bytes())
    content[-1] ^= 1
    (folder / SINGLE).write_bytes(content)
    [problem] = problems(folder)
    assert problem.startswith("model.safetensors has SHA-256")


def test_a_folder_without_a_record_is_checked_all_the_same(folder: Path) -> None:
    (folder / "chaperonin.json").unlink()
    assert problems(folder) == []


def test_a_missing_file_of_the_record_is_named(folder: Path) -> None:
    (folder / "vocab.txt").write_text("tokens")
    record(folder)
    (folder / "vocab.txt").unlink()
    assert problems(folder) == ["vocab.txt is gone"]


def rewrite_header(path: Path, edit: Callable[[dict[str, dict[str, object]]], object]) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def set_first(field: str, value: object) -> Callable[[Path], None]:
    """Damage that changes one field of a tensor's description."""
    return lambda path: rewrite_header(path, lambda header: header[BIAS].__setitem__(field, value))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "the tensors take"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), "the tensors take"),
        (lambda path: path.write_bytes(b"1234"), "the header claims"),
        (
            lambda path: path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}"),
            "claims 1,152,921,504,606,846,976",
        ),
        (lambda path: path.write_bytes((2).to_bytes(8, "little") + b"[]"), "not one of safetensors"),
        (lambda path: path.write_bytes((2).to_bytes(8, "little") + b"{]"), "not one of safetensors"),
        (set_first("dtype", "F7"), "unknown type F7"),
        (set_first("shape", [17]), "is F32 [17] and has 64 bytes"),
        (set_first("shape", [-16]), "no size"),
        (set_first("shape", "16"), "no shape and two offsets"),
        (set_first("data_offsets", [1 << 40, (1 << 40) + 64]), "begins at byte"),
        (set_first("data_offsets", [0, 64]), "the tensor before it ends at"),
    ],
)
def test_a_damaged_header_is_named(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(folder / SINGLE)
    (folder / "chaperonin.json").unlink()
    [problem] = problems(folder)
    assert problem.startswith("model.safetensors: ") and message in problem


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (BIAS, None, "1 tensors are missing: layers.1.feed_forward.down.bias"),
        (LONELY, torch.zeros(3), LONELY),
        (BIAS, torch.zeros(17), "[17], config.json makes it [16]"),
    ],
)
def test_another_model_than_the_configuration_describes_is_found(
    folder: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    change(folder, name, tensor)
    [problem] = problems(folder)
    assert message in problem


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_counted_per_tensor(folder: Path, value: float) -> None:
    change(folder, BIAS, torch.tensor([0.0] * 13 + [value] * 3))
    assert problems(folder) == [f"{BIAS}: 3 of 16 numbers are NaN or infinite"]


def test_all_that_is_wrong_is_told_at_once(folder: Path) -> None:
    change(folder, BIAS, torch.full((16,), float("nan")))
    change(folder, LONELY, torch.zeros(3))
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    found = problems(folder)
    assert [
        part for part in ("config.json has", LONELY, BIAS) if not any(part in line for line in found)
    ] == []


def test_a_shard_that_is_gone_is_named(folder: Path) -> None:
    shard(folder)
    (folder / SECOND).unlink()
    assert problems(folder) == [f"{SECOND} is gone", f"the index names files that are not here: {SECOND}"]


def test_a_shard_that_the_index_forgot_is_named(folder: Path) -> None:
    places = shard(folder)
    kept = {name: file for name, file in places.items() if file == FIRST}
    (folder / INDEX).write_text(json.dumps({"weight_map": kept}))
    record(folder)
    found = problems(folder)
    assert found[0] == f"{INDEX} does not name the shard {SECOND}"
    assert "tensors are missing" in found[1]


def test_an_index_that_misplaces_a_tensor_is_named(folder: Path) -> None:
    places = shard(folder)
    (folder / INDEX).write_text(
        json.dumps({"weight_map": places | {BIAS: FIRST if places[BIAS] == SECOND else SECOND}})
    )
    record(folder)
    found = problems(folder)
    assert any("where it is not" in line and BIAS in line for line in found)
    assert any("does not say" in line and BIAS in line for line in found)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not JSON"),
        ('{"model_type": "llama"}', "'llama' is not known"),
        ('{"model_type": "esm"}', "lacks"),
    ],
)
def test_a_wrong_configuration_is_named(folder: Path, config: str, message: str) -> None:
    (folder / "config.json").write_text(config)
    record(folder)
    [problem] = problems(folder)
    assert message in problem


def test_a_damaged_record_is_an_error_with_advice(folder: Path) -> None:
    (folder / "chaperonin.json").write_text('{"files": 3}')
    with pytest.raises(WeightsError, match="the record is damaged"):
        read_manifest(folder)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_header_we_accept_is_one_the_library_accepts(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(save({"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.int64)}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 160))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / SINGLE
    path.write_bytes(content)
    try:
        entries = read_header(path)
    except WeightsError:
        return
    try:
        with safe_open(path, framework="pt") as opened:
            assert set(opened.keys()) == set(entries)
    except SafetensorError as error:
        pytest.fail(f"accepted what safetensors refuses: {error}")


def test_parameters_are_counted_from_headers(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3), "steps": torch.zeros(4, dtype=torch.int64)}, tmp_path / SINGLE)
    assert count_parameters([tmp_path / SINGLE]) == 6


def test_the_hub_and_the_reader_mean_the_same_files() -> None:
    assert (listing.SINGLE, listing.INDEX) == (SINGLE, INDEX)
