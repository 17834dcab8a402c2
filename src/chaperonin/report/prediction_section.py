"""The part of the report about predictions.csv: what was predicted, how it compares with the truth, what went wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaperonin.report.blocks import Illustration, Paragraph, Part, Section, Table
from chaperonin.report.files import read_mapping
from chaperonin.report.prediction_figures import (
    Line,
    Reliability,
    confusion_matrix,
    distance_histogram,
    probability_histogram,
    rate_curves,
    reliability_diagram,
    residual_histogram,
    value_scatter,
)
from chaperonin.report.prediction_table import FILE, PredictionTable, read_predictions, target_of
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count, mapping, measure, number, shortened
from chaperonin.tasks.calibration import confidences, reliability, uncalibrated

METRICS_FILE = "metrics.json"
MOST_ERRORS, MOST_CLASSES, MOST_CURVES = 20, 24, 10
_CURVE_POINTS = 400


def prediction_section(outdir: Path) -> Section | None:
    """None where nothing was predicted."""
    metrics = read_mapping(outdir / METRICS_FILE)
    table = read_predictions(outdir, target_of(metrics))
    if table is None or not len(table):
        return None
    judged, part = table.judged()
    parts: list[Part] = []
    if len(judged):
        of = f"{count(len(judged), part + ' protein' if part else 'protein')}"
        parts += _VIEWS[table.form](judged, of, mapping(metrics, "calibration"))
    parts += _overview(table, has_truth=len(judged) > 0)
    reading = [entry for entry in _READING if len(judged) or entry[0] in _WITHOUT_TRUTH]
    title = "Predictions and truth" if len(judged) else "Predictions"
    return Section("predictions", title, parts, reading)


def _overview(table: PredictionTable, has_truth: bool) -> list[Part]:
    """What needs no truth: how many of each class, how sure, how far from the training set."""
    parts: list[Part] = []
    outside = [row for row, known in enumerate(table.in_domain) if known is False]
    if table.form in ("single", "several"):
        parts.append(_labels(table))
        if not has_truth:
            caption = f"How sure the model is of {count(len(table), 'answer')} (calibrated)."
            figure = probability_histogram(table.probability, "probability of the answer")
            parts.append(Illustration(as_svg(figure, "sureness", f"Histogram: {caption}"), caption))
    if table.form == "value" and not has_truth:
        parts.append(_values(table))
    known = table.distance[np.isfinite(table.distance)]
    if len(known) > 1:
        caption = f"Distance from the training set of {count(len(known), 'protein')}; {count(len(outside))} above 1."
        figure = distance_histogram(known)
        parts.append(Illustration(as_svg(figure, "distances", f"Histogram: {caption}"), caption))
    if outside and not has_truth:
        parts.append(_strangers(table, outside))
    return parts


def _labels(table: PredictionTable) -> Table:
    names = Counter(table.labels)
    rows = []
    for name, met in names.most_common(MOST_CLASSES):
        own = [row for row, label in enumerate(table.labels) if label == name]
        sure = float(np.nanmean(table.probability[own]))
        rows.append((shortened(name or "none", 48), count(met), f"{met / len(table):.1%}", f"{sure:.3f}"))
    note = f"{count(len(names) - len(rows), 'further label')}." if len(names) > len(rows) else ""
    return Table(
        "What was predicted",
        ("label", "proteins", "share", "mean probability"),
        rows,
        frozenset({1, 2, 3}),
        note,
    )


def _values(table: PredictionTable) -> Table:
    shares = (
        ("lowest", 0.0),
        ("5 % are lower", 0.05),
        ("median", 0.5),
        ("95 % are lower", 0.95),
        ("highest", 1.0),
    )
    rows = [(name, measure(float(np.quantile(table.probability, share)))) for name, share in shares]
    return Table("What was predicted", ("statistic", "value"), rows, frozenset({1}))


def _strangers(table: PredictionTable, rows: Sequence[int]) -> Table:
    order = sorted(rows, key=lambda row: -table.distance[row])[:MOST_ERRORS]
    cells = [
        (shortened(table.ids[row], 48), shortened(table.labels[row], 40) or measure(float(table.probability[row])),
         measure(float(table.distance[row])))
        for row in order
    ]  # fmt: skip
    rest = len(rows) - len(order)
    note = f"{count(rest, 'further protein')} in {FILE}." if rest else ""
    return Table(
        "Out of domain, farthest first", ("id", "predicted", "distance"), cells, frozenset({2}), note
    )


def _single(table: PredictionTable, of: str, calibration: Mapping[str, object]) -> list[Part]:
    truth = table.true_numbers()
    known = np.flatnonzero(truth >= 0)
    if not len(known):
        return []
    table, truth = table.chosen(known), truth[known]
    called = table.shares.argmax(axis=1)
    parts: list[Part] = [_confusion(truth, called, table.classes, of)]
    places = range(len(table.classes)) if len(table.classes) > 2 else [len(table.classes) - 1]
    columns = [(table.classes[place], table.shares[:, place], truth == place) for place in places]
    parts += _curves(columns)
    parts += _reliability(table.shares, truth, "single", calibration)
    parts.append(_errors(table, called != truth, table.probability))
    return [part for part in parts if part is not None]


def _several(table: PredictionTable, of: str, calibration: Mapping[str, object]) -> list[Part]:
    truth = table.true_sets()
    called = table.shares >= 0.5
    columns = [(name, table.shares[:, place], truth[:, place]) for place, name in enumerate(table.classes)]
    parts: list[Part] = _curves(columns)
    parts += _reliability(table.shares, truth.astype(np.int64), "several", calibration)
    wrong = (truth != called).any(axis=1)
    surprise = np.abs(table.shares - truth).max(axis=1)
    parts.append(_errors(table, wrong, surprise, "farthest off"))
    return parts


def _numbers(table: PredictionTable, of: str, calibration: Mapping[str, object]) -> list[Part]:
    truth, predicted = table.true_values(), table.probability
    if len(truth) < 2:
        return []
    errors = predicted - truth
    names = [
        f"{one}: truth {a:.4g}, predicted {b:.4g}"
        for one, a, b in zip(table.ids, truth, predicted, strict=True)
    ]
    caption = f"Predictions for {of}; on the dashed line they equal the truth."
    scatter = as_svg(value_scatter(truth, predicted, names), "values", f"Scatter plot: {caption}")
    other = f"Errors of {of}: {np.abs(errors).mean():.3g} in the mean, without sign."
    residuals = as_svg(residual_histogram(errors), "residuals", f"Histogram: {other}")
    order = np.argsort(-np.abs(errors), kind="stable")[:MOST_ERRORS]
    rows = [
        (shortened(table.ids[row], 48), measure(float(truth[row])), measure(float(predicted[row])),
         f"{errors[row]:+.3g}", table.lengths[row], _distance(table, row))
        for row in order
    ]  # fmt: skip
    columns = ("id", "truth", "predicted", "error", "length", "distance")
    listing = Table("Errors worth reading: the largest", columns, rows, frozenset({1, 2, 3, 4, 5}), wide=True)
    return [Illustration(scatter, caption), Illustration(residuals, other), _filled(listing)]


def _strings(table: PredictionTable, of: str, calibration: Mapping[str, object]) -> list[Part]:
    """A letter per residue: residues counted by true and predicted letter."""
    if table.level == "pairs":
        return []
    classes = table.classes or tuple(
        sorted({letter for text in table.truth + table.labels for letter in text})
    )
    if len(classes) < 2 or len(classes) > MOST_CLASSES or max(map(len, classes)) > 1:
        return []
    places = {name: place for place, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    worst = []
    for row, (truth, label) in enumerate(zip(table.truth, table.labels, strict=True)):
        pairs = [(a, b) for a, b in zip(truth, label, strict=False) if a in places and b in places]
        for one, other in pairs:
            counts[places[one], places[other]] += 1
        if pairs:
            right = sum(one == other for one, other in pairs) / len(pairs)
            worst.append((right, table.ids[row], len(pairs), _distance(table, row)))
    caption = f"Residues of {of}: rows are the truth, columns the prediction."
    svg = as_svg(confusion_matrix(counts, classes), "confusion", f"Confusion matrix: {caption}")
    rows = [
        (shortened(id, 48), f"{right:.3f}", count(n), far)
        for right, id, n, far in sorted(worst)[:MOST_ERRORS]
    ]
    columns = ("id", "residues right", "residues", "distance")
    listing = Table("Proteins worth reading: the fewest residues right", columns, rows, frozenset({1, 2, 3}))
    return [Illustration(svg, caption), _filled(listing)]


_VIEWS = {"single": _single, "several": _several, "value": _numbers, "string": _strings}


def _confusion(truth: NDArray[np.int64], called: NDArray[np.int64], classes: Sequence[str], of: str) -> Part:
    size = len(classes)
    counts = np.bincount(truth * size + called, minlength=size * size).reshape(size, size)
    caption = (
        f"{of}: rows are the truth, columns the prediction; the darker, the larger its share of the row."
    )
    if size > MOST_CLASSES:
        return Paragraph(f"{size} classes are too many for a confusion matrix; {FILE} has every prediction.")
    svg = as_svg(confusion_matrix(counts, classes), "confusion", f"Confusion matrix: {caption}")
    return Illustration(svg, caption[0].upper() + caption[1:])


def _curves(columns: Sequence[tuple[str, NDArray[np.float64], NDArray[np.bool_]]]) -> list[Part]:
    """ROC and precision-recall curves of the classes that occur and do not fill everything."""
    drawn = [one for one in columns if 0 < one[2].sum() < len(one[2])]
    drawn = sorted(drawn, key=lambda one: -int(one[2].sum()))[:MOST_CURVES]
    if not drawn:
        return []
    roc, recall = [], []
    for name, scores, positive in drawn:
        false, true, precision = rates(scores, positive)
        area = float(np.trapezoid(true, false))
        roc.append(Line(f"{shortened(name, 18)} {area:.3f}", false, true))
        recall.append(Line(f"{shortened(name, 18)} {positive.mean():.1%}", true[1:], precision[1:]))
    single = len(drawn) == 1
    guess = float(drawn[0][2].mean()) if single else None
    left = (
        f"ROC curve of {drawn[0][0]}, area {roc[0].label.split()[-1]}."
        if single
        else "ROC curves, with their areas."
    )
    right = (
        f"Precision and recall of {drawn[0][0]}; guessing has a precision of {guess:.3f} (dashed)."
        if single
        else "Precision and recall of each class, with its share of the proteins, which is the precision of guessing."
    )
    chance = guess if single else 0.0
    return [
        Illustration(
            as_svg(
                rate_curves(roc, "false positive rate", "true positive rate", None),
                "roc",
                f"Line chart: {left}",
            ),
            left,
        ),
        Illustration(
            as_svg(rate_curves(recall, "recall", "precision", chance), "recall", f"Line chart: {right}"),
            right,
        ),
    ]


def rates(
    scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """False positive rate, true positive rate and precision at every threshold, from the highest score down.

    The first point is (0, 0, 1): nothing is called positive.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.cumsum(positive[order])[ends].astype(np.float64)
    false = ends + 1 - true
    keep = np.unique(np.linspace(0, len(ends) - 1, min(len(ends), _CURVE_POINTS)).astype(np.int64))
    true, false = true[keep], false[keep]
    precision = np.concatenate([[1.0], true / (true + false)])
    wrong = max(1, int((~positive).sum()))
    return np.append(0, false / wrong), np.append(0, true / max(1, int(positive.sum()))), precision


