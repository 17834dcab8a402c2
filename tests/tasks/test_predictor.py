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
def test_filling_up_changes_no_result(level: str) -> None:
    torch.manual_seed(0)
    backbone = ESM(ESMConfig(width=64, depth=2, heads=4, inner_width=128))
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.05)
    target = Target(level, "binary", ("M", "S"))
    predictor = Predictor(backbone, build_head(target, 64, "mean", "none"), target)
    segments = Segments([30, 51, 20])
    tokens = torch.randint(4, 24, (segments.total,))
    seen: list[int] = []
    backbone.register_forward_hook(lambda module, given, result: seen.append(len(given[0])))
    expected = predictor(tokens, segments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = predictor(tokens, segments)
    assert seen == [101, 128]
    assert found.shape == expected.shape
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0)  # three digits of bf16
