import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from chaperonin.tasks.metrics import _figures, bootstrap, contact_figures, metrics, undefined

CLASSES = ("alpha", "beta", "gamma")


def predictions(count: int, classes: int, seed: int = 0, skill: float = 1.0):
    """True classes, and probabilities with ties that know something of them."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(classes, size=count)
    logits = generator.normal(size=(count, classes)) + skill * np.eye(classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rounded = probabilities.round(2) + 1e-3
    return truth, rounded / rounded.sum(axis=1, keepdims=True)


def expected(truth, probabilities, classes):
    """scikit-learn's figures of a single-label prediction."""
    found = probabilities.argmax(axis=1)
    average = reference.f1_score(truth, found, average="macro")
    precision, recall, f1, support = reference.precision_recall_fscore_support(truth, found, zero_division=0)
    one_hot = np.eye(len(classes))[truth]
    sides = [1] if len(classes) == 2 else range(len(classes))
    figures = {
        "accuracy": reference.accuracy_score(truth, found),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, found),
        "mcc": reference.matthews_corrcoef(truth, found),
        "f1": average,
        "f1_weighted": reference.f1_score(truth, found, average="weighted"),
        "auc": np.mean([reference.roc_auc_score(one_hot[:, k], probabilities[:, k]) for k in sides]),
        "pr_auc": np.mean(
            [reference.average_precision_score(one_hot[:, k], probabilities[:, k]) for k in sides]
        ),
    }
    for number, name in enumerate(classes):
        figures[f"precision/{name}"], figures[f"recall/{name}"] = precision[number], recall[number]
        figures[f"f1/{name}"], figures[f"support/{name}"] = f1[number], support[number]
    return figures


@pytest.mark.parametrize("classes", [CLASSES[:2], CLASSES])
def test_single_label_figures_are_those_of_scikit_learn(classes):
    truth, probabilities = predictions(300, len(classes))
    kind = "binary" if len(classes) == 2 else "multiclass"
    found = metrics(kind, "sequence", truth, probabilities, classes)
    assert found == pytest.approx(expected(truth, probabilities, classes), abs=1e-12)


@pytest.mark.parametrize("classes", [CLASSES[:2], CLASSES])
def test_a_bootstrap_draw_is_the_figure_of_the_drawn_proteins(classes):
    truth, probabilities = predictions(80, len(classes), skill=0.5)
    drawn = np.random.default_rng(1).integers(80, size=(5, 80))
    weights = np.stack([np.bincount(some, minlength=80) for some in drawn]).astype(float)
    kind = "binary" if len(classes) == 2 else "multiclass"
    found = _figures(kind, "sequence", truth, probabilities, classes, weights)
    for number, some in enumerate(drawn):
        wanted = expected(truth[some], probabilities[some], classes)
        wanted = {name: value for name, value in wanted.items() if not name.startswith("support")}
        assert {name: value[number] for name, value in found.items()} == pytest.approx(wanted, abs=1e-12)


def test_regression_figures_are_those_of_scipy_also_in_a_draw():
    generator = np.random.default_rng(2)
    truth = (generator.normal(size=120) * 8 + 50).round()
    predicted = truth + generator.normal(size=120) * 6
    drawn = generator.integers(120, size=120)
    weights = np.stack((np.ones(120), np.bincount(drawn, minlength=120)))
    found = _figures("regression", "sequence", truth, predicted, (), weights)
    for number, some in enumerate((np.arange(120), drawn)):
        x, y = truth[some], predicted[some]
        wanted = {
            "rmse": reference.root_mean_squared_error(x, y),
            "mae": reference.mean_absolute_error(x, y),
            "spearman": stats.spearmanr(x, y).statistic,
            "pearson": stats.pearsonr(x, y).statistic,
            "r2": reference.r2_score(x, y),
        }
        assert {name: value[number] for name, value in found.items()} == pytest.approx(wanted, abs=1e-9)


