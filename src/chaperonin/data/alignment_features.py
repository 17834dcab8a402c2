"""Alignment → what the network reads, as AlphaFold samples it (Jumper et al. 2021, supplement 1.2.4 to 1.2.9).

`prepare` once, then `sample` for each recycling iteration: which rows are clusters, which positions of them are hidden,
and which of the other rows are seen differ each time.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.errors import InputError, UsageError
from chaperonin.models.alphafold.features import Features, Templates
from chaperonin.protein.alignment import Alignment
from chaperonin.protein.atoms import GAP, MASKED, RESIDUES, UNKNOWN


@dataclass(frozen=True)
class FeatureSettings:
    """How much of an alignment a model reads, and how much of that is hidden from it."""

    msa_clusters: int = 512
    """Rows of the main alignment, those of templates with them."""
    template_rows: int = 0
    """How many of these rows are kept for templates: 4 in the models that read templates."""
    extra_sequences: int = 5120
    """Rows beside the clusters: 5120, or 1024 in models 2 and 5."""
    masked_fraction: float = 0.15
    """Share of the positions of clusters that are replaced."""
    uniform_share: float = 0.1
    """Share of the replaced that become any residue,"""
    profile_share: float = 0.1
    """that become what the column of the alignment has,"""
    same_share: float = 0.1
    """and that stay; the rest is hidden."""
    is_padded: bool = False
    """Fill up to the full numbers of rows with some that masks hide, as the published code does."""

    def __post_init__(self) -> None:
        if self.clusters < 1 or self.template_rows < 0 or self.extra_sequences < 0:
            raise UsageError(
                f"{self.clusters} clusters and {self.extra_sequences} extra sequences",
                advice="Leave at least one cluster, which is the query.",
            )
        shares = (self.uniform_share, self.profile_share, self.same_share)
        if not 0 <= self.masked_fraction <= 1 or min(shares) < 0 or sum(shares) > 1:
            raise UsageError(
                f"masked fraction {self.masked_fraction}, shares {shares}",
                advice="Fractions lie between 0 and 1.",
            )

    @property
    def clusters(self) -> int:
        """Rows of the alignment that become cluster centres, the query among them."""
        return self.msa_clusters - self.template_rows


@dataclass(frozen=True, eq=False)
class Prepared:
    """An alignment and what all its samples share."""

    alignment: Alignment
    aatype: Tensor
    """`[residues]`, of the query: all letters that are not one of the 20 are 20."""
    residue_index: Tensor
    templates: Templates | None
    bits: NDArray[np.uint64]
    """The residues of all rows as `[5, words, sequences]`: bit planes of 64 columns a word."""


def prepare(
    alignment: Alignment, residue_index: NDArray[np.int64] | None = None, templates: Templates | None = None
) -> Prepared:
    """What does not change from sample to sample; residues are numbered from 0 where no numbers are given.

    Rows that repeat another are sampled as often as they are there: `protein.alignment.join` drops them.
    """
    length = len(alignment.query)
    types = [RESIDUES.index(letter) if letter in RESIDUES else UNKNOWN for letter in alignment.query]
    index = np.arange(length) if residue_index is None else np.asarray(residue_index, np.int64)
    if index.shape != (length,):
        raise InputError(f"{index.size:,} residue numbers for {length:,} residues")
    if templates is not None and templates.aatype.shape[1] != length:
        raise InputError(f"templates of {templates.aatype.shape[1]:,} residues for a query of {length:,}")
    return Prepared(
        alignment, torch.tensor(types), torch.from_numpy(index), templates, _bit_planes(alignment.residues)
    )


def residue_profile(alignment: Alignment) -> NDArray[np.float32]:
    """Share of each residue, of X and of gaps in each column, `[residues, 22]` (published as `hhblits_profile`)."""
    length = len(alignment.query)
    codes = np.arange(length) * (GAP + 1) + alignment.residues
    counts = np.bincount(codes.ravel(), minlength=length * (GAP + 1)).reshape(length, GAP + 1)
    return counts.astype(np.float32) / np.float32(len(alignment))


def sample(prepared: Prepared, settings: FeatureSettings, generator: Generator) -> Features:
    """One draw: centres are chosen, hidden in part, and given the rows nearest to them; then extra rows are chosen.

    The query is always the first centre. Rows are as many as there are, unless the settings ask for padding.
    """
    rows = np.concatenate([[0], 1 + generator.permutation(len(prepared.alignment) - 1)])
    centres, others = rows[: settings.clusters], rows[settings.clusters :]
    hidden = mask_residues(prepared, centres, settings, generator)
    nearest = nearest_centres(np.take(prepared.bits, others, axis=2), hidden)
    msa = cluster_features(prepared.alignment, centres, hidden, others, nearest)
    extra = generator.permutation(others)[: settings.extra_sequences]
    cluster_rows = settings.clusters if settings.is_padded else len(centres)
    extra_rows = settings.extra_sequences if settings.is_padded else len(extra)
    length = len(prepared.aatype)
    # Differs from the paper: a break of the chain shows in residue_index; the published flag is zero for every chain.
    target = torch.zeros(length, 1 + UNKNOWN + 1)
    target[torch.arange(length), 1 + prepared.aatype] = 1
    deletions = torch.from_numpy(prepared.alignment.deletions[extra]).float()
    return Features(
        aatype=prepared.aatype,
        residue_index=prepared.residue_index,
        mask=torch.ones(length),
        target=target,
        msa=_filled(torch.from_numpy(msa), cluster_rows),
        msa_mask=_filled(torch.ones(len(centres), length), cluster_rows),
        extra_msa=_filled(torch.from_numpy(prepared.alignment.residues[extra]).long(), extra_rows),
        extra_has_deletion=_filled(deletions.clamp(max=1), extra_rows),
        extra_deletion=_filled(torch.atan(deletions / 3) * (2 / torch.pi), extra_rows),
        extra_msa_mask=_filled(torch.ones(len(extra), length), extra_rows),
        templates=prepared.templates,
    )


def mask_residues(
    prepared: Prepared, rows: NDArray[np.int64], settings: FeatureSettings, generator: Generator
) -> NDArray[np.int8]:
    """These rows, `[rows, residues]`, with a share of their positions replaced: 22 is hidden."""
    residues = prepared.alignment.residues[rows]
    row, column = np.nonzero(generator.random(residues.shape, np.float32) < settings.masked_fraction)
    kind = generator.random(len(row))
    new = np.full(len(row), MASKED, np.int8)
    uniform = kind < settings.uniform_share
    new[uniform] = generator.integers(UNKNOWN, size=np.count_nonzero(uniform))
    kind -= settings.uniform_share
    profile = ~uniform & (kind < settings.profile_share)
    # What a random row of the whole alignment has in a column is distributed as its profile.
    drawn = generator.integers(len(prepared.alignment), size=np.count_nonzero(profile))
    new[profile] = prepared.alignment.residues[drawn, column[profile]]
    kind -= settings.profile_share
    same = ~uniform & ~profile & (kind < settings.same_share)
    new[same] = residues[row[same], column[same]]
    residues[row, column] = new
    return residues


def nearest_centres(bits: NDArray[np.uint64], centres: NDArray[np.int8]) -> NDArray[np.int64]:
    """For each sequence of `Prepared.bits`, the first of the centres with which it shares most residues.

    A gap or a hidden position agrees with none; X agrees with X, as published. Exact: columns that differ are counted
    in words of 64, which takes a small part of the time of a product of one-hot matrices.
    """
    # 31 is no residue's number: it differs from all. What fills the last word is the same for all centres.
    planes = _bit_planes(np.where(centres < GAP, centres, _NO_RESIDUE))
    _, words, sequences = bits.shape
    nearest = np.zeros(sequences, np.int64)
    step = max(_BLOCK_BYTES // (_PLANES * words * bits.itemsize), 1)
    for start in range(0, sequences, step):
        block = bits[:, :, start : start + step]
        width = block.shape[2]
        fewest = np.full(width, np.iinfo(np.uint32).max, np.uint32)
        differs, plane = np.empty((2, words, width), np.uint64)
        counts = np.empty((words, width), np.uint8)
        for number in range(len(centres)):
            centre = planes[:, :, number, None]
            np.bitwise_xor(block[0], centre[0], out=differs)
            for bit in range(1, _PLANES):
                np.bitwise_xor(block[bit], centre[bit], out=plane)
                np.bitwise_or(differs, plane, out=differs)
            np.bitwise_count(differs, out=counts)
            count = np.add.reduce(counts, axis=0, dtype=np.uint32)
            closer = count < fewest
            fewest[closer] = count[closer]
            nearest[start : start + width][closer] = number
    return nearest


def cluster_features(
    alignment: Alignment,
    centres: NDArray[np.int64],
    hidden: NDArray[np.int8],
    others: NDArray[np.int64],
    nearest: NDArray[np.int64],
) -> NDArray[np.float32]:
    """`[clusters, residues, 49]`: what the centres show, and the means over each and the rows nearest to it.

    `centres` and `others` are numbers of rows, `hidden` the centres after `mask_residues`, `nearest` says to which
    centre each of the others belongs.
    """
    length = hidden.shape[1]
    classes = MASKED + 1
    features = np.zeros((len(centres), length, 2 * classes + 3), np.float32)
    deletions = alignment.deletions[centres].astype(np.float32)
    deletion_sum = deletions.copy()
    weights = (
        np.float32(1e-6) + np.float32(1) + np.bincount(nearest, minlength=len(centres)).astype(np.float32)
    )
    order = np.argsort(nearest)
    members = np.split(others[order], np.searchsorted(nearest[order], np.arange(1, len(centres))))
    offsets = np.arange(length) * classes
    for cluster, rows in enumerate(members):
        codes = np.concatenate([hidden[cluster, None], alignment.residues[rows]]) + offsets
        counts = np.bincount(codes.ravel(), minlength=length * classes).reshape(length, classes)
        features[cluster, :, classes + 2 : -1] = counts / weights[cluster]
        deletion_sum[cluster] += alignment.deletions[rows].sum(axis=0)
    np.put_along_axis(features, hidden[..., None].astype(np.int64), 1, axis=-1)
    features[..., classes] = np.minimum(deletions, 1)
    features[..., classes + 1] = _squashed(deletions)
    features[..., -1] = _squashed(deletion_sum / weights[:, None])
    return features


_PLANES, _NO_RESIDUE = 5, 31
_BLOCK_BYTES = 1 << 21  # bits of sequences that stay in a core's caches


def _bit_planes(residues: NDArray[np.int8]) -> NDArray[np.uint64]:
    """`[rows, columns]` → `[5, words, rows]`; columns are filled up to a multiple of 64."""
    padding = -residues.shape[1] % 64
    planes = []
    for bit in range(_PLANES):
        plane = np.pad((residues >> bit) & 1, ((0, 0), (0, padding)))
        planes.append(np.packbits(plane.view(np.uint8), axis=1).view(np.uint64).T)
    return np.ascontiguousarray(planes)


def _squashed(deletions: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 to 1: few deletions are told apart, many are alike."""
    return np.arctan(deletions / 3) * np.float32(2 / np.pi)


def _filled(rows: Tensor, count: int) -> Tensor:
    """Rows of zeros after the given ones, up to `count` rows."""
    if count == len(rows):
        return rows
    return torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])
