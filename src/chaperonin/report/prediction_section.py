"""The part of the report about predictions.csv: what was predicted, how it compares with the truth, what went wrong."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chaperonin.report.blocks import Illustration, Part, Section, Table
from chaperonin.report.files import read_mapping
from chaperonin.report.prediction_figures import distance_histogram, probability_histogram
from chaperonin.report.prediction_parts import MOST_CLASSES, MOST_ERRORS
from chaperonin.report.prediction_proteins import several_view, single_view, value_view
from chaperonin.report.prediction_residues import residue_view
from chaperonin.report.prediction_table import FILE, PredictionTable, read_predictions, target_of
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count, mapping, measure, shortened

METRICS_FILE, RUN_FILE = "metrics.json", "run.json"
_VIEWS = {"single": single_view, "several": several_view, "value": value_view, "string": residue_view}


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
        parts += _VIEWS[table.form](judged, of, metrics)
    in_words = bool(mapping(read_mapping(outdir / RUN_FILE), "config").get("prompts"))
    parts += _overview(table, has_truth=len(judged) > 0, calibrated=not in_words)
    reading = [entry for entry in _READING if len(judged) or entry[0] in _WITHOUT_TRUTH]
    if in_words:
        reading = [_IN_WORDS, *(entry for entry in reading if entry[0] not in _WITHOUT_TRUTH)]
    title = "Predictions and truth" if len(judged) else "Predictions"
    return Section("predictions", title, parts, reading)


def _overview(table: PredictionTable, has_truth: bool, calibrated: bool) -> list[Part]:
    """What needs no truth: how many of each class, how sure, how far from the training set."""
    parts: list[Part] = []
    outside = [row for row, known in enumerate(table.in_domain) if known is False]
    if table.form in ("single", "several"):
        parts.append(_labels(table))
        if not has_truth:
            caption = f"How sure the model is of {count(len(table), 'answer')}{' (calibrated)' * calibrated}."
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


_IN_WORDS = (
    "Classes in words",
    "Each protein gets the class whose text agrees with it most. The probability is the share of that class among the "
    "prompts that were given, with the model's own temperature: it is not calibrated, and other prompts change it.",
)
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
