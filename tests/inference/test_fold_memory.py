"""The forecast of folding's memory follows what a process really takes."""

from chaperonin.inference.fold_memory import (
    FoldShape,
    needed_bytes,
    pair_bytes,
    peak_bytes,
    slice_budgets,
)
from chaperonin.models.alphafold.config import PRESETS

SHAPES = [("model_3_ptm", FoldShape(320, 1, 0)), ("model_1_ptm", FoldShape(200, 100, 400, 4))]


def test_more_of_anything_needs_more() -> None:
    config = PRESETS["model_1_ptm"]
    least = FoldShape(200, 10, 10, 1)
    larger = (
        FoldShape(400, 10, 10, 1),
        FoldShape(200, 900, 10, 1),
        FoldShape(200, 10, 5000, 1),
        FoldShape(200, 10, 10, 4),
    )
    assert all(peak_bytes(config, own) > peak_bytes(config, least) for own in larger)


def test_a_long_protein_needs_two_pair_representations_and_a_quarter() -> None:
    config, shape = PRESETS["model_3_ptm"], FoldShape(3000, 1, 0)
    assert 2 < needed_bytes(config, shape, "cpu") / pair_bytes(config, shape) < 2.25


def test_slices_shrink_until_the_plan_fits() -> None:
    config, shape = PRESETS["model_3_ptm"], FoldShape(500, 1, 0)
    usual = slice_budgets(config, shape, 1 << 40)
    assert usual == [usual[0], usual[0] >> 3, usual[0] >> 6]
    tight = needed_bytes(config, shape, "cpu", usual[0] >> 3)
    assert slice_budgets(config, shape, tight) == usual[1:]
    assert slice_budgets(config, shape, 0) == usual[2:]  # the last resort
