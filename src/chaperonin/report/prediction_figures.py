"""Figures about predictions and the truth: numpy arrays in, a matplotlib figure out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, StrMethodFormatter

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
from chaperonin.shapes import Float, Int

COLOURS = (
    BLUE,
    AMBER,
    "#4b8b5a",
    "#8a5a9e",
    "#b5495b",
    "#6b7f2a",
    "#3f8f95",
    "#9a7b4f",
    "#5a6fb0",
    "#7a7a7a",
)
"""Of classes, told apart by lightness too where there are few."""
MOST_POINTS = 400
"""More points than these are one picture inside the figure."""


@dataclass(frozen=True)
class Line:
    """One curve and its name in the legend."""

    label: str
    across: Float[np.ndarray, " points"]
    up: Float[np.ndarray, " points"]


@house_style()
def confusion_matrix(counts: Int[np.ndarray, "truth predicted"], classes: Sequence[str]) -> Picture:
    """How many of each true class (rows) were called what (columns); the colour is the share of the row."""
    number = len(classes)
    cell = 96 if number <= 3 else max(30, 330 // number)
    side, left = cell * number, 34 + 7 * max(map(len, _short(classes)))
    figure = Picture(left + side + 24, side + 34 + 6 * max(map(len, _short(classes))) + 30)
    axes = figure.panel(left, 12, side, side)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1, interpolation="none")
    size = 12 if number <= 4 else max(6.5, 11 - 0.3 * number)
    for row, column in np.ndindex(counts.shape):
        dark = shares[row, column] > 0.55
        axes.text(
            column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=size,
            color="white" if dark else (INK if counts[row, column] else MUTED),
        )  # fmt: skip
    ticks = range(number)
    axes.set_xticks(ticks, _short(classes), rotation=0 if number <= 4 else 90)
    axes.set_yticks(ticks, _short(classes))
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set(visible=True, color=HAIRLINE)
    return figure


@house_style()
def rate_curves(lines: Sequence[Line], across: str, up: str, chance: float | None) -> Picture:
    """Curves in the unit square. chance: height of the dashed line of guessing, None for the diagonal, NaN for none."""
    rows = -(-len(lines) // 2) if len(lines) > 1 else 0
    figure = Picture(400, 372 + 18 * rows)
    axes = figure.panel(58, 14, 318, 318)
    for line, colour in zip(lines, _colours(len(lines)), strict=True):
        axes.plot(line.across, line.up, color=colour, linewidth=1.6, label=drawable(line.label, 26))
    ends = (0, 1) if chance is None else (chance, chance)
    axes.plot((0, 1), ends, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    _unit_square(axes, across, up)
    if len(lines) > 1:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.1, -0.15), ncols=2, handlelength=1.2, fontsize=9.5,
            columnspacing=1.2, borderpad=0,
        )  # fmt: skip
    return figure


@dataclass(frozen=True)
class Reliability:
    """Confidence in bins: its mean, the share that held, and how many answers there are."""

    label: str
    sure: Float[np.ndarray, " bins"]
    right: Float[np.ndarray, " bins"]
    counts: Int[np.ndarray, " bins"]


@house_style()
def reliability_diagram(curves: Sequence[Reliability]) -> Picture:
    """Share that was right against how sure the model was; a point's area grows with its answers. Below: counts."""
    figure = Picture(400, 446)
    axes = figure.panel(58, 14, 318, 318)
    most = max(int(curve.counts.max()) for curve in curves)
    for curve, colour in zip(curves, (AMBER, BLUE) if len(curves) > 1 else (BLUE,), strict=True):
        filled = curve.counts > 0
        axes.plot(curve.sure[filled], curve.right[filled], color=colour, linewidth=1.2, label=curve.label)
        sizes = 12 + 70 * np.sqrt(curve.counts[filled] / most)
        axes.scatter(curve.sure[filled], curve.right[filled], s=sizes, color=colour, linewidths=0, alpha=0.85)
    axes.plot((0, 1), (0, 1), color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    _unit_square(axes, "", "share that is right")
    axes.tick_params(labelbottom=False)
    if len(curves) > 1:
        axes.legend(loc="upper left", handlelength=1.2)
    below = figure.panel(58, 344, 318, 54)
    last = curves[-1]
    edges = np.linspace(0, 1, len(last.counts) + 1)
    below.stairs(last.counts, edges, fill=True, color=BLUE, alpha=0.55)
    below.set_xlim(-0.02, 1.02)
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    below.yaxis.set_major_formatter(EngFormatter(sep=""))  # of pairs there are millions
    below.set_xlabel("how sure the model is (probability)")
    below.set_ylabel("answers")
    return figure


@house_style()
def value_scatter(
    truth: Float[np.ndarray, " proteins"],
    predicted: Float[np.ndarray, " proteins"],
    names: Sequence[str] = (),
) -> Picture:
    """Predictions against the truth on equal axes, with the line of equality; names under the pointer."""
    figure = Picture(400, 372)
    axes = figure.panel(62, 14, 314, 314)
    few = len(truth) <= MOST_POINTS
    points = axes.scatter(
        truth, predicted, s=20 if few else 7, color=BLUE, linewidths=0, alpha=0.7 if few else 0.45,
        rasterized=not few,
    )  # fmt: skip
    if few and names:
        figure.explain(points, list(names))
    low, high = (float(end(np.concatenate([truth, predicted]))) for end in (np.min, np.max))
    margin = 0.04 * (high - low or 1)
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set(xlim=ends, ylim=ends, xlabel="truth", ylabel="predicted")
    _quiet(axes)
    return figure


@house_style()
def residual_histogram(residuals: Float[np.ndarray, " proteins"]) -> Picture:
    """Prediction minus truth, with zero and the mean marked."""
    figure = Picture(400, 262)
    axes = figure.panel(62, 26, 314, 190)
    counts, edges = np.histogram(residuals, bins=int(np.clip(np.sqrt(len(residuals)), 8, 40)))
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    axes.axvline(float(residuals.mean()), color=AMBER, linewidth=1.4)
    axes.annotate(
        f"mean {residuals.mean():+.3g}", (residuals.mean(), 1), xycoords=("data", "axes fraction"),
        xytext=(4, 4), textcoords="offset points", fontsize=10,
    )  # fmt: skip
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set(xlabel="predicted minus truth", ylabel="proteins")
    _quiet(axes, axis="y")
    return figure


@house_style()
def probability_histogram(probabilities: Float[np.ndarray, " proteins"], quantity: str) -> Picture:
    """How sure the model is of its answers, 0 … 1."""
    figure = Picture(400, 250)
    axes = figure.panel(62, 14, 314, 190)
    counts, edges = np.histogram(probabilities, bins=np.linspace(0, 1, 26))
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set(xlabel=quantity, ylabel="proteins")
    _quiet(axes, axis="y")
    return figure


@house_style()
def distance_histogram(distances: Float[np.ndarray, " proteins"]) -> Picture:
    """How far the proteins are from those of the training set; above 1 is out of domain."""
    figure = Picture(400, 262)
    axes = figure.panel(62, 26, 314, 190)
    shown = np.minimum(distances, 3.0)
    edges = np.linspace(0, max(1.2, float(shown.max()) * 1.0001), 31)
    counts, edges = np.histogram(shown, bins=edges)
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.axvline(1, color=AMBER, linewidth=1.4)
    axes.annotate(
        "out of domain", (1, 1), xycoords=("data", "axes fraction"), xytext=(4, 4), textcoords="offset points",
        fontsize=10,
    )  # fmt: skip
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set(xlabel="distance from the training set", ylabel="proteins")
    _quiet(axes, axis="y")
    return figure


def _short(classes: Sequence[str]) -> list[str]:
    return [drawable(name, 16) for name in classes]


def _colours(number: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(number)]


def _unit_square(axes: Axes, across: str, up: str) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=across, ylabel=up)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(np.linspace(0, 1, 6).tolist()))
    _quiet(axes)


def _quiet(axes: Axes, axis: str = "both") -> None:
    axes.grid(axis=axis, color=HAIRLINE, linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0, width=0.7)
