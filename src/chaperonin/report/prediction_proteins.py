"""Predictions of whole proteins beside the truth: a class, several classes, or a number."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chaperonin.report.blocks import Illustration, Part, Table
from chaperonin.report.prediction_figures import Reliability, residual_histogram, value_scatter
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
from chaperonin.report.wording import count, mapping, measure, number, shortened, told_apart
from chaperonin.tasks.calibration import confidences, reliability, uncalibrated
from chaperonin.tasks.curves import BINS, rate_curve


def single_view(table: PredictionTable, of: str, metrics: Mapping[str, object]) -> list[Part]:
    """One class of several: matrix, curves, calibration, and the errors that the model was surest of."""
    truth = table.true_numbers()
    known = np.flatnonzero(truth >= 0)
    if not len(known):
        return []
    table, truth = table.chosen(known), truth[known]
    called = table.shares.argmax(axis=1)
    places = range(len(table.classes)) if len(table.classes) > 2 else [len(table.classes) - 1]
    names = told_apart(table.classes)
    curves = {names[place]: rate_curve(table.shares[:, place], truth == place) for place in places}
    return [
        confusion_part(truth, called, names, of),
        *rate_parts(curves, of),
        _reliability(table.shares, truth, "single", metrics),
        _errors(table, called != truth, table.probability),
    ]


def several_view(table: PredictionTable, of: str, metrics: Mapping[str, object]) -> list[Part]:
    """Several labels at once: curves, calibration, and the proteins that are farthest off."""
    truth = table.true_sets()
    curves = {
        name: rate_curve(table.shares[:, place], truth[:, place]) for place, name in enumerate(table.classes)
    }
    wrong = (truth != (table.shares >= 0.5)).any(axis=1)
    surprise = np.abs(table.shares - truth).max(axis=1)
    return [
        *rate_parts(curves, of),
        _reliability(table.shares, truth.astype(np.int64), "several", metrics),
        _errors(table, wrong, surprise, "farthest off"),
    ]


def value_view(table: PredictionTable, of: str, metrics: Mapping[str, object]) -> list[Part]:
    """Numbers: a scatter plot, the residuals, and the largest errors."""
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
         f"{errors[row]:+.3g}", table.lengths[row], distance_text(table, row))
        for row in order
    ]  # fmt: skip
    columns = ("id", "truth", "predicted", "error", "length", "distance")
    listing = Table("Errors worth reading: the largest", columns, rows, frozenset({1, 2, 3, 4, 5}), wide=True)
    return [Illustration(scatter, caption), Illustration(residuals, other), filled(listing)]


def _reliability(
    shares: NDArray[np.float64], truth: NDArray[np.int64], form: str, metrics: Mapping[str, object]
) -> Part:
    kind = "multilabel" if form == "several" else "multiclass"
    heats = _temperatures(mapping(metrics, "calibration"), shares.shape[1] if kind == "multilabel" else 1)
    curves = []
    if heats is not None and any(abs(heat - 1) > 1e-6 for heat in heats):
        before = uncalibrated(shares, heats, kind)  # type: ignore[arg-type]
        curves.append(_bins("before calibration", before, truth, kind))
    curves.append(_bins("after calibration" if curves else "as predicted", shares, truth, kind))
    caption = SURENESS
    if heats is not None and len(heats) == 1:
        caption += f" Temperature {heats[0]:.3g}."
    return reliability_part(curves, caption)


def _bins(label: str, shares: NDArray[np.float64], truth: NDArray[np.int64], kind: str) -> Reliability:
    sureness, holds = confidences(shares, truth, kind)  # type: ignore[arg-type]
    return binned(label, *reliability(sureness, holds, BINS))


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
         f"{table.probability[row]:.3f}", table.lengths[row], distance_text(table, row))
        for row in chosen
    ]  # fmt: skip
    columns = ("id", "truth", "predicted", "probability", "length", "distance")
    note = f"{count(len(rows), 'error')} among {count(len(table), 'protein')}."
    return filled(
        Table(f"Errors worth reading: the {which}", columns, cells, frozenset({3, 4, 5}), note, wide=True)
    )
