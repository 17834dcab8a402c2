import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperonin.protein.confidence import (
    ERROR_BREAKS,
    ERROR_CENTERS,
    LARGEST_ERROR,
    plddt,
    predicted_aligned_error,
    predicted_tm_score,
)

# pTM that alphafold.common.confidence gives for these random logits (see `random_logits`), by length.
PUBLISHED = {5: 0.052485838, 18: 0.012911128, 20: 0.044804304, 64: 0.176085918}


def random_logits(length: int) -> np.ndarray:
    return (np.random.default_rng(length).normal(size=(length, length, 64)) * 4).astype(np.float32)


def certain(bins: np.ndarray, count: int) -> np.ndarray:
    """Logits that leave no doubt about a bin."""
    return np.where(np.arange(count) == bins[..., None], 0.0, -1e4)


@given(st.lists(st.integers(0, 49), min_size=1, max_size=9))
def test_a_certain_model_says_the_centre_of_its_bin(bins):
    np.testing.assert_allclose(plddt(certain(np.array(bins), 50)), 2 * np.array(bins) + 1)


def test_a_model_without_a_clue_says_the_middle():
    np.testing.assert_allclose(plddt(np.zeros((3, 50))), 50)
    assert predicted_aligned_error(np.zeros((3, 3, 64)))[0, 0] == pytest.approx(ERROR_CENTERS.mean())


def test_bins_of_the_error_are_those_of_alphafold():
    assert len(ERROR_BREAKS) == 63 and ERROR_BREAKS[-1] == 31
    np.testing.assert_allclose(ERROR_CENTERS, np.arange(64) * 0.5 + 0.25)
    assert LARGEST_ERROR == 31.75


@given(st.integers(0, 63), st.integers(1, 40))
def test_an_error_that_is_the_same_everywhere(bin, length):
    logits = certain(np.full((length, length), bin), 64)
    np.testing.assert_allclose(predicted_aligned_error(logits), bin * 0.5 + 0.25)
    scale = 1.24 * (max(length, 19) - 15) ** (1 / 3) - 1.8
    assert predicted_tm_score(logits) == pytest.approx(1 / (1 + ((bin * 0.5 + 0.25) / scale) ** 2))


@pytest.mark.parametrize("length", PUBLISHED)
def test_equals_the_published_code(length):
    assert predicted_tm_score(random_logits(length)) == pytest.approx(PUBLISHED[length], abs=1e-7)


def test_blocks_of_rows_change_nothing(monkeypatch):
    logits = random_logits(20)
    whole = predicted_aligned_error(logits)
    monkeypatch.setattr("chaperonin.protein.confidence._BLOCK_BYTES", 1)
    np.testing.assert_array_equal(predicted_aligned_error(logits), whole)


@given(st.floats(-1e4, 1e4))
def test_a_shift_of_the_logits_changes_nothing(shift):
    logits = random_logits(5).astype(np.float64)
    np.testing.assert_allclose(
        predicted_aligned_error(logits + shift), predicted_aligned_error(logits), rtol=1e-9
    )


def test_the_best_row_counts():
    """One residue whose frame is certain to fit all others makes the score."""
    bins = np.full((30, 30), 63)
    bins[4] = 0
    logits = certain(bins, 64)
    scale = 1.24 * 15 ** (1 / 3) - 1.8
    assert predicted_tm_score(logits) == pytest.approx(1 / (1 + (0.25 / scale) ** 2))


def test_weight_zero_is_absence_above_the_least_length():
    logits = random_logits(30)
    weights = (np.arange(30) < 25).astype(float)
    assert predicted_tm_score(logits, weights) == pytest.approx(predicted_tm_score(logits[:25, :25]))


def test_other_bins_are_refused():
    with pytest.raises(ValueError, match="64"):
        predicted_aligned_error(np.zeros((3, 3, 50)))
