"""The part of the report about embeddings.parquet: a projection, nearest neighbours, lengths."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from chaperonin.report.blocks import Illustration, Paragraph, Part, Section, Table
from chaperonin.report.figures import embedding_projection
from chaperonin.report.sampling import evenly
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count, shortened
from chaperonin.shapes import Float

FILE = "embeddings.parquet"
MOST_PROJECTED = 5_000
MOST_COMPARED = 2_000
_ROWS_AT_ONCE = 1_024
_SMALL_SIDE = 500


@dataclass(frozen=True)
class Sample:
    """Rows of the file, evenly spread over it, with finite embeddings of one width."""

    names: list[str]
    lengths: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    rows_in_file: int


def embedding_section(outdir: Path) -> Section | None:
    """None where the job left no embeddings, or no usable one."""
    path = outdir / FILE
    if not path.is_file():
        return None
    sample = read_sample(path)
    if not sample.names:
        return None
    parts: list[Part] = [_projection(sample)]
    if len(sample.names) > 1:
        parts.append(_neighbours(sample))
    return Section("embeddings", "Projection and neighbours", parts, _READING)


def read_lengths(outdir: Path) -> NDArray[np.int64]:
    """Length of the sequence of every record, in residues."""
    lengths = pyarrow.parquet.read_table(outdir / FILE, columns=["length"])["length"]
    return lengths.drop_null().to_numpy().astype(np.int64)


def read_sample(path: Path) -> Sample:
    """At most 5,000 rows; reads the file a thousand rows at a time."""
    names: list[str] = []
    lengths: list[int] = []
    embeddings: list[NDArray[np.float32]] = []
    with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        rows = file.metadata.num_rows
        wanted = evenly(rows, MOST_PROJECTED)
        start = 0
        for batch in file.iter_batches(
            _ROWS_AT_ONCE, columns=["id", "length", "embedding"], use_threads=False
        ):
            chosen = wanted[(wanted >= start) & (wanted < start + len(batch))] - start
            start += len(batch)
            taken = batch.take(pyarrow.array(chosen))
            names += [str(name) for name in taken.column("id").to_pylist()]
            lengths += taken.column("length").to_pylist()
            values = taken.column("embedding").flatten().to_numpy(zero_copy_only=False)
            embeddings.append(values.astype(np.float32).reshape(len(taken), -1) if len(taken) else values[:0])
    matrix = np.concatenate([part for part in embeddings if part.size] or [np.zeros((0, 1), np.float32)])
    finite = np.isfinite(matrix).all(axis=1)
    return Sample(
        [name for name, keep in zip(names, finite, strict=True) if keep],
        np.array(lengths, dtype=np.int64)[finite],
        matrix[finite],
        rows,
    )


def principal_components(
    embeddings: Float[np.ndarray, "proteins width"],
) -> tuple[Float[np.ndarray, "proteins 2"], tuple[float, float]]:
    """Coordinates on the first two principal components and their shares of the variance.

    The singular value decomposition of the centred matrix: all of it where it is small, only its two largest
    values (Lanczos iteration) where it is not. The largest loading of a component is positive.
    """
    centred = (embeddings - embeddings.mean(axis=0, dtype=np.float64)).astype(np.float32)
    total = float(np.sum(centred**2, dtype=np.float64))
    if min(centred.shape) <= _SMALL_SIDE:
        _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    else:
        start = np.random.default_rng(0).standard_normal(min(centred.shape)).astype(np.float32)
        _, sizes, directions = svds(centred, k=2, v0=start)
        sizes, directions = sizes[::-1], directions[::-1]
    coordinates, explained = np.zeros((len(centred), 2), dtype=np.float32), [0.0, 0.0]
    for number, (size, direction) in enumerate(zip(sizes[:2], directions[:2], strict=True)):
        upright = direction * np.sign(direction[np.abs(direction).argmax()])
        coordinates[:, number] = centred @ upright
        explained[number] = float(size) ** 2 / total if total else 0.0
    return coordinates, (explained[0], explained[1])


def nearest_neighbours(
    embeddings: Float[np.ndarray, "proteins width"],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each protein the row of the other one with the highest cosine, and that cosine."""
    sizes = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = embeddings / np.maximum(sizes, np.finfo(np.float32).tiny)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    closest = cosines.argmax(axis=1)
    return closest, np.minimum(cosines[np.arange(len(closest)), closest], 1).astype(np.float32)


def _projection(sample: Sample) -> Part:
    if len(sample.names) < 3:
        return Paragraph("A projection needs at least three proteins.")
    if not np.ptp(sample.embeddings, axis=0).any():
        return Paragraph("All embeddings are equal: there is nothing to project.")
    coordinates, explained = principal_components(sample.embeddings)
    figure = embedding_projection(
        coordinates, explained, sample.lengths, [shortened(name) for name in sample.names]
    )
    shown = count(len(sample.names), "protein")
    if len(sample.names) < sample.rows_in_file:
        shown += f", evenly chosen from {count(sample.rows_in_file)},"
    caption = (
        f"{shown} on the first two principal components of their {sample.embeddings.shape[1]} dimensions."
    )
    return Illustration(as_svg(figure, "projection", f"Scatter plot: {caption}"), caption)


def _neighbours(sample: Sample) -> Table:
    chosen = evenly(len(sample.names), MOST_COMPARED)
    closest, cosines = nearest_neighbours(sample.embeddings[chosen])
    names = [sample.names[row] for row in chosen]
    rows = [
        (shortened(name, 32), shortened(names[other], 32), f"{cosine:.4f}", count(int(sample.lengths[row])))
        for name, other, cosine, row in zip(names, closest, cosines, chosen, strict=True)
    ]
    among = "" if len(chosen) == sample.rows_in_file else (
        f" Among {count(len(chosen))} proteins evenly chosen from {count(sample.rows_in_file)}."
    )  # fmt: skip
    return Table(
        "Nearest neighbour",
        ("protein", "closest other", "cosine", "residues"),
        rows,
        frozenset({2, 3}),
        f"Highest cosine between mean embeddings.{among}",
    )


_READING = (
    (
        "Projection",
        "Each point is a protein: the mean of its residue embeddings, projected on the two directions in "
        "which these proteins differ most. The axis labels say how much of all variance each direction "
        "holds; when the two together hold little, distances in the picture say little. The colour is the "
        "length: a gradient along an axis means that the axis follows length before anything else.",
    ),
    (
        "Nearest neighbour",
        "The other protein in this job whose embedding points in the most similar direction. 1 is the "
        "same direction. All proteins share a common direction, so cosines are high in general: compare "
        "them with each other, not with 0.",
    ),
)
