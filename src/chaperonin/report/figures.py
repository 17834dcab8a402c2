"""Figures about sequences, embeddings, contacts and training: numpy arrays in, a matplotlib figure out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

from chaperonin.report.style import (
    AMBER,
    BLUE,
    HAIRLINE,
    INK,
    MISSING,
    MUTED,
    SEQUENTIAL,
    Picture,
    drawable,
    house_style,
    save_png,
)
from chaperonin.shapes import Float, Int

LONGEST_SIDE, _LONGEST_SIDE_SAVED = 400, 900
"""Cells along the side of a contact map, in the page and in a picture of its own."""

_LENGTH_COLOURS = "viridis_r"

MOST_VECTOR_POINTS = 400
"""More points than these are one picture inside the figure, without text under the pointer."""


@house_style()
def length_histogram(lengths: Int[np.ndarray, " records"]) -> Picture:
    """How long the sequences are, in residues; logarithmic where they differ twentyfold. Median marked."""
    figure = Picture(460, 250)
    axes = figure.panel(68, 26, 378, 184)
    shortest, longest = int(lengths.min()), int(lengths.max())
    if longest >= 20 * max(shortest, 1):
        edges = np.geomspace(max(shortest, 1), longest + 1, 31)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        bins = int(np.clip(np.sqrt(len(lengths)), 8, 40))
        step = max(1, -(-(longest + 1 - shortest) // bins))
        edges = np.arange(shortest, longest + 1 + step, step, dtype=np.float64) - 0.5
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    counts, _ = np.histogram(lengths, edges)
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    _mark(axes, float(np.median(lengths)), f"median {np.median(lengths):,.0f}")
    _quiet_grid(axes)
    axes.set_xlabel("length, residues")
    axes.set_ylabel("records")
    return figure


@house_style()
def embedding_projection(
    coordinates: Float[np.ndarray, "proteins 2"],
    explained: tuple[float, float],
    lengths: Int[np.ndarray, " proteins"],
    names: Sequence[str] = (),
) -> Picture:
    """Proteins on the first two principal components, coloured by length.

    `explained` are the components' shares of the variance, 0 … 1. Names appear under the pointer.
    """
    figure = Picture(460, 388)
    axes = figure.panel(54, 14, 330, 330)
    few = len(coordinates) <= MOST_VECTOR_POINTS
    shortest, longest = max(int(lengths.min()), 1), int(lengths.max())
    logarithmic = longest > 3 * shortest
    scale = LogNorm(shortest, longest) if logarithmic else Normalize(shortest, longest)
    points = axes.scatter(
        coordinates[:, 0],
        coordinates[:, 1],
        c=np.maximum(lengths, 1),
        norm=scale,
        cmap=_LENGTH_COLOURS,
        s=26 if few else 9,
        linewidths=0,
        alpha=0.85,
        rasterized=not few,
    )
    if few and names:
        pairs = zip(names, lengths, strict=True)
        figure.explain(points, [f"{name}, {length:,} residues" for name, length in pairs])
    bar_axes = figure.panel(400, 14, 9, 330)
    bar = Colorbar(bar_axes, ScalarMappable(scale, _LENGTH_COLOURS), label="length, residues")
    bar.outline.set_visible(False)
    if logarithmic:
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel(f"component 1, {explained[0]:.1%} of the variance")
    axes.set_ylabel(f"component 2, {explained[1]:.1%} of the variance")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.margins(0.06)
    _quiet_grid(axes, both=True)
    return figure


@house_style()
def contact_map(
    probabilities: Float[np.ndarray, "residues residues"], title: str = "", longest_side: int = LONGEST_SIDE
) -> Picture:
    """Probability of contact of every pair of residues: square, 0 … 1, residues counted from 1.

    NaN, a pair without a probability, is grey. More residues than `longest_side` are drawn by the strongest
    contact of each square of residues.
    """
    length = len(probabilities)
    figure = Picture(460, 408 if title else 386)
    top = 34 if title else 12
    axes = figure.panel(54, top, 332, 332)
    edge = length + 0.5
    image = axes.imshow(
        enlarged(strongest_in_blocks(probabilities, longest_side), longest_side),
        cmap=SEQUENTIAL.with_extremes(bad=MISSING),
        vmin=0,
        vmax=1,
        extent=(0.5, edge, edge, 0.5),
        interpolation="none",
    )
    for side in axes.spines.values():
        side.set(visible=True, color=HAIRLINE)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_ResidueLocator())
    axes.set_xlabel("residue")
    axes.set_ylabel("residue")
    if title:
        axes.set_title(drawable(title), loc="left", pad=10)
    bar = Colorbar(figure.panel(402, top, 9, 332), image, label="probability of contact")
    bar.outline.set(visible=True, color=HAIRLINE, linewidth=0.6)
    return figure


def save_contact_picture(
    path: Path, probabilities: Float[np.ndarray, "residues residues"], title: str
) -> None:
    """The contact map as a PNG: the same input gives the same bytes."""
    save_png(path, contact_map(probabilities, title, _LONGEST_SIDE_SAVED))


def strongest_in_blocks(
    values: Float[np.ndarray, "rows columns"], longest: int
) -> Float[np.ndarray, "fewer_rows fewer_columns"]:
    """The matrix itself, or the maximum of each square block where it is longer than `longest`.

    NaN counts only where a block has nothing else.
    """
    block = -(-len(values) // longest)
    if block <= 1:
        return values
    starts = np.arange(0, len(values), block)
    return np.fmax.reduceat(np.fmax.reduceat(values, starts, axis=0), starts, axis=1)


def enlarged(
    values: Float[np.ndarray, "rows columns"], side: int
) -> Float[np.ndarray, "more_rows more_columns"]:
    """Each cell repeated while the longer side stays within `side`: viewers cannot blur large cells."""
    times = max(1, side // max(values.shape))
    return values.repeat(times, axis=0).repeat(times, axis=1)


@dataclass(frozen=True)
class Curve:
    """One line of a learning curve."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]


