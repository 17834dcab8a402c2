"""Figures and tables that the predictions of proteins, of residues and of pairs share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.report.blocks import Illustration, Paragraph, Part, Table
from chaperonin.report.prediction_figures import (
    Line,
    Reliability,
    confusion_matrix,
    rate_curves,
    reliability_diagram,
)
from chaperonin.report.prediction_table import FILE, PredictionTable
from chaperonin.report.style import as_svg
from chaperonin.report.wording import shortened

MOST_ERRORS, MOST_CLASSES, MOST_CURVES = 20, 24, 10
SURENESS = (
    "How often answers are right that the model is so sure of; on the dashed line it is as good as its word."
)
"""What a reliability diagram shows of answers."""


def confusion_part(
    truth: NDArray[np.int64], called: NDArray[np.int64], classes: Sequence[str], of: str
) -> Part:
    """Numbers of the true and of the predicted classes as a matrix of counts."""
    size = len(classes)
    if size > MOST_CLASSES:
        return Paragraph(f"{size} classes are too many for a confusion matrix; {FILE} has every prediction.")
    counts = np.bincount(truth * size + called, minlength=size * size).reshape(size, size)
    caption = (
        f"{of[0].upper()}{of[1:]}: rows are the truth, columns the prediction; the darker, the larger its share of "
        "the row."
    )
    svg = as_svg(confusion_matrix(counts, classes), "confusion", f"Confusion matrix: {caption}")
    return Illustration(svg, caption)


def rate_parts(classes: Mapping[str, Mapping[str, Any]], of: str) -> list[Part]:
    """ROC and precision-recall curves from `tasks.curves.rate_curve`, of the largest classes; `of` what is counted."""
    drawn = sorted(
        ((name, own) for name, own in classes.items() if own), key=lambda one: -one[1]["prevalence"]
    )
    if not drawn:
        return []
    roc, recall = [], []
    for name, own in drawn[:MOST_CURVES]:
        false, true, precision = (
            np.array(own[key]) for key in ("false_positive_rate", "true_positive_rate", "precision")
        )
        roc.append(Line(f"{shortened(name, 18)} {own['auc']:.3f}", false, true))
        recall.append(Line(f"{shortened(name, 18)} {own['prevalence']:.1%}", true[1:], precision[1:]))
    name, own = drawn[0]
    left = f"ROC curves of {of}, with their areas."
    right = f"Precision and recall of each class, with its share of {of}, which is the precision of guessing."
    chance = float("nan")  # each class has its own
    if len(drawn) == 1:
        chance = own["prevalence"]
        left = f"ROC curve of {name} in {of}, area {own['auc']:.3f}."
        right = (
            f"Precision and recall of {name}, area {own['pr_auc']:.3f}; guessing has a precision of "
            f"{chance:.3g} (dashed)."
        )
    figure = rate_curves(roc, "false positive rate", "true positive rate", None)
    other = rate_curves(recall, "recall", "precision", chance)
    return [
        Illustration(as_svg(figure, "roc", f"Line chart: {left}"), left),
        Illustration(as_svg(other, "recall", f"Line chart: {right}"), right),
    ]


def binned(
    label: str, counts: NDArray[np.int64], sure: NDArray[np.float64], right: NDArray[np.float64]
) -> Reliability:
    """A curve of bins of confidence whose name says how far off it is."""
    error = float(np.nansum(np.abs(sure - right) * counts) / max(1, counts.sum()))
    return Reliability(f"{label}: off by {error:.3f}", sure, right, counts)


def reliability_part(curves: Sequence[Reliability], caption: str) -> Part:
    """How sure the model was, and how often it was right."""
    svg = as_svg(reliability_diagram(curves), "reliability", f"Line chart: {caption}")
    return Illustration(svg, caption)


def filled(table: Table) -> Table:
    """The table without columns that have no entry."""
    keep = [place for place in range(len(table.columns)) if any(row[place] for row in table.rows)] or [0]
    numeric = frozenset(new for new, old in enumerate(keep) if old in table.numeric)
    rows = [tuple(row[place] for place in keep) for row in table.rows]
    return Table(
        table.caption, [table.columns[place] for place in keep], rows, numeric, table.note, table.wide
    )


def distance_text(table: PredictionTable, row: int) -> str:
    """How far a protein is from the training set."""
    far = float(table.distance[row])
    if np.isfinite(far):
        return f"{far:.2f}" + (" (out)" if far > 1 else "")
    return "out" if table.in_domain[row] is False else ""
