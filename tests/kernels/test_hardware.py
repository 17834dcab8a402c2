import pytest
import torch

from chaperonin.errors import UsageError
from chaperonin.kernels import hardware


def test_described_flags_are_known_ones() -> None:
    described = hardware.describe()
    assert set(described.instructions) <= set(hardware.FLAGS)
    assert described.cores >= 1 and described.memory_bytes > 1 << 28
    assert (described.gpu_capability is None) == (not torch.cuda.is_available())


@pytest.mark.parametrize(
    ("instructions", "int8", "bf16"),
    [
        (("avx2", "avx512f"), False, False),
        (("avx2", "avx512f", "avx512_vnni"), True, False),
        (("avx512_vnni", "avx512_bf16"), True, True),
        (("avx2", "avx_vnni"), True, False),
        (("amx_int8", "amx_bf16"), True, True),
        ((), False, False),
    ],
)
def test_engines_follow_from_the_flags(
    monkeypatch: pytest.MonkeyPatch, instructions: tuple[str, ...], int8: bool, bf16: bool
) -> None:
    monkeypatch.setattr(hardware, "processor", lambda: ("Some Processor", instructions))
    assert (hardware.lacks_byte_products() == "") == int8
    assert (hardware.lacks_bf16(torch.device("cpu")) == "") == bf16


def test_a_device_that_nothing_is_known_of_has_no_bf16() -> None:
    assert "nothing is known" in hardware.lacks_bf16(torch.device("meta"))


def have_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("gpus", "name", "device"),
    [
        (0, "auto", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_a_device_is_chosen_by_name(
    monkeypatch: pytest.MonkeyPatch, gpus: int, name: str, device: str
) -> None:
    have_gpus(monkeypatch, gpus)
    assert hardware.choose_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("gpus", "name", "message"),
    [
        (2, "gpu9", "'gpu9' is unknown. Write auto, cpu, cuda or cuda:1"),
        (2, "cuda:x", "'cuda:x' is unknown"),
        (2, "meta", "'meta' is none that chaperonin runs on"),
        (0, "cuda", "cuda was asked for and there is none. Use the other one."),
        (0, "cuda:1", "cuda:1 was asked for and there is none"),
        (2, "cuda:2", "cuda:2 was asked for, the last is cuda:1"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch, gpus: int, name: str, message: str
) -> None:
    have_gpus(monkeypatch, gpus)
    with pytest.raises(UsageError, match=message):
        hardware.choose_device(name, advice="Use the other one.")
