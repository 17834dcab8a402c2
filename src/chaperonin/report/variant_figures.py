"""Figures about the effects of variants: the heat map, its distribution, and scores against measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.report.figures import MOST_VECTOR_POINTS, enlarged
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
_LONGEST_SIDE = 600
_CELL_HEIGHT = 9.0
_LEFT, _HEADER, _STRIP, _GAP, _BETWEEN = 22.0, 34.0, 9.0, 3.0, 40.0


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
    per_line = min(len(scores), _PER_LINE)
    cell = float(np.clip(920 / max(per_line, 1), 9.2, 14.0))
    step = _STRIP + _GAP + 20 * _CELL_HEIGHT + _BETWEEN
    lines = -(-len(scores) // _PER_LINE)
    figure = Picture(_LEFT + max(per_line * cell, 300.0) + 14, _HEADER + lines * step)
    colours = _Colours(scores)
    colours.draw_bar(figure.panel(_LEFT, 4, 180, 8))
    for number in range(lines):
        part = slice(number * _PER_LINE, (number + 1) * _PER_LINE)
        line = _Line(scores[part], sequence[part], first_position + part.start)
        top, width = _HEADER + number * step, len(line.sequence) * cell
        line.draw_strip(figure.panel(_LEFT, top, width, _STRIP), colours)
        cells = figure.panel(_LEFT, top + _STRIP + _GAP, width, 20 * _CELL_HEIGHT)
        line.draw_cells(cells, colours)
        line.number_positions(cells, with_residues=detailed)
        if detailed:
            line.explain_positions(cells, figure)
    return figure


class _Colours:
    """Colours of scores: centred on 0, the last one from the 99th percentile of the sizes on."""

    def __init__(self, scores: Float[np.ndarray, "positions 20"]) -> None:
        sizes = np.abs(scores[~np.isnan(scores)])
        largest = float(sizes.max(initial=0.0))
        self.limit = (float(np.quantile(sizes, 0.99)) if len(sizes) else 0.0) or largest or 1.0
        self.are_clipped = largest > self.limit
        self.map = DIVERGING.with_extremes(bad=MISSING)

    def paint(self, axes: Axes, values: np.ndarray, extent: tuple[float, float, float, float]) -> None:
        """Rows of values as coloured cells, not smoothed."""
        axes.imshow(
            enlarged(values, _LONGEST_SIDE),
            self.map,
            aspect="auto",
            interpolation="none",
            vmin=-self.limit,
            vmax=self.limit,
            extent=extent,
        )
        axes.tick_params(length=0, pad=2)
        for side in axes.spines.values():
            side.set(visible=True, color=HAIRLINE, linewidth=0.6)

    def draw_bar(self, axes: Axes) -> None:
        """The scale in units of the score; arrows where scores go beyond its ends."""
        extend: Literal["both", "neither"] = "both" if self.are_clipped else "neither"
        mappable = ScalarMappable(Normalize(-self.limit, self.limit), self.map)
        bar = Colorbar(axes, mappable, orientation="horizontal", extend=extend, extendfrac=0.04)
        bar.outline.set(visible=True, color=HAIRLINE, linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], symmetric=True))
        axes.tick_params(labelsize=8.5, length=2, pad=2)
        axes.annotate(
            "score", (1, 0.5), xycoords="axes fraction", xytext=(14, 0), textcoords="offset points",
            va="center", fontsize=10,
        )  # fmt: skip


@dataclass(frozen=True)
class _Line:
    """Up to a hundred positions, side by side."""

    scores: Float[np.ndarray, "positions 20"]
    sequence: str
    first: int

    @property
    def _sides(self) -> tuple[float, float]:
        return self.first - 0.5, self.first + len(self.scores) - 0.5

    def draw_strip(self, axes: Axes, colours: _Colours) -> None:
        """Mean effect of each position."""
        colours.paint(axes, position_means(self.scores)[None, :], (*self._sides, 1.0, 0.0))
        axes.set_yticks([0.5], ["mean"], fontsize=6.5)
        axes.set_xticks([])

    def draw_cells(self, axes: Axes, colours: _Colours) -> None:
        """Each substitution, and a dot where the residue is the wild type's."""
        values = self.scores.copy()
        x, y = [], []
        for column, residue in enumerate(self.sequence):
            if residue in STANDARD_RESIDUES:
                values[column, STANDARD_RESIDUES.index(residue)] = 0.0  # no change, no effect
                x.append(self.first + column)
                y.append(RESIDUES_BY_PROPERTY.index(residue))
        colours.paint(axes, values[:, _ROWS].T, (*self._sides, 19.5, -0.5))
        axes.plot(x, y, ".", color=INK, markersize=3.4, markeredgewidth=0)
        axes.hlines([end - 0.5 for end in _GROUP_ENDS], *self._sides, color=MUTED, linewidth=0.4)
        axes.set_yticks(range(20), list(RESIDUES_BY_PROPERTY), fontsize=7.5)
        axes.set(xlim=self._sides, ylim=(19.5, -0.5))

    def number_positions(self, axes: Axes, *, with_residues: bool) -> None:
        """Every tenth position and the first one; the residues between cells and numbers."""
        positions = range(self.first, self.first + len(self.scores))
        ticks = [n for n in positions if n % 10 == 0 and (n == self.first or n > self.first + 3)]
        if self.first not in ticks:
            ticks.insert(0, self.first)
        axes.set_xticks(ticks, [str(position) for position in ticks], fontsize=8)
        axes.tick_params(axis="x", length=0 if with_residues else 3, pad=13 if with_residues else 2)
        if with_residues:
            for position, letter in zip(positions, self.sequence, strict=True):
                axes.text(position, 20.3, letter, ha="center", va="center", fontsize=7, color=MUTED)

    def explain_positions(self, axes: Axes, figure: Picture) -> None:
        """Invisible columns that carry the figures of their position."""
        corners, texts = [], []
        means = position_means(self.scores)
        for column, wild in enumerate(self.sequence):
            x, row = self.first + column, self.scores[column]
            corners.append([(x - 0.5, -0.5), (x + 0.5, -0.5), (x + 0.5, 19.5), (x - 0.5, 19.5)])
            text = f"{wild}{x}"
            if not np.isnan(means[column]):
                low, high = int(np.nanargmin(row)), int(np.nanargmax(row))
                text += (
                    f": mean {means[column]:+.2f}, lowest {STANDARD_RESIDUES[low]} {row[low]:+.2f}"
                    f", highest {STANDARD_RESIDUES[high]} {row[high]:+.2f}"
                )
            texts.append(text)
        columns = PolyCollection(corners, facecolors="none", edgecolors="none")
        axes.add_collection(columns, autolim=False)
        figure.explain(columns, texts)


