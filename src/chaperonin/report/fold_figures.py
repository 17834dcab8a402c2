"""Figures about predicted structures: confidence along the chain, and how sure the places of residues are."""

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from chaperonin.report.style import AMBER, BLUE, HAIRLINE, MUTED, SEQUENTIAL, Picture, house_style
from chaperonin.shapes import Float

LARGEST_ERROR = 31.75
"""Å: the last bin of predicted aligned errors."""
_LONGEST_SIDE = 400
_BANDS = ((90, "very high"), (70, "confident"), (50, "low"))
"""Lower ends of AlphaFold DB's classes of pLDDT."""


@house_style()
def confidence_lines(lines: Sequence[Float[np.ndarray, " residues"]]) -> Picture:
    """pLDDT of each residue, 0 to 100: rank 1 in front, the others behind it."""
    figure = Picture(460, 250)
    axes = figure.panel(58, 20, 322, 184)
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
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("residue")
    axes.set_ylabel("pLDDT")
    return figure


@house_style()
def aligned_error_map(errors: Float[np.ndarray, "residues residues"]) -> Picture:
    """Predicted aligned error in Å: dark is sure. Large proteins show every n-th residue."""
    figure = Picture(460, 388)
    axes = figure.panel(58, 14, 322, 322)
    length = len(errors)
    step = -(-length // _LONGEST_SIDE)
    scale = Normalize(0, LARGEST_ERROR)
    colours = SEQUENTIAL.reversed()
    box = (0.5, length + 0.5, length + 0.5, 0.5)
    axes.imshow(errors[::step, ::step], cmap=colours, norm=scale, extent=box, rasterized=True)
    bar = Colorbar(figure.panel(396, 14, 9, 322), ScalarMappable(scale, colours), label="expected error, Å")
    bar.outline.set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("residue whose place is judged")
    axes.set_ylabel("residue that is held in place")
    return figure
