import numpy as np
import pytest

from chaperonin.data.labelled import LabelSettings, read_labelled
from chaperonin.data.splitting import Parts, SplitSettings, split_examples
from chaperonin.errors import InputError
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.tasks.metrics import metrics
from chaperonin.training.baselines import baselines, composition
from chaperonin.training.nearest import nearest, word_counts

LETTERS = np.array(list(STANDARD_RESIDUES))


def proteins(count: int, seed: int = 0, rich_in: list[str] | None = None) -> list[str]:
    """Random proteins; the n-th has a third of its residues of its letter."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        letters = generator.choice(LETTERS, 60)
        if rich_in is not None:
            letters[generator.random(60) < 0.33] = rich_in[number]
        found.append("".join(letters))
    return found


def thirds(count: int) -> Parts:
    numbers = np.arange(count)
    return Parts(numbers[numbers % 3 == 0], numbers[numbers % 3 == 1], numbers[numbers % 3 == 2])


def without_validation(parts: Parts) -> Parts:
    return Parts(parts.training, parts.validation[:0], parts.test)


@pytest.mark.parametrize("has_validation", [True, False])
def test_composition_learns_what_composition_decides(has_validation):
    truth = np.random.default_rng(0).integers(3, size=240)
    sequences = proteins(240, rich_in=["LKG"[label] for label in truth])
    parts = thirds(240) if has_validation else without_validation(thirds(240))
    found = baselines("multiclass", sequences, truth, parts, ("a", "b", "c"))
    scores = {
        name: metrics("multiclass", "sequence", truth[parts.test], some, ("a", "b", "c"))["accuracy"]
        for name, some in found.items()
    }
    assert scores["composition"] > 0.95
    assert scores["kmer"] > 0.7
    assert scores["majority"] < 0.5
    for some in found.values():
        assert some.shape == (80, 3)
        assert some.sum(axis=1) == pytest.approx(1)


def test_majority_is_the_share_of_each_class_in_training_and_balanced_makes_them_equal():
    truth = np.array([0, 0, 0, 1] * 15)
    parts = thirds(60)
    plain = baselines("binary", proteins(60), truth, parts, ("S", "M"))["majority"]
    assert plain[0] == pytest.approx(np.bincount(truth[parts.training]) / 20)
    balanced = baselines("binary", proteins(60), truth, parts, ("S", "M"), class_weights="balanced")[
        "majority"
    ]
    assert balanced[0] == pytest.approx([0.5, 0.5])
    weighted = baselines("binary", proteins(60), truth, parts, ("S", "M"), class_weights={"M": 3.0})[
        "majority"
    ]
    shares = np.bincount(truth[parts.training]) * [1, 3]
    assert weighted[0] == pytest.approx(shares / shares.sum())


def test_the_nearest_by_words_knows_the_relatives():
    ancestors = proteins(40)
    generator = np.random.default_rng(1)
    label = generator.integers(2, size=40)
    sequences, truth = [], []
    for number in range(120):
        letters = np.array(list(ancestors[number // 3]))
        letters[generator.integers(60, size=4)] = "A"
        sequences.append("".join(letters))
        truth.append(label[number // 3])
    parts = thirds(120)
    found = baselines("binary", sequences, np.array(truth), parts, ("S", "M"))["kmer"]
    assert (found.argmax(axis=1) == np.array(truth)[parts.test]).all()


def test_cosines_are_those_of_rarity_weighted_word_counts():
    training, asked = proteins(30), proteins(5, seed=2)
    counts, wanted = word_counts(training, 3).toarray(), word_counts(asked, 3).toarray()
    assert counts.sum() == 30 * 58
    rarity = np.log(31 / (1 + (counts > 0).sum(axis=0))) + 1
    counts, wanted = counts * rarity, wanted * rarity
    cosines = wanted @ counts.T
    cosines /= np.outer(np.linalg.norm(wanted, axis=1), np.linalg.norm(counts, axis=1))
    found = nearest(training, asked, 3)
    assert found.cosines == pytest.approx(np.sort(cosines, axis=1)[:, ::-1])
    assert np.take_along_axis(cosines, found.numbers, axis=1) == pytest.approx(found.cosines)


def test_words_with_unknown_residues_and_short_sequences_count_nothing():
    assert word_counts(["MKX", "MK", "AAAA"], 3).sum(axis=1).ravel().tolist() == [[0, 0, 2]]
    found = nearest(["MKTAY", "MK"], ["MK", "MKTAY"], 3)
    assert found.cosines[0].tolist() == [0, 0]
    assert found.cosines[1] == pytest.approx([1, 0])


def test_values_in_the_unit_they_came_in():
    sequences = proteins(150, rich_in=list("LK" * 75))
    value = 40 + 100 * np.array([sequence.count("L") / 60 for sequence in sequences])
    parts = thirds(150)
    found = baselines("regression", sequences, value.astype(np.float32), parts)
    assert set(found) == {"mean", "composition", "kmer"}
    assert found["mean"] == pytest.approx(np.full(50, value[parts.training].mean()), rel=1e-5)
    error = {
        name: metrics("regression", "sequence", value[parts.test], some)["rmse"]
        for name, some in found.items()
    }
    assert error["composition"] < 0.2
    assert error["kmer"] < 0.8 * error["mean"]


def test_several_labels_each_on_its_own_also_where_one_never_varies():
    sequences = proteins(150, rich_in=list("LK" * 75))
    truth = np.array(
        [[sequence.count("L") > 9, sequence.count("K") > 9, 0] for sequence in sequences]
    ).astype(int)
    parts = thirds(150)
    found = baselines("multilabel", sequences, truth, parts, ("l", "k", "none"))
    score = metrics("multilabel", "sequence", truth[parts.test], found["composition"], ("l", "k", "none"))
    assert score["auc"] > 0.97
    assert found["composition"][:, 2].max() == 0
    assert set(map(len, found.values())) == {50}


def test_unknown_labels_are_not_learned_from():
    truth = np.random.default_rng(0).integers(2, size=90)
    sequences = proteins(90, rich_in=["LK"[label] for label in truth])
    parts = thirds(90)
    hidden = truth.copy()
    hidden[parts.training[::2]] = -1
    fewer = Parts(parts.training[1::2], parts.validation, parts.test)
    one, other = (baselines("binary", sequences, hidden, some, ("S", "M")) for some in (parts, fewer))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    with pytest.raises(InputError, match="no training example has a label"):
        baselines("binary", sequences, np.full(90, -1), parts, ("S", "M"))


def test_classes_that_training_lacks_get_no_probability():
    truth = np.array([0, 1, 2] * 20)  # thirds: only class 0 trains
    found = baselines("multiclass", proteins(60), truth, thirds(60), ("a", "b", "c"))
    for some in found.values():
        assert some == pytest.approx(np.tile([1.0, 0, 0], (20, 1)))


def test_residues_by_window_see_their_neighbours():
    """A residue is of class 1 when the next one but one is L: only the window can know."""
    sequences = proteins(90)
    truth = [np.array([int(s[i + 2 : i + 3] == "L") for i in range(60)]) for s in sequences]
    truth[0][:30] = -1
    parts = thirds(90)
    found = baselines("binary", sequences, truth, parts, ("no", "yes"), level="residue")
    score = metrics("binary", "residue", [truth[n] for n in parts.test], found["window"], ("no", "yes"))
    assert score["mcc"] > 0.99
    assert found["majority"][0].shape == found["window"][0].shape == (60, 2)
    again = baselines("binary", sequences, truth, parts, ("no", "yes"), level="residue")
    np.testing.assert_array_equal(found["window"][3], again["window"][3])


def test_values_of_residues():
    sequences = proteins(60)
    truth = [np.array([STANDARD_RESIDUES.index(letter) * 1.0 for letter in s]) for s in sequences]
    truth[0][5] = np.nan
    parts = thirds(60)
    found = baselines("regression", sequences, truth, parts, level="residue")
    score = metrics("regression", "residue", [truth[n] for n in parts.test], found["window"])
    assert score["rmse"] < 0.2
    assert found["mean"][0].shape == (60,)


def test_pairs_by_separation():
    sequences = proteins(30)
    truth = [np.array([[i, i + 10] for i in range(0, 50, 2)]) for _ in sequences]
    parts = thirds(30)
    maps = baselines("binary", sequences, truth, parts, level="pairs")["separation"]
    assert maps[0].shape == (60, 60)
    assert maps[0][3, 13] == maps[0][13, 3] == pytest.approx(0.5)
    assert maps[0][3, 14] == 0
    assert metrics("binary", "pairs", [truth[n] for n in parts.test], maps)["auc"] > 0.95


def test_composition_of_a_protein():
    row = composition(["AAAC"])[0]
    assert row[:2].tolist() == [0.75, 0.25]
    assert row[-1] == pytest.approx(np.log(4))


def test_membrane_or_soluble_on_deeploc_folds(real_data):
    """Logistic regression on composition reaches about 0.77 over the folds; two of them are enough here."""
    data = read_labelled(
        LabelSettings(
            input=str(real_data / "localization/deeploc1_train.tsv.gz"),
            label_column="membrane",
            group_column="fold",
            skip_labels=("NA", "U"),
        )
    )
    sequences = [one.sequence for one in data.examples]
    truth = np.array([one.label == "M" for one in data.examples]).astype(np.int64)
    accuracy = {}
    for parts in split_examples(data, SplitSettings(folds=8))[:2]:
        for name, some in baselines("binary", sequences, truth, parts, ("S", "M")).items():
            score = metrics("binary", "sequence", truth[parts.test], some, ("S", "M"))
            accuracy.setdefault(name, []).append(score["accuracy"])
    assert 0.73 < np.mean(accuracy["composition"]) < 0.82
    assert 0.60 < np.mean(accuracy["kmer"]) < 0.78
    assert np.mean(accuracy["majority"]) < 0.62