def test_multilabel_figures_are_those_of_scikit_learn():
    generator = np.random.default_rng(3)
    truth = (generator.random((200, 3)) < [0.5, 0.3, 0.2]).astype(np.int64)
    scores = np.clip(truth * 0.3 + generator.random((200, 3)) * 0.7, 0, 1)
    found = metrics("multilabel", "sequence", truth, scores, CLASSES)
    chosen = scores >= 0.5
    wanted = {
        "f1": reference.f1_score(truth, chosen, average="macro"),
        "f1_micro": reference.f1_score(truth, chosen, average="micro"),
        "jaccard": reference.jaccard_score(truth, chosen, average="samples", zero_division=1),
        "accuracy": reference.accuracy_score(truth, chosen),
        "mcc": np.mean([reference.matthews_corrcoef(truth[:, k], chosen[:, k]) for k in range(3)]),
        "auc": reference.roc_auc_score(truth, scores),
        "pr_auc": reference.average_precision_score(truth, scores),
        "mcc/beta": reference.matthews_corrcoef(truth[:, 1], chosen[:, 1]),
        "recall/gamma": reference.recall_score(truth[:, 2], chosen[:, 2]),
        "support/alpha": truth[:, 0].sum(),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)


def test_residues_are_pooled_without_the_unknown_ones():
    truth, probabilities = predictions(60, 3)
    unknown = np.arange(60) % 7 == 0
    hidden = np.where(unknown, -1, truth)
    cuts = [10, 35]
    found = metrics("multiclass", "residue", np.split(hidden, cuts), np.split(probabilities, cuts), CLASSES)
    wanted = metrics("multiclass", "sequence", truth[~unknown], probabilities[~unknown], CLASSES)
    assert found == pytest.approx(wanted, abs=1e-12)


def test_residues_are_drawn_with_their_protein():
    """Residues of a protein that are copies of one another add nothing: intervals do not shrink."""
    truth, probabilities = predictions(60, 3)
    once = bootstrap("multiclass", "sequence", truth, probabilities, CLASSES, draws=200)
    copies = (
        [np.repeat(label, 50) for label in truth],
        [np.repeat(p[None], 50, axis=0) for p in probabilities],
    )
    many = bootstrap("multiclass", "residue", *copies, CLASSES, draws=200)
    assert many["accuracy"] == pytest.approx(once["accuracy"])
    assert many["auc"] == pytest.approx(once["auc"])


def test_a_constant_per_fold_ranks_nothing_however_the_constants_differ():
    """Leaving examples out makes the share of the rest fall where theirs is high: pooled, that is a ranking."""
    generator = np.random.default_rng(5)
    truth, folds = (generator.random(400) < 0.4).astype(np.int64), np.arange(400) % 8
    share = np.array([truth[folds != number].mean() for number in range(8)])[folds]
    said = np.stack((1 - share, share), axis=1)
    assert metrics("binary", "sequence", truth, said, ("S", "M"))["auc"] < 0.49
    assert metrics("binary", "sequence", truth, said, ("S", "M"), folds)["auc"] == 0.5
    assert bootstrap("binary", "sequence", truth, said, ("S", "M"), 50, folds=folds)["auc"] == (0.5, 0.5)
    values = generator.normal(size=400)
    means = np.array([values[folds != number].mean() for number in range(8)])[folds]
    assert metrics("regression", "sequence", values, means)["pearson"] < 0
    assert "pearson" not in metrics("regression", "sequence", values, means, (), folds)


def test_ranked_figures_of_folds_are_weighted_means_and_the_others_are_of_all():
    truth, probabilities = predictions(90, 3)
    folds = np.repeat([4, 7], [30, 60])
    cuts = [5, 22, 30, 61]  # proteins of residues
    found = metrics("multiclass", "sequence", truth, probabilities, CLASSES, folds)
    apart = [
        metrics("multiclass", "sequence", truth[own], probabilities[own], CLASSES)
        for own in (folds == 4, folds == 7)
    ]
    for name in ("auc", "pr_auc"):
        assert found[name] == pytest.approx((30 * apart[0][name] + 60 * apart[1][name]) / 90, abs=1e-12)
    plain = metrics("multiclass", "sequence", truth, probabilities, CLASSES)
    assert {name: found[name] for name in plain if "auc" not in name} == {
        name: value for name, value in plain.items() if "auc" not in name
    }
    residues = metrics(
        "multiclass",
        "residue",
        np.split(truth, cuts),
        np.split(probabilities, cuts),
        CLASSES,
        np.arange(5) // 3,
    )
    assert residues["auc"] == pytest.approx((3 * apart[0]["auc"] + 2 * apart[1]["auc"]) / 5, abs=1e-12)


