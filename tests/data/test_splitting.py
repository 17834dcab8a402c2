import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.data.families import families
from chaperonin.data.labelled import Dataset, Example, LabelSettings, read_labelled
from chaperonin.data.leaks import leaks
from chaperonin.data.splitting import Parts, SplitSettings, allocate, split_examples
from chaperonin.data.strata import strata
from chaperonin.errors import UsageError
from chaperonin.protein.alphabet import STANDARD_RESIDUES

LETTERS = np.array(list(STANDARD_RESIDUES))


def protein(generator: np.random.Generator, length: int = 80) -> str:
    return "".join(generator.choice(LETTERS, length))


def changed(generator: np.random.Generator, sequence: str, share: float) -> str:
    """The sequence with that share of residues made different ones."""
    places = generator.choice(len(sequence), round(share * len(sequence)), replace=False)
    letters = list(sequence)
    for place in places:
        letters[place] = generator.choice(LETTERS[letters[place] != LETTERS])
    return "".join(letters)


def relatives(sizes, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Families of these sizes, 95 % identical, shuffled, and the family of each sequence."""
    generator = np.random.default_rng(seed)
    sequences, family = [], []
    for number, size in enumerate(sizes):
        ancestor = protein(generator)
        sequences += [changed(generator, ancestor, 0.05) for _ in range(size)]
        family += [number] * size
    order = generator.permutation(len(sequences))
    return [sequences[number] for number in order], np.array(family)[order]


def dataset(sequences, labels=None, stages=None, groups=None) -> Dataset:
    count = len(sequences)
    columns = zip(
        sequences, labels or ["x"] * count, stages or [""] * count, groups or [""] * count, strict=True
    )
    return Dataset([Example(n, f"e{n}", s, la, st, "f:1", g) for n, (s, la, st, g) in enumerate(columns)], [])


def sides(parts: Parts) -> list[np.ndarray]:
    return [parts.training, parts.validation, parts.test]


def assert_partition(parts: Parts, count: int) -> None:
    assert sorted(np.concatenate(sides(parts)).tolist()) == list(range(count))


def assert_whole(parts: Parts, unit: np.ndarray) -> None:
    found = [set(unit[side]) for side in sides(parts)]
    assert sum(map(len, found)) == len(set().union(*found))


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 6), min_size=8, max_size=20),
    st.integers(0, 1000),
    st.sampled_from(["random", "cluster", "group"]),
    st.sampled_from([0, 3]),
)
def test_parts_are_disjoint_cover_all_and_keep_units_whole(sizes, seed, method, folds):
    sequences, family = relatives(sizes, seed)
    sequences = [*sequences, *sequences[:3]]  # equal sequences
    family = np.concatenate((family, family[:3]))
    data = dataset(sequences, labels=[str(n % 2) for n in family], groups=[f"g{n}" for n in family])
    splits = split_examples(data, SplitSettings(method=method, folds=folds, seed=seed))
    for parts in splits:
        assert_partition(parts, len(sequences))
        assert_whole(parts, np.unique(sequences, return_inverse=True)[1])
        if method != "random":
            assert_whole(parts, family)
        assert all(len(side) for side in sides(parts))
    if folds:
        assert sorted(np.concatenate([parts.test for parts in splits]).tolist()) == list(
            range(len(sequences))
        )


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_random_parts_have_their_shares_of_every_class(seed):
    generator = np.random.default_rng(seed)
    labels = generator.choice(list("abc"), 400, p=[0.6, 0.3, 0.1]).tolist()
    data = dataset([protein(generator, 20) for _ in labels], labels)
    (parts,) = split_examples(data, SplitSettings(method="random", seed=seed))
    for side, share in zip(sides(parts), (0.8, 0.1, 0.1), strict=True):
        assert abs(len(side) - share * 400) <= 3
        for label in "abc":
            assert abs(sum(labels[n] == label for n in side) - share * labels.count(label)) <= 2


def test_cluster_parts_have_near_shares_of_classes_and_share_no_family():
    sequences, family = relatives([1, 2, 3, 4, 5] * 20)
    labels = ["M" if n % 3 == 0 else "S" for n in family]
    (parts,) = split_examples(
        dataset(sequences, labels), SplitSettings(method="cluster", validation_share=0.2)
    )
    assert_whole(parts, family)
    for side, share in zip(sides(parts), (0.7, 0.2, 0.1), strict=True):
        assert len(side) / 300 == pytest.approx(share, abs=0.02)
        assert np.mean([labels[n] == "M" for n in side]) == pytest.approx(labels.count("M") / 300, abs=0.05)


def test_one_huge_family_trains_and_starves_no_part():
    sequences, family = relatives([60, *[1] * 40])
    (parts,) = split_examples(dataset(sequences), SplitSettings(method="cluster"))
    assert set(family[parts.training]) >= {0}
    assert len(parts.validation) == pytest.approx(10, abs=1)
    assert len(parts.test) == pytest.approx(10, abs=1)


def test_the_same_seed_gives_the_same_parts_and_another_one_others():
    sequences, _ = relatives([2] * 50)
    chosen = [
        split_examples(dataset(sequences), SplitSettings(method="cluster", seed=seed))[0].test.tolist()
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_values_are_spread_over_their_bins():
    generator = np.random.default_rng(0)
    values = generator.normal(size=500)
    data = dataset([protein(generator, 20) for _ in values], [f"{value:.4f}" for value in values])
    (parts,) = split_examples(data, SplitSettings(method="random"))
    edges = np.quantile(values, np.arange(1, 10) / 10)
    bins = np.bincount(np.searchsorted(edges, values[parts.test]), minlength=10)
    assert bins.min() >= 4 and bins.max() <= 6


def test_strata_of_each_kind_of_label():
    assert strata(["a", "b", "a"]).tolist() == [[1, 1, 0], [1, 0, 1], [1, 1, 0]]
    assert strata(["a|b", "b;c"]).tolist() == [[1, 1, 1, 0], [1, 0, 1, 1]]
    assert strata([str(n / 7) for n in range(100)]).shape == (100, 11)
    assert strata([f"HHEC{n}" for n in range(100)]).shape == (100, 1)


def test_given_stages_are_kept():
    stages = ["train", "test", "val", "train"]
    (parts,) = split_examples(dataset(["MK", "GG", "AA", "MK"], stages=stages), SplitSettings())
    assert [side.tolist() for side in sides(parts)] == [[0, 3], [2], [1]]
    assert parts.method == "given"


def test_missing_stages_are_cut_out_of_training_by_family():
    sequences, family = relatives([2] * 40)
    stages = ["test" if n >= 35 else "train" for n in family]
    (parts,) = split_examples(dataset(sequences, stages=stages), SplitSettings())
    assert set(family[parts.test]) == set(range(35, 40))
    assert len(parts.validation) in (6, 8)
    assert_whole(parts, family)
    assert "no example has the stage val" in parts.note


def test_folds_of_given_stages_leave_the_test_part_alone():
    sequences, family = relatives([2] * 40)
    stages = ["test" if n >= 30 else "train" for n in family]
    splits = split_examples(dataset(sequences, stages=stages), SplitSettings(folds=5))
    tests = {tuple(parts.test) for parts in splits}
    assert tests == {tuple(np.flatnonzero(family >= 30))}
    held = np.concatenate([parts.validation for parts in splits])
    assert sorted(held.tolist()) == np.flatnonzero(family < 30).tolist()


def test_as_many_folds_as_groups_are_the_groups():
    sequences, _ = relatives([1] * 40)
    groups = [str(n % 8) for n in range(40)]
    splits = split_examples(dataset(sequences, groups=groups), SplitSettings(folds=8))
    assert [{groups[n] for n in parts.test} for parts in splits] == [{str(n)} for n in range(8)]
    assert all(len({groups[n] for n in parts.validation}) == 1 for parts in splits)


def test_variants_of_one_protein_are_split_at_random_and_the_note_says_so():
    generator = np.random.default_rng(0)
    wild_type = protein(generator, 100)
    variants = list({changed(generator, wild_type, 0.02) for _ in range(300)})
    assert len(set(families(variants))) == 1
    (parts,) = split_examples(dataset(variants), SplitSettings())
    assert parts.method == "random"
    assert "relatives of each other" in parts.note
    with pytest.raises(UsageError, match="cannot fill 3 parts"):
        split_examples(dataset(variants), SplitSettings(method="cluster"))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (SplitSettings(validation_share=0.6, test_share=0.4), "leave nothing to train on"),
        (SplitSettings(folds=1), "no cross-validation"),
        (SplitSettings(method="given"), "no example is given for training"),
        (SplitSettings(method="group"), "no group to split by"),
        (SplitSettings(group_column="fold"), "no group to split by"),
        (SplitSettings(method="random", folds=9), "cannot fill 9 parts"),
    ],
)
def test_splits_that_make_no_sense_are_refused(wanted, message):
    with pytest.raises(UsageError, match=message):
        split_examples(dataset(["MKTA", "GGSA", "AAAA", "MMMM"]), wanted)


def test_allocation_is_exact_where_it_can_be():
    part = allocate(np.arange(1000), np.ones((1000, 1)), [0.8, 0.15, 0.05], seed=0)
    assert np.bincount(part).tolist() == [800, 150, 50]


def two_parts(count: int, held: list[int]) -> Parts:
    rest = np.setdiff1d(np.arange(count), held)
    return Parts(rest, np.empty(0, dtype=np.int64), np.array(held))


def test_leaks_are_the_near_identical_pairs_across_parts():
    generator = np.random.default_rng(0)
    parent = protein(generator, 200)
    near, far = changed(generator, parent, 0.08), changed(generator, parent, 0.2)
    gapped = parent[:60] + parent[66:140] + "WWWW" + parent[140:]
    fragment = parent[30:150]
    others = [protein(generator, 200) for _ in range(5)]
    sequences = [parent, near, far, gapped, fragment, parent, *others]
    found = leaks(sequences, [two_parts(len(sequences), [1, 2, 3, 4, 5, 6])])
    assert [(one.first, one.second) for one in found] == [(0, 1), (0, 3), (0, 4), (0, 5)]
    assert [one.identity for one in found] == pytest.approx([0.92, 194 / 198, 1.0, 1.0])
    assert {one.parts for one in found} == {("training", "test")}


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(0, 0.16))
def test_leaks_find_substitutions_exactly_up_to_the_bound(seed, share):
    generator = np.random.default_rng(seed)
    parent = protein(generator, 150)
    child = changed(generator, parent, share)
    identity = sum(a == b for a, b in zip(parent, child, strict=True)) / 150
    found = leaks([parent, child], [two_parts(2, [1])])
    assert [one.identity for one in found] == ([identity] if identity >= 0.9 else [])


def test_every_variant_of_a_large_family_is_found():
    generator = np.random.default_rng(1)
    wild_type = protein(generator, 120)
    variants = [changed(generator, wild_type, 0.02) for _ in range(300)]
    held = list(range(30))
    assert {one.second for one in leaks(variants, [two_parts(300, held)])} == set(held)


def test_leaks_of_every_fold_count():
    generator = np.random.default_rng(2)
    parent = protein(generator, 150)
    sequences = [protein(generator, 150) for _ in range(6)] + [parent, changed(generator, parent, 0.02)]
    folds = [two_parts(8, held) for held in ([0, 1], [2, 3], [4, 6], [5, 7])]
    assert leaks(sequences, folds[:2]) == []
    assert [(one.first, one.second) for one in leaks(sequences, folds)] == [(7, 6), (6, 7)]


def test_a_split_by_family_has_no_leaks():
    sequences, _ = relatives([3] * 30)
    (clean,) = split_examples(dataset(sequences), SplitSettings(method="cluster"))
    (random,) = split_examples(dataset(sequences), SplitSettings(method="random"))
    assert leaks(sequences, [clean]) == []
    assert len(leaks(sequences, [random])) > 5


def test_folds_of_deeploc_are_its_own(real_data):
    data = read_labelled(
        LabelSettings(
            input=str(real_data / "localization/deeploc1_train.tsv.gz"),
            label_column="membrane",
            group_column="fold",
            skip_labels=("NA", "U"),
        )
    )
    splits = split_examples(data, SplitSettings(folds=8))
    assert [len({data.examples[n].group for n in parts.test}) for parts in splits] == [1] * 8
    near = leaks([one.sequence for one in data.examples], splits[:1])
    assert len(near) < 20  # homology-partitioned at a low identity, with few exceptions