@house_style()
def learning_curves(curves: Sequence[Curve], quantity: str) -> Picture:
    """Up to three curves over the optimiser's steps; each is named where it ends."""
    figure = Picture(460, 262)
    axes = figure.panel(68, 18, 378, 204)
    for curve, colour in zip(curves, (BLUE, AMBER, MUTED), strict=False):
        few = len(curve.steps) <= 60
        axes.plot(
            curve.steps, curve.values, color=colour, linewidth=1.4, label=curve.label,
            marker="o" if few else None, markersize=3.2,
        )  # fmt: skip
    if len(curves) > 1:
        axes.legend(loc="best", handlelength=1.4)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.margins(x=0.02, y=0.08)
    _quiet_grid(axes)
    axes.set_xlabel("step")
    axes.set_ylabel(quantity)
    return figure


class _ResidueLocator(MaxNLocator):
    """Round numbers, and the first residue instead of a residue 0."""

    def __init__(self) -> None:
        super().__init__(7, steps=[1, 2, 5, 10], integer=True)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Ticks inside the drawn range only, starting with residue 1 when it is drawn."""
        low, high = min(vmin, vmax), max(vmin, vmax)
        ticks = np.asarray(super().tick_values(low, high))
        ticks = np.where(ticks == 0, 1, ticks)
        return [float(tick) for tick in np.unique(ticks[(ticks >= low) & (ticks <= high)])]


def _mark(axes: Axes, position: float, text: str) -> None:
    axes.axvline(position, color=AMBER, linewidth=1.2)
    axes.annotate(
        text, (position, 1), xycoords=("data", "axes fraction"), xytext=(4, 4), textcoords="offset points",
        color=INK, fontsize=10,
    )  # fmt: skip


def _quiet_grid(axes: Axes, *, both: bool = False) -> None:
    axes.grid(axis="both" if both else "y", color=HAIRLINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0 if both else 3, width=0.7)
