"""Which residue goes to which expert: counts over proteins, how much they say, and a figure."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.colorbar import Colorbar
from numpy.typing import NDArray

from chaperonin.kernels.segments import Segments
from chaperonin.models.aido import AIDO
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.report.style import HAIRLINE, INK, SEQUENTIAL, Picture, house_style
from chaperonin.tasks.routing import routings

RESIDUES = "AVILMFWYCGPSTNQHDEKR"
"""Aliphatic, aromatic, special, polar, charged: so that kinds of residues lie side by side."""


@torch.inference_mode()
def residue_choices(model: AIDO, batches: Sequence[Sequence[NDArray[np.uint8]]]) -> list[NDArray[np.int64]]:
    """Choices `[residues, experts]` of each layer, over proteins in ESM's token ids that are shown whole."""
    numbers = model.alphabet.translation(ESM_ALPHABET)
    totals = [np.zeros((len(RESIDUES), model.config.experts), dtype=np.int64) for _ in model.layers]
    wanted = torch.from_numpy(model.alphabet.indices(RESIDUES))
    for records in batches:
        framed = [model.alphabet.framed(numbers[record]) for record in records]
        tokens = torch.from_numpy(np.concatenate(framed))
        with routings(model) as layers:
            model(tokens, Segments([len(own) for own in framed]))
        for total, layer in zip(totals, layers, strict=True):
            for row, residue in enumerate(wanted):
                chosen = layer.chosen[tokens == residue].flatten()
                total[row] += torch.bincount(chosen, minlength=total.shape[1]).numpy()
    return totals


def information(choices: NDArray[np.int64]) -> float:
    """Bits that a choice says of its residue, or a residue of its choice (mutual information)."""
    joint = choices / choices.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    known = joint > 0
    return float((joint[known] * np.log2(joint[known] / apart[known])).sum())


@house_style()
def routing_figure(layers: Sequence[NDArray[np.int64]]) -> Picture:
    """A panel a layer: each residue's choices shared out among the experts; a row sums to 1."""
    panel, gap, height = 132, 14, 330
    figure = Picture(52 + len(layers) * (panel + gap) + 70, height + 76)
    shares = [own / own.sum(axis=1, keepdims=True).clip(min=1) for own in layers]
    highest = max(own.max() for own in shares)
    for number, own in enumerate(shares):
        axes = figure.panel(44 + number * (panel + gap), 34, panel, height)
        image = axes.imshow(own, cmap=SEQUENTIAL, vmin=0, vmax=highest, aspect="auto", interpolation="none")
        axes.set_title(f"layer {number + 1}", loc="left", pad=8, color=INK)
        axes.set_xticks(range(own.shape[1]), [str(expert + 1) for expert in range(own.shape[1])])
        axes.set_yticks(range(len(RESIDUES)), list(RESIDUES) if number == 0 else [""] * len(RESIDUES))
        axes.tick_params(length=0)
        axes.set_xlabel("expert")
        for side in axes.spines.values():
            side.set(visible=True, color=HAIRLINE)
    bar = Colorbar(
        figure.panel(44 + len(layers) * (panel + gap), 34, 9, height),
        image,
        label="share of the residue's choices",
    )
    bar.outline.set(visible=True, color=HAIRLINE, linewidth=0.6)
    return figure
