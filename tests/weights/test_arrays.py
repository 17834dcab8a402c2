"""Files of numpy's are read without running or believing anything in them."""

import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.weights import arrays
from chaperonin.weights.arrays import read_npz, write_npz
from chaperonin.weights.pickled_arrays import read_pickled_arrays


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def as_paddle(named: dict[str, Tensor]) -> dict[str, object]:
    content: dict[str, object] = {name: tensor.numpy() for name, tensor in named.items()}
    return content | {
        "StructuredToParameterName@@": {name: f"linear_{number}.w" for number, name in enumerate(named)}
    }


def member(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)


def header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    text = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"<html>"), "damaged or no .npz"),
        (lambda path: np.savez(path, a=np.array([{}], dtype=object)), "holds object"),
        (lambda path: np.savez(path, a=np.zeros(3, np.int64)), "holds int64"),
        (lambda path: np.savez(path, a=np.zeros(3, ">f4")), "holds >f4"),
        (lambda path: member(path, "a.npy", header((10**12,)) + bytes(8)), "has 8 bytes"),
        (lambda path: member(path, "a.npy", header((-1,)) + bytes(4)), "damaged or no .npz"),
        (lambda path: member(path, "a.npy", b"nonsense"), "damaged or no .npz"),
        (lambda path: member(path, "a.txt", b"text"), "a.txt is no array"),
        (
            lambda path: [member(path, "a.npy", header((1,)) + bytes(4)) for _ in range(2)],
            "a.npy is there twice",
        ),
        (
            lambda path: member(path, "a.npy", header((2000,)) + bytes(8000)),
            "unpacked it would have 8,128 bytes",
        ),
    ],
)
def test_a_hostile_npz_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], object], message: str
) -> None:
    monkeypatch.setattr(arrays, "LARGEST_BYTES", 8000)
    write(tmp_path / "a.npz")
    with pytest.raises(WeightsError, match=message):
        read_npz(tmp_path / "a.npz")


def test_arrays_of_all_kinds_come_back(tmp_path: Path) -> None:
    named = {
        "by columns": torch.rand(3, 4).T,
        "half": torch.rand(2, 2).half(),
        "double": torch.rand(2).double(),
        "number": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
    }
    write_npz(tmp_path / "a.npz", named)
    assert equal(read_npz(tmp_path / "a.npz"), named)
    write_npz(tmp_path / "b.npz", {"a": torch.rand(3).bfloat16()})
    assert read_npz(tmp_path / "b.npz")["a"].dtype == torch.float32


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_arrays_of_every_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    named = {
        "a": torch.rand(3, 4),
        "by columns": torch.rand(3, 4).T,
        "half": torch.rand(2).half(),
        "b": torch.tensor(1.0),
    }
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(as_paddle(named), protocol=protocol))
    assert equal(read_pickled_arrays(tmp_path / "a.pdparams"), named)


def test_bfloat16_and_named_pairs_of_paddle_are_read(tmp_path: Path) -> None:
    tensor = torch.rand(3, 2).bfloat16()
    content = {"a": tensor.view(torch.uint16).numpy(), "b": ("linear_0.w_0", np.ones(2, np.float32))}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(content))
    assert equal(read_pickled_arrays(tmp_path / "a.pdparams"), {"a": tensor, "b": torch.ones(2)})


class Malicious:
    """Unpickled by an unwary program it calls something."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": Malicious(os.system, "touch it-ran")}, r"refused: the file wants to use posix\.system"),
        ({"a": Malicious(eval, "open('it-ran', 'w')")}, r"refused: .*builtins\.eval"),
        ({"a": Malicious(getattr, "text", "format")}, r"refused: .*builtins\.getattr"),
        ({"a": Malicious(np.load, "it-ran")}, r"refused: .*load"),
        ({"a": Malicious(np.ndarray, (1 << 60,))}, "'a' is an array without numbers"),
        ({"a": np.array([print], dtype=object)}, r"refused: .*builtins\.print|an array of type"),
        ({"a": np.array(["text"])}, "an array of type <U4"),
        ({"a": np.zeros(2, ">f4")}, "an array of type >f4"),
        ({"a": 3}, "'a' is a int, no array"),
        ({"a": {"b": np.zeros(2)}}, "'a' is a dict, no array"),
        ([np.zeros(2)], "holds a list, no dictionary"),
    ],
)
def test_a_pickle_that_wants_more_than_arrays_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.pdparams").write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=message):
        read_pickled_arrays(Path("a.pdparams"))
    assert os.listdir() == ["a.pdparams"]


def test_an_array_in_a_pickle_cannot_claim_more_than_it_has(tmp_path: Path) -> None:
    content = pickle.dumps({"a": np.zeros((2, 3), np.float32)}, protocol=2)
    assert content.count(b"K\x02K\x03\x86") == 1
    (tmp_path / "a.pdparams").write_bytes(content.replace(b"K\x02K\x03\x86", b"K\xffK\xff\x86"))
    with pytest.raises(WeightsError, match=r"an array of shape \(255, 255\) has 24 bytes"):
        read_pickled_arrays(tmp_path / "a.pdparams")


def test_the_smallest_numbers_of_a_checkpoint_survive(tmp_path: Path) -> None:
    """Subnormal and signed zeros are bits like all others."""
    tensor = torch.tensor([1e-45, -0.0, math.pi, -3e38])
    write_npz(tmp_path / "a.npz", {"a": tensor})
    assert torch.equal(read_npz(tmp_path / "a.npz")["a"].view(torch.int32), tensor.view(torch.int32))
