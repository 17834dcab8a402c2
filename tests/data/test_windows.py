"""Windows cover every residue with context, and blending what agrees changes nothing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperonin.data.windows import OVERLAP, WINDOW, blend, blend_weights, windows


@given(st.integers(1, 50_000))
def test_windows_cover_the_sequence_and_overlap_enough(length: int) -> None:
    spans = windows(length)
    assert spans[0].start == 0 and spans[-1].stop == length
    assert all(span.stop - span.start == min(length, WINDOW) for span in spans)
    assert all(left.stop - right.start >= OVERLAP for left, right in pairwise(spans))


@pytest.mark.parametrize("length", [1, 1022, 1023, 1500, 4000])
def test_blending_windows_of_one_array_gives_the_array(length: int) -> None:
    whole = np.random.default_rng(0).normal(size=(length, 3)).astype(np.float32)
    spans = windows(length)
    blended = blend([whole[span.start : span.stop] for span in spans], spans, length)
    np.testing.assert_allclose(blended, whole, atol=1e-6)


def test_a_residue_at_an_inner_edge_counts_little_and_at_the_proteins_end_fully() -> None:
    first, second = windows(1500)
    assert blend_weights(first, 1500)[0] == blend_weights(second, 1500)[-1] == 1
    assert blend_weights(first, 1500)[-1] == blend_weights(second, 1500)[0] == pytest.approx(1 / OVERLAP)