def _reliability(
    shares: NDArray[np.float64], truth: NDArray[np.int64], form: str, calibration: Mapping[str, object]
) -> list[Part]:
    kind = "multilabel" if form == "several" else "multiclass"
    heats = _temperatures(calibration, shares.shape[1] if kind == "multilabel" else 1)
    curves = []
    if heats is not None and any(abs(heat - 1) > 1e-6 for heat in heats):
        before = uncalibrated(shares, heats, kind)  # type: ignore[arg-type]
        curves.append(_curve("before calibration", before, truth, kind))
    curves.append(_curve("after calibration" if curves else "as predicted", shares, truth, kind))
    caption = "How often answers are right that the model is so sure of; on the dashed line it is as good as its word."
    if heats is not None and len(heats) == 1:
        caption += f" Temperature {heats[0]:.3g}."
    svg = as_svg(reliability_diagram(curves), "reliability", f"Line chart: {caption}")
    return [Illustration(svg, caption)]


def _curve(label: str, shares: NDArray[np.float64], truth: NDArray[np.int64], kind: str) -> Reliability:
    sureness, holds = confidences(shares, truth, kind)  # type: ignore[arg-type]
    counts, sure, right = reliability(sureness, holds, 10)
    error = float(np.nansum(np.abs(sure - right) * counts) / max(1, counts.sum()))
    return Reliability(f"{label}: off by {error:.3f}", sure, right, counts)


