"""A figure about a benchmark: does the model beat the baseline, assay by assay."""

from collections.abc import Sequence

import numpy as np

from chaperonin.report.style import AMBER, BLUE, MUTED, Picture, house_style
from chaperonin.shapes import Float

_HIGHEST = 1.03  # room for the dot of a perfect order


@house_style()
def beside_baseline(
    baseline: Float[np.ndarray, " assays"],
    model: Float[np.ndarray, " assays"],
    is_lora: Sequence[bool],
    names: Sequence[str],
) -> Picture:
    """Spearman of the baseline and of the model, a dot for each assay; above the line the model is better.

    LoRA has another colour than a frozen model. Names appear under the pointer.
    """
    figure = Picture(460, 420)
    axes = figure.panel(58, 34, 346, 326)
    low = min(0.0, float(baseline.min()), float(model.min())) - 0.04
    axes.plot((low, 1), (low, 1), color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    lora = np.array(is_lora, bool)
    for chosen, colour, label in ((~lora, BLUE, "frozen"), (lora, AMBER, "LoRA")):
        if not chosen.any():
            continue
        dots = axes.scatter(
            baseline[chosen], model[chosen], s=30, color=colour, linewidths=0, alpha=0.85, label=label
        )
        numbers = np.flatnonzero(chosen).tolist()
        figure.explain(dots, [f"{names[n]}: model {model[n]:.3f}, ridge {baseline[n]:.3f}" for n in numbers])
    axes.set_xlim(low, _HIGHEST)
    axes.set_ylim(low, _HIGHEST)
    axes.set_xlabel("Spearman of the ridge regression")
    axes.set_ylabel("Spearman of the model")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return figure
