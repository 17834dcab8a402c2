"""Texts and proteins that belong together: the best proteins for a text, or the best texts for a protein (ProtST)."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.prompts import MOST_CHARACTERS, Prompt, read_prompts
from chaperonin.data.sources import csv_cell
from chaperonin.errors import InputError, UsageError
from chaperonin.files import atomic_file
from chaperonin.inference.jobs import Job, Outcome
from chaperonin.inference.protst import PUBLISHED, Compat, Loaded
from chaperonin.inference.sequences import SequenceJob, SequenceSettings
from chaperonin.inference.zero_shot import compute, result_bytes
from chaperonin.layers.language import LanguageModel
from chaperonin.tasks.prediction import number

FILE = "hits.csv"
HEADER = ("query", "rank", "id", "cosine")
_AT_ONCE = 4096
"""Vectors that are compared with the best ones so far."""
_LONGEST_PATH = 255
_TABLES = (".tsv", ".csv", ".tab", ".parquet")


@dataclass(frozen=True)
class SearchSettings(SequenceSettings):
    """What `search` computes."""

    model: str = PUBLISHED
    """Hub name or folder of a ProtST."""
    texts: str = ""
    """A text, or a TSV or CSV file of texts."""
    column: str = ""
    """Column of the texts; by default prompt, text or name."""
    of_proteins: bool = False
    """Whether the best texts are looked for, for each protein."""
    top: int = 10
    """How many hits of each query."""
    compat: Compat = "none"
    """`published`: as the published evaluation, texts without [SEP] and proteins cut at 1,022 residues."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UsageError(f"top = {self.top}", advice="Give a number of at least 1.")
        if self.compat == "published" and self.long == "window":
            object.__setattr__(self, "long", "truncate")


@dataclass(frozen=True)
class Hit:
    """One of the best answers to a query."""

    query: str
    rank: int
    """From 1."""
    id: str
    cosine: float
    """Of the two vectors: -1 to 1."""


def read_texts(texts: str, column: str = "") -> list[Prompt]:
    """The text itself, or the rows of the file that is called so; InputError for an empty or endless one."""
    path = Path(texts)
    if Path(path.name.removesuffix(".gz")).suffix.lower() in _TABLES:
        return read_prompts(path, column, least=1)
    if len(texts) < _LONGEST_PATH and path.is_file():
        raise InputError(
            "a file that is no table",
            where=texts,
            advice=f"Call it {path.stem}.tsv, and its first line text. To search for these words, add a full stop.",
        )
    if not texts.strip() or len(texts) > MOST_CHARACTERS:
        raise InputError(
            f"a text of {len(texts.strip()):,} characters",
            advice="Say what to look for, in a sentence or two.",
        )
    return [Prompt(texts.strip(), texts)]


def search(
    model: Loaded, texts: Sequence[str], proteins: Mapping[str, str], top: int = 10, compat: Compat = "none"
) -> list[Hit]:
    """The best proteins, id → sequence, for each text, in memory; sequences as they stand."""
    vectors = model.protein_vectors(list(proteins.values()), 4096, compat)
    named = zip(proteins, vectors, strict=True)
    return list(best_proteins(texts, model.text_vectors(texts, compat), named, top))


def search_job(
    model: Loaded, source: Path, outdir: Path, settings: SearchSettings, overwrite: bool = False
) -> Outcome:
    """Search into OUTDIR/hits.csv; resumes after a kill.

    The best proteins of `source` for each text, or, `of_proteins`, the best texts for each protein.
    """
    prompts = read_texts(settings.texts, settings.column)
    vectors = model.text_vectors([prompt.text for prompt in prompts], settings.compat)
    model.tell_cut(prompts)
    lines = [f"{prompt.label}\t{prompt.text}" for prompt in prompts]
    digest = sha256("\n".join([model.words.sha256, *lines]).encode()).hexdigest()
    # The texts count, and how they are read, not where their file lies.
    settings = replace(settings, texts=f"{len(prompts)} texts {digest}")

    def write(job: Job, outdir: Path, tower: LanguageModel) -> list[Path]:
        labels = [prompt.label for prompt in prompts]
        named = (
            (record.id, job.result(record.unit, "vector")["vector"])
            for record in job.records()
            if not record.failed
        )
        if settings.of_proteins:
            hits = best_texts(named, labels, vectors, settings.top)
        else:
            hits = best_proteins(labels, vectors, named, settings.top)
        return [_write(outdir / FILE, hits)]

    return SequenceJob("search", settings, partial(compute, model), write, partial(result_bytes, model)).run(
        model.tower, source, outdir, overwrite
    )


def best_proteins(
    queries: Sequence[str],
    vectors: NDArray[np.float32],
    named: Iterable[tuple[str, NDArray[np.float32]]],
    top: int,
) -> Iterator[Hit]:
    """The best proteins for each query; of equal cosines the earlier one is better. Only the best ones are held."""
    cosines = np.empty((len(queries), 0), dtype=np.float32)
    ids = np.empty((len(queries), 0), dtype=object)
    proteins = iter(named)
    while portion := list(islice(proteins, _AT_ONCE)):
        # Filled up: a product of other sizes may round otherwise, and equal proteins would differ.
        rows = np.zeros((_AT_ONCE, vectors.shape[1]), dtype=np.float32)
        rows[: len(portion)] = [vector for _, vector in portion]
        own = np.empty((1, len(portion)), dtype=object)
        own[0] = [id for id, _ in portion]
        cosines = np.concatenate([cosines, (vectors @ rows.T)[:, : len(portion)]], axis=1)
        ids = np.concatenate([ids, own.repeat(len(queries), axis=0)], axis=1)
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :top]
        cosines, ids = np.take_along_axis(cosines, best, 1), np.take_along_axis(ids, best, 1)
    for query, scores, found in zip(queries, cosines, ids, strict=True):
        for rank, (cosine, id) in enumerate(zip(scores, found, strict=True), start=1):
            yield Hit(query, rank, id, float(cosine))


def best_texts(
    named: Iterable[tuple[str, NDArray[np.float32]]],
    labels: Sequence[str],
    vectors: NDArray[np.float32],
    top: int,
) -> Iterator[Hit]:
    """The best texts for each protein, in the order of the proteins."""
    for id, vector in named:
        cosines = vectors @ vector
        for rank, place in enumerate(np.argsort(-cosines, kind="stable")[:top], start=1):
            yield Hit(id, rank, labels[place], float(cosines[place]))


def _write(path: Path, hits: Iterable[Hit]) -> Path:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as opened:
        lines = csv.writer(opened, lineterminator="\n")
        lines.writerow(HEADER)
        for hit in hits:
            lines.writerow([csv_cell(hit.query), hit.rank, csv_cell(hit.id), number(hit.cosine)])
    return path