def _temperatures(calibration: Mapping[str, object], wanted: int) -> tuple[float, ...] | None:
    found = calibration.get("temperature")
    single = number(calibration, "temperature")
    if single is not None:
        return (single,)
    if (
        isinstance(found, list)
        and len(found) == wanted
        and all(isinstance(one, int | float) for one in found)
    ):
        return tuple(map(float, found))
    return None


def _errors(
    table: PredictionTable, wrong: NDArray[np.bool_], order: NDArray[np.float64], which: str = "surest"
) -> Table:
    rows = np.flatnonzero(wrong)
    chosen = rows[np.argsort(-order[rows], kind="stable")][:MOST_ERRORS]
    cells = [
        (shortened(table.ids[row], 48), shortened(table.truth[row], 60), shortened(table.labels[row] or "none", 60),
         f"{table.probability[row]:.3f}", table.lengths[row], _distance(table, row))
        for row in chosen
    ]  # fmt: skip
    columns = ("id", "truth", "predicted", "probability", "length", "distance")
    note = f"{count(len(rows), 'error')} among {count(len(table), 'protein')}."
    return _filled(
        Table(f"Errors worth reading: the {which}", columns, cells, frozenset({3, 4, 5}), note, wide=True)
    )


def _filled(table: Table) -> Table:
    """The table without columns that have no entry."""
    keep = [place for place in range(len(table.columns)) if any(row[place] for row in table.rows)] or [0]
    numeric = frozenset(new for new, old in enumerate(keep) if old in table.numeric)
    rows = [tuple(row[place] for place in keep) for row in table.rows]
    return Table(
        table.caption, [table.columns[place] for place in keep], rows, numeric, table.note, table.wide
    )


