import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chaperonin.report.sampling import Highest, Thinned, evenly


@given(st.integers(0, 500), st.integers(1, 40))
def test_thinned_items_are_evenly_spaced_and_never_more_than_the_capacity(count, capacity):
    thinned = Thinned(capacity)
    thinned.extend(range(count))
    assert len(thinned.items) <= capacity and thinned.seen == count
    stride = thinned.items[1] if len(thinned.items) > 1 else 1
    assert thinned.items[:1] == list(range(min(count, 1)))
    assert all(b - a == stride for a, b in zip(thinned.items, thinned.items[1:], strict=False))
    if count <= capacity:
        assert thinned.items == list(range(count))
    elif capacity > 1:
        assert len(thinned.items) >= capacity // 2


@given(st.lists(st.integers(-5, 5).map(float)), st.integers(1, 10))
def test_highest_are_those_of_a_stable_sort(scores, capacity):
    highest = Highest(capacity)
    for number, score in enumerate(scores):
        highest.add(score, number)
    expected = sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))[:capacity]
    assert highest.ranked() == [(score, number) for number, score in expected]


@given(st.integers(0, 300), st.integers(1, 50))
def test_evenly_gives_different_numbers_in_order(count, wanted):
    chosen = evenly(count, wanted)
    assert len(chosen) == min(count, wanted)
    assert (np.diff(chosen) >= 1).all() and all(0 <= n < count for n in chosen)