def test_what_is_not_defined_is_absent_and_noted():
    truth, probabilities = np.array([0, 0, 0]), np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
    found = metrics("binary", "sequence", truth, probabilities, ("S", "M"))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["mcc"] == 0
    assert not {"auc", "pr_auc", "recall/M"} & set(found)
    assert "no auc and pr_auc for S, M" in undefined("binary", "sequence", truth, ("S", "M"))[0]
    assert set(metrics("regression", "sequence", np.ones(4), np.arange(4.0))) == {"rmse", "mae"}
    assert metrics("binary", "sequence", np.array([-1, -1]), probabilities[:2], ("S", "M"))["support/S"] == 0
    assert metrics("binary", "sequence", truth[:0], probabilities[:0], ("S", "M")) == {}


def test_a_class_without_examples_is_left_out_of_the_mean_area():
    truth, probabilities = predictions(100, 3)
    keep = truth != 1
    found = metrics("multiclass", "sequence", truth[keep], probabilities[keep], CLASSES)
    sides = [reference.roc_auc_score(truth[keep] == k, probabilities[keep, k]) for k in (0, 2)]
    assert found["auc"] == pytest.approx(np.mean(sides))
    assert "beta" in undefined("multiclass", "sequence", truth[keep], CLASSES)[0]


@given(st.integers(0, 10_000))
def test_accuracy_interval_covers_the_figure_and_narrows_with_proteins(seed):
    widths = []
    for count in (50, 2000):
        truth, probabilities = predictions(count, 2, seed)
        low, high = bootstrap("binary", "sequence", truth, probabilities, ("S", "M"), draws=100)["accuracy"]
        assert low <= metrics("binary", "sequence", truth, probabilities, ("S", "M"))["accuracy"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_bootstrap_interval_of_accuracy_is_the_binomial_one():
    truth = np.zeros(1000, dtype=np.int64)
    right = np.arange(1000) < 800
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    low, high = bootstrap("binary", "sequence", truth, probabilities, ("S", "M"), draws=2000)["accuracy"]
    assert (low, high) == pytest.approx(stats.binom(1000, 0.8).interval(0.95) / np.array(1000.0), abs=0.004)


def test_a_thousand_draws_of_two_thousand_proteins_take_seconds():
    truth, probabilities = predictions(2000, 3)
    start = time.process_time()
    bootstrap("multiclass", "sequence", truth, probabilities, CLASSES)
    assert time.process_time() - start < 20


def test_contact_figures_of_a_perfect_and_an_inverted_map():
    pairs = np.array([[i, i + 30] for i in range(10)] + [[i, i + 2] for i in range(40)])
    scores = np.random.default_rng(0).random((50, 50)) * 0.1
    scores[pairs[:10, 0], pairs[:10, 1]] = 1.0
    figures = contact_figures(pairs, scores)
    assert figures["precision at L/5"] == figures["long precision at L/5"] == figures["auc"] == 1
    assert figures["precision at L"] == pytest.approx(10 / 50)
    assert figures["precision at L/2"] == pytest.approx(10 / 25)
    worst = contact_figures(pairs, 1 - scores)
    assert worst["precision at L/5"] == worst["auc"] == 0


def test_contact_figures_read_probabilities_of_two_classes_and_average_over_proteins():
    generator = np.random.default_rng(5)
    maps = [generator.random((40, 40)), generator.random((60, 60))]
    pairs = [np.array([[0, 10], [30, 3]]), np.array([[5, 50]])]
    found = metrics(
        "binary", "pairs", pairs, [np.stack((1 - m, m), axis=2) for m in maps], ("apart", "touching")
    )
    each = [contact_figures(*both) for both in zip(pairs, maps, strict=True)]
    assert found == pytest.approx({name: (each[0][name] + each[1][name]) / 2 for name in each[0]})
    empty = metrics("binary", "pairs", [*pairs, np.empty((0, 2), dtype=np.int64)], [*maps, maps[0]])
    assert empty == pytest.approx(found)
    low, high = bootstrap("binary", "pairs", pairs, maps, draws=100)["auc"]
    assert low == pytest.approx(min(one["auc"] for one in each))
    assert high == pytest.approx(max(one["auc"] for one in each))
