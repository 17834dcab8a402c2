import pytest
import torch

from chaperonin.errors import UnavailableError, UsageError
from chaperonin.training import device

CPU = torch.device("cpu")


def test_auto_is_bf16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "lacks_bf16", lambda place: "")
    assert device.native_bf16(CPU)
    assert device.autocast_dtype("auto", CPU) == torch.bfloat16
    monkeypatch.setattr(device, "lacks_bf16", lambda place: "an old processor")
    assert not device.native_bf16(CPU)
    assert device.autocast_dtype("auto", CPU) is None


def test_fp32_is_fp32_everywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "lacks_bf16", lambda place: "")
    assert device.autocast_dtype("fp32", CPU) is None


def test_bf16_by_name_is_refused_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chaperonin.adapt.precision.lacks_bf16", lambda place: "an old processor")
    with pytest.raises(UnavailableError, match="an old processor"):
        device.autocast_dtype("bf16", CPU)


@pytest.mark.parametrize("name", ["gpu9", "cuda:x"])
def test_unknown_device_is_refused_by_name(name: str):
    with pytest.raises(UsageError, match=name):
        device.training_device(name)


def test_absent_gpu_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.training_device("auto") == CPU
    with pytest.raises(UsageError, match="there is none"):
        device.training_device("cuda")
