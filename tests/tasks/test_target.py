import numpy as np
import pytest

from chaperonin.errors import InputError, UsageError
from chaperonin.tasks.target import Target, infer_target


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        (["M", "S", "S", "M"], "binary", ("M", "S")),
        (["S", "M", "S", ""], "binary", ("M", "S")),
        (["1", "-1", "1"], "binary", ("-1", "1")),
        (["0", "1", "1.0"], "multiclass", ("0", "1", "1.0")),
        (["b", "c", "a", "c"], "multiclass", ("a", "b", "c")),
        (["10", "9", "8", "9"], "multiclass", ("8", "9", "10")),
        (["A|B", "A", "C;B"], "multilabel", ("A", "B", "C")),
        (["0.5", "1.5", "2"], "regression", ()),
        ([str(number) for number in range(30)], "regression", ()),
        ([str(number) for number in range(20)] * 2, "multiclass", tuple(str(number) for number in range(20))),
        (["0.5", "1.5", "2", "n/a"], "regression", ()),
    ],
)
def test_a_column_of_labels_says_what_it_is(labels, kind, classes):
    target = infer_target(labels, "sequence")
    assert (target.kind, target.classes) == (kind, classes)


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        (["HHE", "EC.", "-H"], "multiclass", ("-", "C", "E", "H")),
        (["010", "11"], "binary", ("0", "1")),
        (["0.1 0.25 3", "1;2;2.5"], "regression", ()),
        (["coil helix", "helix strand helix"], "multiclass", ("coil", "helix", "strand")),
    ],
)
def test_labels_of_residues_say_what_they_are(labels, kind, classes):
    target = infer_target(labels, "residue")
    assert (target.kind, target.classes) == (kind, classes)


def test_given_kind_and_classes_are_kept():
    assert infer_target(["M", "S"], "sequence", "multiclass").outputs == 2
    assert infer_target(["0", "1", "2"], "sequence", "regression").classes == ()
    assert infer_target(["M", "S"], "sequence", classes=["S", "M"]).classes == ("S", "M")
    many = infer_target([f"family {number}" for number in range(100)], "sequence", "multiclass")
    assert many.outputs == 100


def test_regression_is_standardised_with_the_labels_it_was_made_of():
    values = np.array([3.0, 5.5, -2.0, 7.25])
    target = infer_target([str(value) for value in values], "sequence")
    assert (target.mean, target.deviation) == (values.mean(), values.std())
    standardised = target.standardised(values)
    np.testing.assert_allclose([standardised.mean(), standardised.std()], [0, 1], atol=1e-7)
    np.testing.assert_allclose(target.probabilities(standardised[:, None]), values, rtol=1e-6)
    assert target.encode("5.5", 10) == np.float32(5.5)


@pytest.mark.parametrize(
    ("labels", "level", "kind", "message"),
    [
        (["M", "M"], "sequence", "auto", "every label is 'M'"),
        (["HHH", "HH"], "residue", "auto", "every label is 'H'"),
        (["", "."], "sequence", "auto", "no record has a label"),
        (["2.5", "2.5"], "sequence", "regression", "all are 2.5"),
        (["M", "S"], "sequence", "regression", "none is a number"),
        (["a", "b", "c"], "sequence", "binary", "3 classes are not binary"),
        ([f"P{number:05}" for number in range(100)], "sequence", "auto", "too many to be classes"),
    ],
)
def test_labels_that_teach_nothing_are_refused(labels, level, kind, message):
    with pytest.raises(InputError, match=message):
        infer_target(labels, level, kind)


def test_a_kind_that_a_level_has_not_is_refused():
    with pytest.raises(UsageError, match="regression does not exist for pairs"):
        infer_target(["1-2"], "pairs", "regression")
    with pytest.raises(UsageError, match="multilabel does not exist for residue"):
        Target("residue", "multilabel", ("a", "b"))
    with pytest.raises(UsageError, match="binary does not go with 3 classes"):
        Target("sequence", "binary", ("a", "b", "c"))


CLASSES = Target("sequence", "binary", ("M", "S"))
LETTERS = Target("residue", "multiclass", ("C", "E", "H"))


