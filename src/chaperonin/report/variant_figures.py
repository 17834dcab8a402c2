"""Figures about the effects of variants: the heat map, its distribution, and scores against measurements."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.report.style import (
    AMBER,
    BLUE,
    DIVERGING,
    HAIRLINE,
    INK,
    MISSING,
    MUTED,
    Picture,
    house_style,
)
from chaperonin.shapes import Float

RESIDUES_BY_PROPERTY = "KRHDENQSTCGPAVILMFYW"
"""Positive, negative, polar, special, aliphatic, aromatic."""

_GROUP_ENDS = (3, 5, 9, 12, 17)  # where one property ends and the next begins
_ROWS = [STANDARD_RESIDUES.index(residue) for residue in RESIDUES_BY_PROPERTY]
_PER_LINE = 100  # positions in one line of the heat map
_CELL_HEIGHT = 9.0
_LEFT, _HEADER, _STRIP, _BETWEEN = 22.0, 34.0, 9.0, 44.0


@house_style()
def variant_heat_map(
    scores: Float[np.ndarray, "positions 20"],
    sequence: str,
    first_position: int = 1,
    detailed: bool = True,
) -> Picture:
    """Effect of every single substitution: positions across, residues down, in lines of a hundred positions.

    Columns of `scores` follow `STANDARD_RESIDUES`; NaN is "not scored" (grey). `sequence` gives the wild
    type of each row of `scores` (a dot; none for a letter outside the twenty), `first_position` the number
    of the first. A thin strip above shows the mean effect of each position. The colours are centred on 0
    and end at the 99th percentile of the sizes. `detailed` writes the sequence below and explains positions
    under the pointer.
    """
    lines = [slice(start, start + _PER_LINE) for start in range(0, len(scores), _PER_LINE)]
    per_line = min(len(scores), _PER_LINE)
    cell = float(np.clip(920 / per_line, 9.2, 14.0))
    line_height = _STRIP + 3 + 20 * _CELL_HEIGHT
    height = _HEADER + len(lines) * (line_height + _BETWEEN)
    figure = Picture(_LEFT + max(per_line * cell, 300.0) + 14, height)
    limit = _colour_limit(scores)
    colours = DIVERGING.with_extremes(bad=MISSING)
    _colour_bar(figure, colours, limit, clipped=bool(np.nanmax(np.abs(scores), initial=0) > limit))
    means = _position_means(scores)
    for number, line in enumerate(lines):
        top = _HEADER + number * (line_height + _BETWEEN)
        width = len(scores[line]) * cell
        first = first_position + line.start
        strip = figure.panel(_LEFT, top, width, _STRIP)
        cells = figure.panel(_LEFT, top + _STRIP + 3, width, 20 * _CELL_HEIGHT)
        _draw_line(strip, cells, scores[line], means[line], sequence[line], first, colours, limit, detailed)
        if detailed:
            _explain_positions(figure, cells, scores[line], sequence[line], first)
    return figure


def _draw_line(
    strip: Axes,
    cells: Axes,
    scores: np.ndarray,
    means: np.ndarray,
    sequence: str,
    first: int,
    colours: Colormap,
    limit: float,
    detailed: bool,
) -> None:
    left, right = first - 0.5, first + len(scores) - 0.5
    values = scores.copy()
    wild = [(column, STANDARD_RESIDUES.find(residue)) for column, residue in enumerate(sequence)]
    for column, residue in wild:
        if residue >= 0:
            values[column, residue] = 0.0  # no change, no effect
    shared = {"cmap": colours, "vmin": -limit, "vmax": limit, "aspect": "auto", "interpolation": "none"}
    strip.imshow(means[None, :], extent=(left, right, 1, 0), **shared)
    cells.imshow(values[:, _ROWS].T, extent=(left, right, 19.5, -0.5), **shared)
    dots = [(first + column, _ROWS.index(residue)) for column, residue in wild if residue >= 0]
    cells.plot(*zip(*dots, strict=True), ".", color=INK, markersize=3.4, markeredgewidth=0) if dots else None
    for end in _GROUP_ENDS:
        cells.axhline(end - 0.5, color=MUTED, linewidth=0.4)
    cells.set_yticks(range(20), list(RESIDUES_BY_PROPERTY), fontsize=7.5)
    strip.set_yticks([0.5], ["mean"], fontsize=6.5)
    strip.set_xticks([])
    for axes in (strip, cells):
        axes.tick_params(length=0, pad=2)
        axes.set_xlim(left, right)
        for side in axes.spines.values():
            side.set(visible=True, color=HAIRLINE, linewidth=0.6)
    tens = [position for position in range(first, first + len(scores)) if position % 10 == 0]
    ticks = tens if first in tens else [first, *(position for position in tens if position - first > 3)]
    cells.set_xticks(ticks, [str(position) for position in ticks], fontsize=8)
    cells.tick_params(axis="x", length=3 if not detailed else 0, pad=2 if not detailed else 13)
    if detailed:
        for column, residue in enumerate(sequence):
            cells.text(first + column, 20.3, residue, ha="center", va="center", fontsize=7, color=MUTED)


def _explain_positions(figure: Picture, cells: Axes, scores: np.ndarray, sequence: str, first: int) -> None:
    """Invisible columns that carry the figures of their position."""
    corners, texts = [], []
    for column, wild in enumerate(sequence):
        x = first + column
        corners.append([(x - 0.5, -0.5), (x + 0.5, -0.5), (x + 0.5, 19.5), (x - 0.5, 19.5)])
        row = scores[column]
        text = f"{wild}{x}"
        if not np.all(np.isnan(row)):
            low, high = int(np.nanargmin(row)), int(np.nanargmax(row))
            text += (
                f": mean {np.nanmean(row):+.2f}, lowest {STANDARD_RESIDUES[low]} {row[low]:+.2f}"
                f", highest {STANDARD_RESIDUES[high]} {row[high]:+.2f}"
            )
        texts.append(text)
    columns = PolyCollection(corners, facecolors="none", edgecolors="none")
    cells.add_collection(columns, autolim=False)
    figure.explain(columns, texts)


def _position_means(scores: np.ndarray) -> np.ndarray:
    known = ~np.isnan(scores)
    counts = known.sum(axis=1)
    means = np.where(known, scores, 0.0).sum(axis=1) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan)


def _colour_limit(scores: np.ndarray) -> float:
    sizes = np.abs(scores[~np.isnan(scores)])
    limit = float(np.quantile(sizes, 0.99)) if len(sizes) else 0.0
    return limit or float(sizes.max(initial=0.0)) or 1.0


def _colour_bar(figure: Picture, colours: Colormap, limit: float, clipped: bool) -> None:
    axes = figure.panel(_LEFT, 4, 180, 8)
    mappable = ScalarMappable(Normalize(-limit, limit), colours)
    bar = figure.colorbar(
        mappable, cax=axes, orientation="horizontal", extend="both" if clipped else "neither", extendfrac=0.04
    )
    bar.outline.set(visible=True, color=HAIRLINE, linewidth=0.6)  # type: ignore[operator]
    bar.ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], symmetric=True))
    bar.ax.tick_params(labelsize=8, length=2, pad=2)
    bar.ax.annotate(
        "score", (1, 0.5), xycoords="axes fraction", xytext=(14, 0), textcoords="offset points", va="center",
        fontsize=8.5,
    )  # fmt: skip


@house_style()
def score_histogram(scores: Float[np.ndarray, "variants"]) -> Picture:
    """How the scores are distributed; 0, the wild type, is marked."""
    figure = Picture(460, 270)
    axes = figure.panel(54, 26, 390, 194)
    bins = int(np.clip(np.sqrt(len(scores)), 8, 60))
    counts, edges = np.histogram(scores, bins)
    axes.stairs(counts, edges, fill=True, color=BLUE)
    if edges[0] <= 0 <= edges[-1]:
        axes.axvline(0, color=AMBER, linewidth=1.2)
        axes.annotate(
            "wild type", (0, 1), xycoords=("data", "axes fraction"), xytext=(0, 4), ha="center",
            textcoords="offset points", fontsize=9,
        )  # fmt: skip
    axes.grid(axis="y", color=HAIRLINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("score")
    axes.set_ylabel("variants")
    return figure


@house_style()
def score_scatter(
    scores: Float[np.ndarray, "variants"], measured: Float[np.ndarray, "variants"], labels: Sequence[str] = ()
) -> Picture:
    """Score against measurement, one point a variant. Labels appear under the pointer."""
    figure = Picture(460, 400)
    axes = figure.panel(58, 14, 388, 340)
    few = len(scores) <= 400
    points = axes.scatter(
        scores, measured, s=20 if few else 8, color=BLUE, alpha=0.55 if few else 0.35, linewidths=0,
        rasterized=not few,
    )  # fmt: skip
    if few and labels:
        figure.explain(points, labels)
    axes.grid(color=HAIRLINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.set_xlabel("score")
    axes.set_ylabel("measured (DMS_score)")
    return figure
