"""The part of the report about scores.csv: heat maps, distribution, extremes, agreement with measurements."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from chaperonin.report.blocks import Heading, Illustration, Paragraph, Part, Section, Table
from chaperonin.report.files import read_mapping
from chaperonin.report.score_metrics import metric_tables, only_assay, spearman
from chaperonin.report.score_table import Cells, Scores, Target, Variant, read_scores
from chaperonin.report.style import as_svg
from chaperonin.report.variant_figures import position_means, score_histogram, score_scatter, variant_heat_map
from chaperonin.report.wording import count, shortened

FILE = "scores.csv"
METRICS_FILE = "metrics.json"
_MOST_PROTEINS = 50
_DRAWN_POSITIONS, _LEAST_POSITIONS = 6_000, 500
"""So many positions are drawn in all; when they are used up, still so many of each further protein."""
_DETAILED_POSITIONS = 3_000
"""So many positions, over all heat maps, have their residue written and a text under the pointer."""


def score_section(outdir: Path) -> tuple[Section | None, Scores]:
    """The section (None without a scored row) and what was read for it."""
    path = outdir / FILE
    scores = read_scores(path) if path.is_file() else Scores()
    metrics = read_mapping(outdir / METRICS_FILE)
    if list(scores.targets) == [""]:
        scores.targets[""].name = only_assay(metrics)
    parts = _overview(scores, metric_tables(metrics))
    positions = 0
    for number, target in enumerate(scores.targets.values(), start=1):
        rho = spearman(metrics, target.name, scores.target_count == 1)
        cells = target.cells(max(_LEAST_POSITIONS, _DRAWN_POSITIONS - positions))
        positions += len(cells.sequence)
        parts += _target(number, target, cells, rho, positions <= _DETAILED_POSITIONS)
    return (Section("scores", "Variants", parts, _READING) if parts else None), scores


def _overview(scores: Scores, metrics: list[Table]) -> list[Part]:
    """What is about all proteins; a single one without measurements needs none."""
    several = scores.target_count > 1
    parts: list[Part] = list(metrics[:1])
    if several and not metrics:
        parts.append(_proteins(scores))
    if scores.variants and (parts or any(target.measured.items for target in scores.targets.values())):
        parts.append(_histogram(scores.scores.items, scores.variants, "score-histogram"))
    parts += metrics[1:]
    if scores.without_score:
        parts.insert(0, Paragraph(f"{count(scores.without_score, 'row')} of {FILE} without a score."))
    if scores.target_count > len(scores.targets):
        shown, total = len(scores.targets), count(scores.target_count)
        parts.append(Paragraph(f"The first {shown} of {total} proteins follow; {FILE} has all of them."))
    return parts


def _proteins(scores: Scores) -> Table:
    rows = [
        (shortened(name, 48), count(scores.lengths[name]) if name in scores.lengths else "", count(number))
        for name, number in islice(scores.variants_by_target.items(), _MOST_PROTEINS)
    ]
    rest = scores.target_count - len(rows)
    note = f"{count(rest, 'further protein')} in {FILE}." if rest else ""
    return Table("Proteins", ("protein", "residues", "variants"), rows, frozenset({1, 2}), note)


def _histogram(values: Sequence[float], variants: int, name: str) -> Illustration:
    caption = f"Scores of {count(variants, 'variant')}."
    figure = score_histogram(np.array(values, dtype=np.float64))
    return Illustration(as_svg(figure, name, f"Histogram: {caption}"), caption)


def _target(number: int, target: Target, cells: Cells, rho: float | None, detailed: bool) -> list[Part]:
    detail = count(target.variants, "variant")
    if rho is not None:
        detail += f" · Spearman {rho:.3f}"
    parts: list[Part] = [Heading(target.name or "All variants", detail)]
    if cells.sequence:
        parts.append(_heat_map(number, target, cells, detailed))
    if len(target.measured.items) > 1:
        parts.append(_scatter(number, target, rho))
    else:
        parts.append(_histogram(target.scores.items, target.variants, f"scores-{number}"))
    parts.append(_ranking(target))
    return parts


def _heat_map(number: int, target: Target, cells: Cells, detailed: bool) -> Illustration:
    last = cells.first + len(cells.sequence) - 1
    caption = f"Effect of each substitution at positions {cells.first} to {last}."
    if target.last_position > last:
        caption += f" Positions {last + 1} to {target.last_position} are in {FILE}."
    beyond = target.variants - target.drawn - target.misfits
    if beyond:
        caption += f" Without a cell, as they are not single substitutions: {count(beyond, 'variant')}."
    if target.misfits:
        caption += f" Without a cell, as their wild type contradicts earlier rows: {count(target.misfits, 'variant')}."
    figure = variant_heat_map(cells.scores, cells.sequence, cells.first, detailed)
    of = f" of {target.name}" if target.name else ""
    description = f"Heat map{of}, positions by residues: {caption} {_summary(cells)}"
    return Illustration(as_svg(figure, f"variants-{number}", description), caption, wide=True)


def _summary(cells: Cells) -> str:
    """The most and the least sensitive position, for those who do not see the picture."""
    means = position_means(cells.scores)
    low, high = int(np.nanargmin(means)), int(np.nanargmax(means))
    return (
        f"Lowest mean at {cells.sequence[low]}{cells.first + low} ({means[low]:.2f}), "
        f"highest at {cells.sequence[high]}{cells.first + high} ({means[high]:.2f})."
    )


def _scatter(number: int, target: Target, rho: float | None) -> Illustration:
    points = target.measured.items
    caption = f"Score against measurement of {count(len(points), 'variant')}"
    if len(points) < target.measured.seen:
        caption += f", evenly chosen from {count(target.measured.seen)}"
    caption += "." if rho is None else f"; Spearman {rho:.3f}."
    figure = score_scatter(
        np.array([point.score for point in points]),
        np.array([point.measured for point in points], dtype=np.float64),
        [f"{point.name}: score {point.score:.3f}, measured {point.measured:.3f}" for point in points],
    )
    return Illustration(as_svg(figure, f"measured-{number}", f"Scatter plot: {caption}"), caption)


def _ranking(target: Target) -> Table:
    """The highest scores, and beside them the lowest; one list where there are few variants."""
    highest = [variant for _, variant in target.highest.ranked()]
    lowest = [variant for _, variant in target.lowest.ranked()]
    measured = len(target.measured.items) > 0
    columns = ["score", "measured"] if measured else ["score"]
    width = len(columns) + 1
    if target.variants <= len(highest):
        rows = [_cells(variant, measured) for variant in highest]
        return Table("All variants by score", ("variant", *columns), rows, frozenset({1, 2}))
    most = min(len(highest), target.variants // 2)
    rows = [
        (*_cells(high, measured), *_cells(low, measured))
        for high, low in zip(highest[:most], lowest[:most], strict=True)
    ]
    return Table(
        f"The {most} highest and the {most} lowest scores",
        ("highest", *columns, "lowest", *columns),
        rows,
        frozenset(set(range(2 * width)) - {0, width}),
    )


def _cells(variant: Variant, measured: bool) -> tuple[str, ...]:
    score = f"{variant.score:.3f}"
    if not measured:
        return (variant.name, score)
    return (variant.name, score, "" if variant.measured is None else f"{variant.measured:.3f}")


_READING = (
    (
        "Score",
        "How much more probable the model finds the variant than the wild type, as a difference of log-"
        "probabilities (nats). 0 is as good as the wild type, -4 is fifty times less probable. Scores "
        "rank the variants of one protein; between proteins their scale differs.",
    ),
    (
        "Heat map",
        "Across: positions, with the wild-type residue below. Down: the residue put there, grouped by "
        "property (positive KRH, negative DE, polar NQST, special CGP, aliphatic AVILM, aromatic FYW). "
        "Red: the model expects harm; blue: it expects gain; white: no effect; grey: not scored. A dot "
        "marks the wild type. The strip above shows the mean of the position: a red column is a position "
        "that tolerates little. The colours end at the 99th percentile of the effects, so a few extremes "
        "share the last colour.",
    ),
    (
        "Agreement",
        "Spearman's correlation compares the order of scores with the order of measurements: 1 is the "
        "same order, 0 none. The points need not lie on a line for it to be high.",
    ),
)
