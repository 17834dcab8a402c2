"""Forward passes of a score: units of a plan in, log-probabilities of residues out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chaperonin.data.batching import make_batch
from chaperonin.inference.jobs import Unit
from chaperonin.inference.score_windows import optimal_window
from chaperonin.layers.language import LanguageModel
from chaperonin.parallel.cores import run_on_cores
from chaperonin.protein.variant import RESIDUES

COLUMN = {residue: column for column, residue in enumerate(RESIDUES)}
"""Where a residue stands in the log-probabilities of a position."""


@dataclass(frozen=True)
class _Pass:
    """One sequence through the model and the rows of it that are read."""

    tokens: NDArray[np.int64]
    rows: list[int]
    residues: list[int]
    """Token of the residue that is scored at each row, where only one is."""


def log_probabilities(model: LanguageModel, units: Sequence[Unit]) -> list[dict[str, NDArray[Any]]]:
    """Results of units in one packed forward pass; the language head sees only the rows that are read.

    Each has `positions`, `start` (the window's first token), and `log_probabilities`, normalised over all 33
    tokens in fp32: `[positions, 25]` in the order of `RESIDUES`, or `[positions]` of one residue each.
    """
    passes = [list(_passes(model, unit.payload)) for unit in units]
    flat = [item for own in passes for item in own]
    device = next(model.parameters()).device
    batch = make_batch([item.tokens for item in flat]).to(device)
    starts = batch.segments.starts
    rows = [start + row for start, item in zip(starts, flat, strict=True) for row in item.rows]
    residues = [residue for item in flat for residue in item.residues]
    columns = torch.from_numpy(model.alphabet.indices(RESIDUES)).to(device)
    hidden = run_on_cores(model, batch.tokens, batch.segments)
    with torch.inference_mode():
        hidden = hidden[torch.tensor(rows, device=device)]
        table = model.lm_head(hidden).float().log_softmax(dim=-1)
        one = table.gather(1, torch.tensor(residues, device=device)[:, None])[:, 0].cpu().numpy()
        every = table[:, columns].cpu().numpy()
    results: list[dict[str, NDArray[Any]]] = []
    first = 0
    for unit, own in zip(units, passes, strict=True):
        last = first + sum(len(item.rows) for item in own)
        values = every if unit.payload["read"] == "all" else one
        positions = np.array(unit.payload["positions"], dtype=np.int32)
        start = np.array(unit.payload.get("start", 0), dtype=np.int32)
        results.append({"positions": positions, "start": start, "log_probabilities": values[first:last]})
        first = last
    return results


def _passes(model: LanguageModel, payload: Mapping[str, Any]) -> Iterator[_Pass]:
    """Passes of one unit; tokens are counted in the whole protein, and `first` residues of it come before the piece."""
    # Plans count a `<cls>`; where the alphabet has none, -1 stands for it until the window is cut.
    unwritten = np.full(1 - model.alphabet.first, -1)
    piece = np.concatenate((unwritten, model.alphabet.encode(payload["sequence"])))
    first, positions = payload["first"], payload["positions"]
    shift = 2 if payload["read"] == "next" else 1
    scored = [int(piece[position + shift - first]) for position in positions]
    if not payload["masked"]:
        start, stop = payload["start"], payload["stop"]
        rows = [position + 1 - start for position in positions]
        yield _cut(piece[start - first : stop - first], rows, scored)
        return
    length = payload["length"]
    for position, residue in zip(positions, scored, strict=True):
        token = position + 1
        start, stop = (0, length) if payload["whole"] else optimal_window(token, length)
        masked = piece[start - first : stop - first].copy()
        masked[token - start] = model.alphabet.mask
        yield _cut(masked, [token - start], [residue])


def _cut(tokens: NDArray[np.int64], rows: list[int], residues: list[int]) -> _Pass:
    """The pass without the place of a token that is not written."""
    if tokens[0] >= 0:
        return _Pass(tokens, rows, residues)
    return _Pass(tokens[1:], [row - 1 for row in rows], residues)
