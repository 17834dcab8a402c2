from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chaperonin.kernels.segments import Segments

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(LENGTHS)
def test_every_token_has_one_segment_and_one_position(lengths: list[int]) -> None:
    segments = Segments(lengths)
    written_out = [(number, place) for number, length in enumerate(lengths) for place in range(length)]
    ids, positions = segments.ids(CPU).tolist(), segments.positions(CPU).tolist()
    assert list(zip(ids, positions, strict=True)) == written_out


@given(LENGTHS)
def test_offsets_are_starts_and_the_end(lengths: list[int]) -> None:
    segments = Segments(lengths)
    assert segments.offsets(CPU).tolist() == [*segments.starts, sum(lengths)]
    assert segments.offsets(CPU).dtype == torch.int32
    assert (
        segments.total == sum(lengths) and segments.longest == max(lengths) and len(segments) == len(lengths)
    )


@given(LENGTHS)
def test_runs_are_the_segments_with_equal_neighbours_joined(lengths: list[int]) -> None:
    runs = Segments(lengths).runs
    assert [length for _, count, length in runs for _ in range(count)] == lengths
    assert all(before[2] != after[2] for before, after in pairwise(runs))
    ends = [start + count * length for start, count, length in runs]
    assert [start for start, _, _ in runs] == [0, *ends[:-1]]


@pytest.mark.parametrize("lengths", [[], [0], [3, 0, 2], [-1]])
def test_an_empty_segment_is_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Segments(lengths)