@pytest.mark.parametrize(
    ("target", "text", "length", "expected"),
    [
        (CLASSES, " S ", 9, 1),
        (CLASSES, "", 9, -1),
        (Target("sequence", "regression"), "-1.5", 9, -1.5),
        (Target("sequence", "regression"), "NaN", 9, np.nan),
        (Target("sequence", "multilabel", ("a", "b", "c")), "c|a", 9, [1, 0, 1]),
        (Target("sequence", "multilabel", ("a", "b", "c")), "|", 9, [0, 0, 0]),
        (Target("sequence", "multilabel", ("a", "b", "c")), "", 9, [-1, -1, -1]),
        (LETTERS, "HEC.H", 5, [2, 1, 0, -1, 2]),
        (LETTERS, "H E C", 3, [2, 1, 0]),
        (Target("residue", "regression"), "1 nan;-2.5", 3, [1, np.nan, -2.5]),
        (Target("residue", "regression"), "4", 1, [4]),
        (Target("residue", "binary", ("-", "D"), unknown="?"), "D-?", 3, [1, 0, -1]),
        (Target("pairs", "binary", ("apart", "touching")), "3-17 20-5", 20, [[2, 16], [4, 19]]),
        (Target("pairs", "binary", ("apart", "touching")), "", 20, np.empty((0, 2))),
    ],
)
def test_a_label_becomes_numbers(target, text, length, expected):
    encoded = target.encode(text, length)
    np.testing.assert_array_equal(encoded, expected)
    assert encoded.dtype == (np.float32 if target.kind == "regression" else np.int64)


@pytest.mark.parametrize(
    ("target", "text", "message"),
    [
        (CLASSES, "T", "table.csv row 3: the label 'T' is no class. The classes are M, S."),
        (Target("sequence", "regression"), "high", "table.csv row 3: the label 'high' is no number"),
        (Target("sequence", "regression"), "inf", "table.csv row 3: the label 'inf' is no number"),
        (LETTERS, "HEC", "table.csv row 3: 3 labels for 4 residues"),
        (LETTERS, "HEXC", "table.csv row 3: the label 'X' is no class"),
        (Target("pairs", "binary", ("apart", "touching")), "1-5", "the pair 1-5 is not in a protein of 4"),
        (Target("pairs", "binary", ("apart", "touching")), "0-2", "the pair 0-2 is not in a protein of 4"),
        (Target("pairs", "binary", ("apart", "touching")), "2-2", "the pair 2-2 is not in a protein of 4"),
        (Target("pairs", "binary", ("apart", "touching")), "1:2", "'1:2' is no pair of residues"),
    ],
)
def test_a_label_that_cannot_be_read_says_where(target, text, message):
    with pytest.raises(InputError) as raised:
        target.encode(text, 4, where="table.csv row 3")
    assert message in str(raised.value)
    assert str(raised.value).startswith("table.csv row 3: ")


def test_probabilities_follow_the_order_of_the_classes():
    logits = np.random.default_rng(0).normal(size=(5, 7, 3)) * 4
    one = logits[..., :1]
    binary = CLASSES.probabilities(one)
    np.testing.assert_allclose(binary[..., 1], 1 / (1 + np.exp(-one[..., 0])))
    np.testing.assert_allclose(binary.sum(axis=-1), 1)
    softmax = Target("sequence", "multiclass", ("a", "b", "c")).probabilities(logits)
    np.testing.assert_allclose(softmax, np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True))
    each = Target("sequence", "multilabel", ("a", "b", "c")).probabilities(logits)
    np.testing.assert_allclose(each, 1 / (1 + np.exp(-logits)))
    values = Target("sequence", "regression", mean=3, deviation=2).probabilities(one)
    np.testing.assert_allclose(values, one[..., 0] * 2 + 3)


def test_probabilities_of_far_logits_are_finite_and_keep_their_digits():
    far = np.array([[1000.0], [-1000.0], [-30.0]])
    binary = CLASSES.probabilities(far)
    np.testing.assert_array_equal(binary[:2], [[0, 1], [1, 0]])
    assert binary[2, 1] == pytest.approx(np.exp(-30), rel=1e-9)
    three = Target("sequence", "multiclass", ("a", "b", "c")).probabilities(np.array([[1e4, 0, -1e4]]))
    np.testing.assert_array_equal(three, [[1, 0, 0]])


@pytest.mark.parametrize(
    "target", [CLASSES, LETTERS, Target("residue", "regression", mean=2.5, deviation=0.1, unknown="")]
)
def test_a_target_survives_json(target):
    import json

    assert Target.from_json(json.loads(json.dumps(target.as_json()))) == target


@pytest.mark.parametrize("stored", [{}, {"level": "residue"}, {**CLASSES.as_json(), "colour": "red"}])
def test_json_that_is_no_target_is_refused(stored):
    with pytest.raises(InputError, match="this is no target"):
        Target.from_json(stored)
