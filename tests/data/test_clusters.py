import numpy as np
import pytest

from chaperonin.data.clusters import NEAREST, WORD, clusters, crossing, split
from chaperonin.data.stream import Sequences
from chaperonin.protein.alphabet import STANDARD_RESIDUES

LETTERS = np.array(list(STANDARD_RESIDUES))


def random_protein(generator: np.random.Generator, length: int) -> str:
    return "".join(generator.choice(LETTERS, length))


def mutate(generator: np.random.Generator, sequence: str, identity: float) -> str:
    changed = generator.random(len(sequence)) > identity
    return "".join(np.where(changed, generator.choice(LETTERS, len(sequence)), list(sequence)))


def families(count: int, members: int, identity: float, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Random ancestors with mutated descendants, shuffled, and the number of each one's family."""
    generator = np.random.default_rng(seed)
    texts, family = [], []
    for number in range(count):
        ancestor = random_protein(generator, 250)
        for _ in range(members):
            texts.append(mutate(generator, ancestor, identity))
            family.append(number)
    order = generator.permutation(len(texts))
    return [texts[number] for number in order], np.array(family)[order]


def test_clusters_are_the_families():
    texts, family = families(count=60, members=4, identity=0.9)
    labels = clusters(Sequences.gather(texts))
    assert len(set(labels)) == 60
    assert len(set(zip(labels, family, strict=True))) == 60


def test_unrelated_sequences_stay_alone():
    generator = np.random.default_rng(1)
    texts = [random_protein(generator, 300) for _ in range(2000)]
    assert len(set(clusters(Sequences.gather(texts)))) == 2000


def test_order_of_the_input_does_not_matter():
    texts, _ = families(count=30, members=3, identity=0.85)
    straight = clusters(Sequences.gather(texts))
    reverse = clusters(Sequences.gather(texts[::-1]))[::-1]
    assert len(set(zip(straight, reverse, strict=True))) == len(set(straight)) == len(set(reverse))


def test_low_complexity_links_nothing():
    generator = np.random.default_rng(2)
    repeat = "AGAGAGAGAGAGAGAGAGAGAGAGAGAGAGAGQQQQQQQQQQQQQQQQQQQQ"
    texts = [random_protein(generator, 100) + repeat + random_protein(generator, 100) for _ in range(20)]
    assert len(set(clusters(Sequences.gather(texts)))) == 20


def test_a_word_across_two_sequences_is_none():
    generator = np.random.default_rng(3)
    shared = random_protein(generator, 12)
    # Joined, the first two sequences hold the shared stretch; neither of them does.
    texts = [random_protein(generator, 50) + shared[:6], shared[6:] + random_protein(generator, 50)]
    texts.append(random_protein(generator, 40) + shared + random_protein(generator, 40))
    assert len(set(clusters(Sequences.gather(texts)))) == 3


@pytest.mark.parametrize(("length", "is_linked"), [(WORD + NEAREST - 1, False), (WORD + NEAREST, True)])
def test_shortest_shared_stretch_that_links(length: int, is_linked: bool):
    generator = np.random.default_rng(4)
    shared = "MWCHFYKDEARNQ"[:length]
    # Different residues on both ends, or chance could make the stretch longer.
    texts = [
        random_protein(generator, 60) + end + shared + end + random_protein(generator, 60) for end in "GV"
    ]
    assert (len(set(clusters(Sequences.gather(texts)))) == 1) is is_linked


def test_unknown_residues_are_no_words():
    generator = np.random.default_rng(5)
    texts = [random_protein(generator, 50) + "X" * 40 + random_protein(generator, 50) for _ in range(5)]
    assert len(set(clusters(Sequences.gather(texts)))) == 5


def test_no_family_is_on_both_sides_of_the_split():
    texts, family = families(count=100, members=5, identity=0.9)
    parts = split(Sequences.gather(texts), share=0.1, seed=0)
    assert sorted([*parts.training, *parts.holdout]) == list(range(500))
    assert 0.08 * 500 <= len(parts.holdout) <= 0.1 * 500
    assert not set(family[parts.training]) & set(family[parts.holdout])


def test_split_is_the_same_for_the_same_seed_only():
    texts, _ = families(count=50, members=2, identity=0.9)
    sequences = Sequences.gather(texts)
    first, again, other = (split(sequences, 0.2, seed).holdout.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_large_clusters_always_train():
    texts, _ = families(count=4, members=30, identity=0.9)
    parts = split(Sequences.gather(texts), share=0.5, seed=0, largest=20)
    assert len(parts.holdout) == 0


def test_crossing_counts_what_a_random_split_would_leak():
    labels = np.array([0, 0, 1, 2, 2, 2])
    assert crossing(labels, np.array([2])) == 0
    assert crossing(labels, np.array([0, 2])) == 1
    assert crossing(labels, np.array([3, 4, 5])) == 0
    assert crossing(labels, np.array([0, 1, 3, 4])) == 2


def test_nothing_to_cluster():
    assert clusters(Sequences.gather(["MKT", ""])).tolist() == [0, 1]
