"""A predictor in bf16 runs over a stream that is filled up, and no result shows it."""

import pytest
import torch

from chaperonin.kernels.hardware import lacks_bf16
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.tasks.heads import build_head
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.target import Target


@pytest.mark.skipif(bool(lacks_bf16(torch.device("cpu"))), reason="needs native bf16")
@pytest.mark.parametrize("level", ["sequence", "residue"])
def test_filling_up_changes_no_result(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    backbone = ESM(ESMConfig(width=64, depth=2, heads=4, inner_width=128))
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.05)
    target = Target(level, "binary", ("M", "S"))
    predictor = Predictor(backbone, build_head(target, 64, "mean", "none"), target)
    segments = Segments([30, 51, 20])
    tokens = torch.randint(4, 24, (segments.total,))
    predictor.requires_grad_(False)
    seen: list[int] = []
    backbone.register_forward_hook(lambda module, given, result: seen.append(len(given[0])))
    plain = predictor(tokens, segments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = predictor(tokens, segments).float()
        monkeypatch.setattr("chaperonin.tasks.predictor._STEP", 1)
        expected = predictor(tokens, segments).float()
    assert seen == [101, 128, 101]
    # One rounding of bf16: kernels for other numbers of rows sum in another order.
    one_rounding = 2**-8 * expected.abs().max().item()
    torch.testing.assert_close(found, expected, atol=one_rounding, rtol=0)
    assert (expected - plain).abs().max() < 0.1 * plain.abs().max()
