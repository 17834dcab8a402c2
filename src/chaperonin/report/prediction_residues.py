"""Predictions of residues and of pairs of them beside the truth, with the curves that metrics.json holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.report.blocks import Illustration, Part, Table
from chaperonin.report.prediction_figures import value_scatter
from chaperonin.report.prediction_parts import (
    MOST_ERRORS,
    SURENESS,
    binned,
    confusion_part,
    distance_text,
    filled,
    rate_parts,
    reliability_part,
)
from chaperonin.report.prediction_table import PredictionTable
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count, mapping, measure, shortened
from chaperonin.tasks.labels import number_in, residue_labels
from chaperonin.tasks.metrics import SHORT_RANGE


def residue_view(table: PredictionTable, of: str, metrics: Mapping[str, object]) -> list[Part]:
    """Residues: matrix, curves, calibration, or a scatter plot; then the proteins that are worst predicted."""
    curves: Mapping[str, Any] = mapping(metrics, "curves")
    if table.level == "pairs":
        return [*_pair_curves(curves), *_least_alike(table)]
    if mapping(metrics, "target").get("kind") == "regression":
        return [*_scatter(curves), *_farthest_off(table)]
    called = _called(table)
    if not any(map(len, called)):
        return []
    truth, said = np.concatenate(called).T
    return [
        confusion_part(truth, said, table.classes, f"residues of {of}"),
        *_residue_curves(curves),
        *_fewest_right(table, called),
    ]


def _residue_curves(curves: Mapping[str, Any]) -> list[Part]:
    return _curves(curves, count(int(curves.get("count", 0)), "residue"), SURENESS)


def _pair_curves(curves: Mapping[str, Any]) -> list[Part]:
    pairs = count(int(curves.get("count", 0)), "pair")
    of = f"{pairs} at least {SHORT_RANGE} residues apart, all proteins together"
    caption = (
        "How often pairs touch that are said to with such a probability; on the dashed line just so often."
    )
    return _curves(curves, of, caption)


def _curves(curves: Mapping[str, Any], of: str, caption: str) -> list[Part]:
    """ROC, precision and recall, and calibration; nothing where metrics.json has no curves."""
    if "classes" not in curves:
        return []
    bins = curves["reliability"]
    sure, right = (np.array(bins[name], dtype=np.float64) for name in ("confidence", "right"))
    curve = binned("calibrated", np.array(bins["count"]), sure, right)
    caption = f"{caption} {curve.label[0].upper()}{curve.label[1:]}."
    return [*rate_parts(curves["classes"], of), reliability_part([curve], caption)]


def _scatter(curves: Mapping[str, Any]) -> list[Part]:
    values = curves.get("values")
    if not values:
        return []
    truth, predicted = np.array(values["truth"]), np.array(values["predicted"])
    some = f"{count(len(truth))} of " if len(truth) < curves["count"] else ""
    caption = (
        f"Predictions for {some}{count(curves['count'], 'residue')}; on the dashed line they equal the truth."
    )
    svg = as_svg(value_scatter(truth, predicted), "values", f"Scatter plot: {caption}")
    return [Illustration(svg, caption)]


def _called(table: PredictionTable) -> list[NDArray[np.int64]]:
    """Numbers of the true and of the predicted class `[residues, 2]` of each protein, where both are known."""
    places = {name: place for place, name in enumerate(table.classes)}
    has_letters = all(len(name) == 1 for name in table.classes)
    found = []
    for texts in zip(table.truth, table.labels, strict=True):
        rows = zip(*(residue_labels(text, has_letters) for text in texts), strict=False)
        known = [[places[name] for name in row] for row in rows if all(name in places for name in row)]
        found.append(np.array(known, dtype=np.int64).reshape(-1, 2))
    return found


def _fewest_right(table: PredictionTable, called: list[NDArray[np.int64]]) -> list[Part]:
    worst = sorted(
        (float((own[:, 0] == own[:, 1]).mean()), row) for row, own in enumerate(called) if len(own)
    )
    cells = [
        (shortened(table.ids[row], 48), f"{right:.3f}", count(len(called[row])), distance_text(table, row))
        for right, row in worst[:MOST_ERRORS]
    ]
    columns = ("id", "residues right", "residues", "distance")
    return _listed("the fewest residues right", columns, cells)


def _farthest_off(table: PredictionTable) -> list[Part]:
    worst = []
    for row, texts in enumerate(zip(table.truth, table.labels, strict=True)):
        pairs = zip(*(map(number_in, residue_labels(text, False)) for text in texts), strict=False)
        errors = [abs(one - other) for one, other in pairs if one is not None and other is not None]
        if errors:
            worst.append((-float(np.mean(errors)), row, len(errors)))
    cells = [
        (shortened(table.ids[row], 48), measure(-error), count(known), distance_text(table, row))
        for error, row, known in sorted(worst)[:MOST_ERRORS]
    ]
    return _listed("the largest mean error", ("id", "mean error", "residues", "distance"), cells)


def _least_alike(table: PredictionTable) -> list[Part]:
    """Proteins by the F1 of their predicted pairs against the true ones; of equals, the one with more pairs first."""
    worst = []
    for row in range(len(table)):
        true, said = _far_pairs(table.truth[row]), _far_pairs(table.labels[row])
        if true or said:
            number = len(true) + len(said)
            worst.append((2 * len(true & said) / number, -number, row, len(true), len(said)))
    cells = [
        (shortened(table.ids[row], 48), f"{f1:.3f}", count(true), count(said), table.lengths[row],
         distance_text(table, row))
        for f1, _, row, true, said in sorted(worst)[:MOST_ERRORS]
    ]  # fmt: skip
    columns = ("id", "F1 of pairs", "true pairs", "predicted pairs", "length", "distance")
    note = f"Pairs at least {SHORT_RANGE} residues apart."
    return _listed("the pairs least alike", columns, cells, note)


def _far_pairs(text: str) -> set[tuple[int, int]]:
    """Pairs in `3-17 5-20`, the smaller residue first; without near ones."""
    ends = (sorted(map(int, pair.split("-"))) for pair in residue_labels(text, False))
    return {(first, second) for first, second in ends if second - first >= SHORT_RANGE}


def _listed(
    which: str, columns: tuple[str, ...], cells: Sequence[tuple[str, ...]], note: str = ""
) -> list[Part]:
    numeric = frozenset(range(1, len(columns)))
    return [filled(Table(f"Proteins worth reading: {which}", columns, cells, numeric, note))] if cells else []
