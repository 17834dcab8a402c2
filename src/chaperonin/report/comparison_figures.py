"""Figures about structures and their references: does the confidence foretell the error, and where is it."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from chaperonin.report.style import AMBER, BLUE, MUTED, SEQUENTIAL, Picture, house_style
from chaperonin.shapes import Float

_BINS = 40
_MOST_DOTS = 2_000


@house_style()
def confidence_and_truth(
    plddt: Float[np.ndarray, " residues"], truth: Float[np.ndarray, " residues"]
) -> Picture:
    """pLDDT of residues against 100 × their lDDT-Cα; on the line the confidence was right.

    Dots for up to 2,000 residues; for more the darker a square, the more residues are in it.
    """
    figure = Picture(460, 420)
    axes = figure.panel(58, 14, 346, 346)
    axes.plot((0, 100), (0, 100), color=AMBER, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    if len(plddt) > _MOST_DOTS:
        counts, _, _ = np.histogram2d(truth, plddt, _BINS, ((0, 100), (0, 100)))
        shades = np.log1p(counts)
        axes.imshow(
            np.ma.masked_equal(shades, 0), cmap=SEQUENTIAL, vmin=-shades.max() / 6, vmax=shades.max(),
            extent=(0, 100, 0, 100), origin="lower", rasterized=True,
        )  # fmt: skip
    else:
        axes.scatter(plddt, truth, s=9, color=BLUE, alpha=0.45, linewidths=0, rasterized=len(plddt) > 500)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("pLDDT: what was expected")
    axes.set_ylabel("100 × lDDT-Cα: what it is")
    return figure


@house_style()
def accuracy_lines(
    numbers: Float[np.ndarray, " residues"],
    truth: Float[np.ndarray, " residues"],
    plddt: Float[np.ndarray, " residues"],
) -> Picture:
    """100 × lDDT-Cα along the chain of the reference, pLDDT behind it; gaps where residues are missing."""
    figure = Picture(460, 250)
    axes = figure.panel(58, 34, 346, 170)
    places = np.arange(int(numbers.min()), int(numbers.max()) + 1)
    for values, colour, width, name in (
        (plddt, MUTED, 1.0, "pLDDT"),
        (truth, BLUE, 1.6, "100 × lDDT-Cα"),
    ):
        line = np.full(len(places), np.nan)
        line[numbers.astype(np.int64) - places[0]] = values
        axes.plot(
            places, line, color=colour, linewidth=width, label=name, marker="o" if len(places) == 1 else None
        )
    axes.set_ylim(0, 100)
    axes.set_xlim(places[0], max(places[-1], places[0] + 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("residue of the reference")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return figure
