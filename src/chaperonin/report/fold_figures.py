"""Figures about predicted structures: their alignments, confidence along the chain, how sure places of residues are."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.ticker import MaxNLocator

from chaperonin.protein.coverage import Coverage
from chaperonin.report.style import (
    AMBER,
    BLUE,
    HAIRLINE,
    INK,
    MUTED,
    SEQUENTIAL,
    Picture,
    drawable,
    house_style,
)
from chaperonin.shapes import Float

LARGEST_ERROR = 31.75
"""Å: the last bin of predicted aligned errors."""
_LONGEST_SIDE = 400
_BANDS = ((90, "very high"), (70, "confident"), (50, "low"))
"""Lower ends of AlphaFold DB's classes of pLDDT."""
_IDENTITY = LinearSegmentedColormap.from_list(
    "identity", ["#e3a33c", "#c9c26b", "#6fb39a", "#2a7fa8", "#0f3a63"], N=100
)
"""Amber for strangers, deep blue for the query itself."""
_STAMP_HEIGHT = 26
_PER_LINE = 5


@house_style()
def confidence_lines(lines: Sequence[Float[np.ndarray, " residues"]], warning: str = "") -> Picture:
    """pLDDT of each residue, 0 to 100: rank 1 in front, the others behind it."""
    top = _STAMP_HEIGHT if warning else 0
    figure = Picture(460, 250 + top)
    _stamp(figure, warning)
    axes = figure.panel(58, 20 + top, 322, 184)
    positions = np.arange(1, len(lines[0]) + 1)
    for line in reversed(lines[1:]):
        axes.plot(positions, line, color=HAIRLINE, linewidth=1)
    marker = "o" if len(positions) == 1 else None
    axes.plot(positions, lines[0], color=BLUE, linewidth=1.6, marker=marker)
    for lowest, name in _BANDS:
        axes.axhline(
            lowest, color=AMBER if lowest == _BANDS[1][0] else MUTED, linewidth=0.6, linestyle=(0, (4, 3))
        )
        axes.annotate(
            name, (1, lowest), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", color=MUTED, fontsize=10,
        )  # fmt: skip
    axes.set_ylim(0, 100)
    axes.set_xlim(1, max(2, len(positions)))
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.set_xlabel("residue")
    axes.set_ylabel("pLDDT")
    return figure


@house_style()
def aligned_error_map(errors: Float[np.ndarray, "residues residues"]) -> Picture:
    """Predicted aligned error in Å: dark is sure. Large proteins show every n-th residue."""
    figure = Picture(460, 388)
    axes = figure.panel(58, 14, 322, 322)
    _draw_errors(axes, errors)
    _error_bar(figure.panel(396, 14, 9, 322))
    axes.set_xlabel("residue whose place is judged")
    axes.set_ylabel("residue that is held in place")
    return figure


@house_style()
def aligned_error_maps(
    errors: Sequence[Float[np.ndarray, "residues residues"]], warning: str = ""
) -> Picture:
    """The same of several ranks, the best first, five beside each other."""
    top, side, gap = _STAMP_HEIGHT if warning else 0, 160, 44
    columns, lines = min(len(errors), _PER_LINE), -(-len(errors) // _PER_LINE)
    width = 20 + columns * (side + gap)
    figure = Picture(width + 62, top + lines * (side + 62))
    _stamp(figure, warning)
    for place, one in enumerate(errors):
        line, column = divmod(place, _PER_LINE)
        axes = figure.panel(gap + column * (side + gap), top + 26 + line * (side + 62), side, side)
        _draw_errors(axes, one)
        axes.set_title(f"rank {place + 1}")
    _error_bar(figure.panel(width, top + 26, 9, side))
    return figure


@house_style()
def coverage_map(coverage: Coverage, warning: str = "") -> Picture:
    """Sequences of an alignment by identity to the query, the most similar on top, white where they have gaps.

    The line is the number of sequences that have a residue. Of a deep alignment evenly chosen rows are drawn.
    """
    top = _STAMP_HEIGHT if warning else 0
    figure = Picture(460, 300 + top)
    _stamp(figure, warning)
    axes = figure.panel(58, 20 + top, 322, 232)
    length = len(coverage.depth)
    step = -(-length // (4 * _LONGEST_SIDE))
    scale = Normalize(0, 1)
    shades = np.where(coverage.covered, coverage.identity[:, None], np.nan)[:, ::step]
    axes.imshow(
        np.ma.masked_invalid(shades), cmap=_IDENTITY, norm=scale, aspect="auto", rasterized=True,
        extent=(0.5, length + 0.5, 0, coverage.sequences), origin="upper",
    )  # fmt: skip
    edges = np.arange(length + 1) + 0.5
    axes.stairs(coverage.depth, edges, color=INK, linewidth=1.3, baseline=None)
    bar = Colorbar(figure.panel(396, 20 + top, 9, 232), ScalarMappable(scale, _IDENTITY))
    bar.set_label("identity to the query")
    bar.outline.set_visible(False)
    axes.set_ylim(0, coverage.sequences * 1.02)
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.yaxis.set_major_locator(_whole_numbers())
    axes.set_xlabel("residue")
    axes.set_ylabel("sequences")
    return figure


def _draw_errors(axes: Axes, errors: Float[np.ndarray, "residues residues"]) -> None:
    length = len(errors)
    step = -(-length // _LONGEST_SIDE)
    box = (0.5, length + 0.5, length + 0.5, 0.5)
    axes.imshow(errors[::step, ::step], cmap=SEQUENTIAL.reversed(), norm=_ERRORS, extent=box, rasterized=True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_whole_numbers())


def _error_bar(axes: Axes) -> None:
    bar = Colorbar(axes, ScalarMappable(_ERRORS, SEQUENTIAL.reversed()), label="expected error, Å")
    bar.outline.set_visible(False)


_ERRORS = Normalize(0, LARGEST_ERROR)


def _whole_numbers() -> MaxNLocator:
    return MaxNLocator(6, steps=[1, 2, 5, 10], integer=True)


def _stamp(figure: Picture, warning: str) -> None:
    """What must not be overlooked, above a figure that leaves room for it."""
    if warning:
        height = figure.get_size_inches()[1] * 72
        figure.text(
            0.02, 1 - 16 / height, drawable(warning, 72), color="#9a4b12", fontsize=9.5, fontweight="bold"
        )