def _distance(table: PredictionTable, row: int) -> str:
    far = float(table.distance[row])
    if np.isfinite(far):
        return f"{far:.2f}" + (" (out)" if far > 1 else "")
    return "out" if table.in_domain[row] is False else ""


_WITHOUT_TRUTH = ("Probability", "Out of domain")
_READING = (
    (
        "Probability",
        "Calibrated on proteins that were not trained on: of the answers given with 0.8, about 80 % are right, on "
        "proteins mixed as those were. Where the classes are mixed differently, probabilities shift.",
    ),
    (
        "Out of domain",
        "The distance compares a protein's mean embedding with those of the training set. Above 1 it is stranger than "
        "99 of 100 held-out proteins, and its prediction is a guess. Below 1 is no proof: what the base model does not "
        "see is not measured.",
    ),
    (
        "Calibration",
        "Across: how sure the model was. Up: how often it was right. Points below the dashed line: too sure of itself; "
        "above it: too modest. `Off by` is the mean distance from the line (expected calibration error).",
    ),
    (
        "ROC and precision",
        "The ROC curve does not change with the shares of the classes, precision does: where the positive class is "
        "rare, read the second curve. The dashed lines are guessing.",
    ),
    (
        "Errors worth reading",
        "The errors that the model was surest of. They are often wrong labels, fragments, or proteins with two homes: "
        "reading them teaches more than one more decimal.",
    ),
)
