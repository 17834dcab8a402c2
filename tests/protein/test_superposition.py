import numpy as np
import pytest
from biotite.structure import superimpose as biotite_superimpose
from hypothesis import given
from hypothesis import strategies as st

from chaperonin.protein.superposition import (
    Motion,
    rmsd,
    search_superpositions,
    superpose,
    superposed_rmsd,
)

seeds = st.integers(0, 10_000)


def random_motion(generator: np.random.Generator) -> Motion:
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    rotation[:, 0] *= np.sign(np.linalg.det(rotation))
    return Motion(rotation, generator.normal(0, 50, 3))


def random_chain(generator: np.random.Generator, length: int) -> np.ndarray:
    steps = generator.normal(size=(length, 3))
    return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


@given(seeds, st.integers(3, 60))
def test_a_motion_is_found_again(seed, length):
    generator = np.random.default_rng(seed)
    points, motion = random_chain(generator, length), random_motion(generator)
    found = superpose(points, motion.apply(points))
    np.testing.assert_allclose(found.apply(points), motion.apply(points), atol=1e-8)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert superposed_rmsd(points, motion.apply(points)) < 1e-8


@given(seeds, st.integers(1, 40))
def test_no_small_motion_is_better(seed, length):
    generator = np.random.default_rng(seed)
    mobile, target = generator.normal(0, 9, (2, length, 3))
    best = superpose(mobile, target)
    lowest = rmsd(best.apply(mobile), target)
    for _ in range(10):
        turn, _ = np.linalg.qr(np.eye(3) + generator.normal(0, 0.01, (3, 3)))
        turn *= np.sign(np.diag(turn))
        other = best.apply(mobile) @ turn.T + generator.normal(0, 0.05, 3)
        assert rmsd(other, target) >= lowest - 1e-9


@given(seeds)
def test_a_mirror_image_is_not_reached(seed):
    points = random_chain(np.random.default_rng(seed), 20)
    assert superposed_rmsd(points, points * [1, 1, -1]) > 0.1


@given(seeds)
def test_the_rmsd_is_symmetric_and_blind_to_motions(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(0, 9, (2, 15, 3))
    value = superposed_rmsd(first, second)
    assert superposed_rmsd(second, first) == pytest.approx(value)
    assert superposed_rmsd(random_motion(generator).apply(first), second) == pytest.approx(value)


@given(seeds)
def test_equals_biotite(seed):
    mobile, target = np.random.default_rng(seed).normal(0, 9, (2, 25, 3))
    fitted, _ = biotite_superimpose(target, mobile)
    np.testing.assert_allclose(superpose(mobile, target).apply(mobile), fitted, atol=1e-4)


@given(seeds)
def test_weight_zero_is_absence(seed):
    generator = np.random.default_rng(seed)
    mobile, target = generator.normal(0, 9, (2, 12, 3))
    weights = (np.arange(12) < 8).astype(float)
    some = superpose(mobile, target, weights)
    np.testing.assert_allclose(some.rotation, superpose(mobile[:8], target[:8]).rotation, atol=1e-8)


def test_the_search_finds_the_part_that_fits():
    """Forty points of a hundred moved together: no superposition of all shows it, the search does."""
    generator = np.random.default_rng(0)
    target = random_chain(generator, 100)
    mobile = np.concatenate(
        [random_motion(generator).apply(target[:40]), random_motion(generator).apply(target[40:])]
    )
    values, motions = search_superpositions(
        mobile, target, (1, 1), lambda squared: (squared < 1).sum(axis=1, keepdims=True).astype(float)
    )
    assert values[0] >= 60
    np.testing.assert_allclose(motions[0].apply(mobile[40:]), target[40:], atol=1e-6)


@given(seeds, st.integers(1, 30))
def test_the_score_is_that_of_the_motion(seed, length):
    generator = np.random.default_rng(seed)
    mobile, target = random_chain(generator, length), random_chain(generator, length)

    def score(squared):
        return np.stack([1 / (1 + squared), np.exp(-squared)], axis=-1).mean(axis=1)

    values, motions = search_superpositions(mobile, target, (4, 6), score)
    for place, motion in enumerate(motions):
        squared = np.square(motion.apply(mobile) - target).sum(axis=1)
        assert score(squared[None])[0, place] == pytest.approx(values[place], abs=1e-7)


@pytest.mark.parametrize("shapes", [((4, 3), (5, 3)), ((0, 3), (0, 3)), ((4, 2), (4, 2))])
def test_points_that_do_not_correspond_are_refused(shapes):
    with pytest.raises(ValueError, match="must be"):
        superpose(np.zeros(shapes[0]), np.zeros(shapes[1]))
