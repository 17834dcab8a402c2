import pytest
import torch

from chaperonin.errors import UnavailableError
from chaperonin.training import precision

CPU = torch.device("cpu")


def test_auto_is_bf16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "lacks_bf16", lambda place: "")
    assert precision.native_bf16(CPU)
    assert precision.autocast_dtype("auto", CPU) == torch.bfloat16
    monkeypatch.setattr(precision, "lacks_bf16", lambda place: "an old processor")
    assert not precision.native_bf16(CPU)
    assert precision.autocast_dtype("auto", CPU) is None


def test_fp32_is_fp32_everywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "lacks_bf16", lambda place: "")
    assert precision.autocast_dtype("fp32", CPU) is None


def test_bf16_by_name_is_refused_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chaperonin.adapt.precision.lacks_bf16", lambda place: "an old processor")
    with pytest.raises(UnavailableError, match="an old processor"):
        precision.autocast_dtype("bf16", CPU)
