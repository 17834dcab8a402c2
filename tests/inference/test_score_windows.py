"""Where windows lie on long proteins."""

import numpy as np
import pytest

from chaperonin.inference.score_windows import optimal_window, overlapping_windows, window_weights


def test_a_protein_that_fits_is_one_window():
    assert optimal_window(500, 1024) == (0, 1024)
    assert overlapping_windows(1024) == [(0, 1024)]


def test_an_optimal_window_holds_its_token_as_centrally_as_the_ends_allow():
    for length in (1025, 1500, 3425):
        for token in range(length):
            start, stop = optimal_window(token, length)
            assert stop - start == 1024 and 0 <= start <= token < stop <= length
            assert token - start == 512 or start == 0 or stop == length


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1025, [(0, 1024), (1, 1025)]),
        (1700, [(0, 1024), (676, 1700), (338, 1362)]),
        (2047, [(0, 1024), (1023, 2047), (511, 1535), (512, 1536)]),
    ],
)
def test_overlapping_windows_lie_where_the_published_protocol_puts_them(length, expected):
    assert overlapping_windows(length) == expected


def test_every_token_is_in_some_overlapping_window():
    for length in range(1025, 5000, 13):
        covered = np.zeros(length, dtype=bool)
        for start, stop in overlapping_windows(length):
            assert stop - start == 1024 and start >= 0 and stop <= length
            covered[start:stop] = True
        assert covered.all()


def test_weights_fall_to_both_ends_except_where_the_official_script_forgets_them():
    weights, official = window_weights(), window_weights(official=True)
    assert (np.diff(weights[:257]) >= 0).all() and (np.diff(weights[766:]) <= 0).all()
    assert weights[257:766].tolist() == [1.0] * 509
    assert weights[128] == weights[894] == 0.5
    assert official[1:-1].tolist() == weights[1:-1].tolist()
    assert official[0] == official[-1] == 1.0 and weights[0] == weights[1] < 0.001
