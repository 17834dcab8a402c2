import pytest
import torch

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
    assert (hardware.lacks_int8() == "") == int8
    assert (hardware.lacks_bf16(torch.device("cpu")) == "") == bf16


def test_a_device_that_nothing_is_known_of_has_no_bf16() -> None:
    assert "nothing is known" in hardware.lacks_bf16(torch.device("meta"))