def position_means(scores: Float[np.ndarray, "positions 20"]) -> Float[np.ndarray, " positions"]:
    """Mean score of each position, NaN where nothing is scored."""
    known = ~np.isnan(scores)
    counts = known.sum(axis=1)
    means = np.where(known, scores, 0.0).sum(axis=1) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan)


@house_style()
def score_histogram(scores: Float[np.ndarray, " variants"]) -> Picture:
    """How the scores are distributed; 0, the wild type, is marked."""
    figure = Picture(460, 260)
    axes = figure.panel(68, 26, 378, 194)
    bins = int(np.clip(np.sqrt(len(scores)), 8, 60))
    counts, edges = np.histogram(scores, bins)
    axes.stairs(counts, edges, fill=True, color=BLUE)
    if edges[0] <= 0 <= edges[-1]:
        axes.axvline(0, color=AMBER, linewidth=1.2)
        axes.annotate(
            "wild type", (0, 1), xycoords=("data", "axes fraction"), xytext=(0, 4), ha="center",
            textcoords="offset points", fontsize=10,
        )  # fmt: skip
    axes.grid(axis="y", color=HAIRLINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.set_xlabel("score")
    axes.set_ylabel("variants")
    return figure


@house_style()
def score_scatter(
    scores: Float[np.ndarray, " variants"],
    measured: Float[np.ndarray, " variants"],
    labels: Sequence[str] = (),
) -> Picture:
    """Score against measurement, one point a variant. Labels appear under the pointer."""
    figure = Picture(460, 394)
    axes = figure.panel(58, 14, 388, 340)
    few = len(scores) <= MOST_VECTOR_POINTS
    points = axes.scatter(
        scores, measured, s=20 if few else 8, color=BLUE, alpha=0.55 if few else 0.35, linewidths=0,
        rasterized=not few,
    )  # fmt: skip
    if few and labels:
        figure.explain(points, labels)
    axes.grid(color=HAIRLINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.set_xlabel("score")
    axes.set_ylabel("measured (DMS_score)")
    return figure
