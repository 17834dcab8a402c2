"""How sure a folding model is of its own prediction: pLDDT, predicted aligned error and pTM from its logits."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

ERROR_BREAKS: NDArray[np.float64] = np.linspace(0, 31, 63)
"""Edges in Å between the 64 bins of the predicted aligned error."""
ERROR_CENTERS: NDArray[np.float64] = np.append(ERROR_BREAKS, 31.5) + 0.25
"""What each bin stands for, in Å; the last one holds all larger errors."""
LARGEST_ERROR = float(ERROR_CENTERS[-1])
"""The largest value an entry of the predicted aligned error can have, in Å."""


def plddt(logits: ArrayLike) -> NDArray[np.float64]:
    """Predicted lDDT-CA from 0 to 100 `[residues]`, from logits over equal bins `[residues, bins]`.

    The mean of the bins' centres (Jumper et al. 2021, supplement 1.9.6; AlphaFold has 50 bins).
    """
    logits = np.asarray(logits)
    bins = logits.shape[-1]
    return _expected(logits, (np.arange(bins) + 0.5) * (100 / bins))


def predicted_aligned_error(logits: ArrayLike) -> NDArray[np.float64]:
    """Expected error in Å `[residues, residues]` of residue j when the frame of residue i is laid on the truth.

    From logits `[residues, residues, 64]` (Jumper et al. 2021, supplement 1.9.7).
    """
    return _expected(_require_bins(np.asarray(logits)), ERROR_CENTERS)


def predicted_tm_score(logits: ArrayLike, weights: ArrayLike | None = None) -> float:
    """pTM from logits of the aligned error `[residues, residues, 64]` (Jumper et al. 2021, supplement 1.9.7).

    The best over residues i of the mean over j of the expected TM term. Weights `[residues]` from 0 to 1 say
    how much a residue counts; their sum, at least 19, is the length that d0 comes from.
    """
    logits = _require_bins(np.asarray(logits))
    counts = np.ones(len(logits)) if weights is None else np.asarray(weights, np.float64)
    # d0 of the TM-score without its floor: 0.17 Å for 19 residues and fewer.
    scale = 1.24 * (max(float(counts.sum()), 19) - 15) ** (1 / 3) - 1.8
    terms = _expected(logits, 1 / (1 + np.square(ERROR_CENTERS / scale)))
    means = terms @ counts / max(float(counts.sum()), 1e-8)
    return float((means * counts).max())


_BLOCK_BYTES = 1 << 26


def _expected(logits: NDArray, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the bins' values under the softmax of the last axis; some rows at a time, in float64.

    The pairs of 2,000 residues have 256 million logits: no second array of that size is made.
    """
    result = np.empty(logits.shape[:-1])
    rows = max(1, _BLOCK_BYTES // max(8 * logits[:1].size, 1))
    for start in range(0, len(logits), rows):
        block = logits[start : start + rows].astype(np.float64)
        block -= block.max(axis=-1, keepdims=True)
        np.exp(block, out=block)
        result[start : start + rows] = block @ values / block.sum(axis=-1)
    return result


def _require_bins(logits: NDArray) -> NDArray:
    if logits.shape != (len(logits), len(logits), len(ERROR_CENTERS)):
        raise ValueError(
            f"logits of shape {logits.shape}; expected [residues, residues, {len(ERROR_CENTERS)}]"
        )
    return logits
