"""Classes described in words: each protein gets the one whose text agrees with it most (ProtST, section 4.3)."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.prompts import Prompt, read_prompts
from chaperonin.data.sources import csv_cell
from chaperonin.errors import UsageError
from chaperonin.files import atomic_file
from chaperonin.inference.jobs import Job, Outcome
from chaperonin.inference.predict import FILE
from chaperonin.inference.protst import PUBLISHED, Compat, Loaded
from chaperonin.inference.sequences import SequenceJob, SequenceSettings
from chaperonin.models.esm.model import ESM
from chaperonin.tasks.prediction import Prediction, cells, header
from chaperonin.tasks.target import Target


@dataclass(frozen=True)
class ZeroShotSettings(SequenceSettings):
    """What `predict --prompts` computes."""

    model: str = PUBLISHED
    """Hub name or folder of a ProtST."""
    prompts: str = ""
    """TSV or CSV file with a row for each class: its text, and its label where the text is not to be that too."""
    column: str = ""
    """Column of the texts; by default prompt, text or name."""
    compat: Compat = "none"
    """`published`: as the published evaluation, texts without [SEP] and proteins cut at 1,022 residues."""

    def __post_init__(self) -> None:
        if self.compat == "published" and self.long == "window":
            object.__setattr__(self, "long", "truncate")


@dataclass(frozen=True)
class Classes:
    """Prompts and their vectors, which are computed once."""

    target: Target
    vectors: NDArray[np.float32]
    """`[classes, width]`, of unit length."""
    scale: float

    def logits(self, proteins: NDArray[np.float32]) -> NDArray[np.float32]:
        """Agreement of every protein with every class, `[proteins, classes]`."""
        return np.float32(self.scale) * (proteins @ self.vectors.T)

    def prediction(self, protein: NDArray[np.float32]) -> Prediction:
        """The class that agrees most, and the share of each; the temperature is the model's own."""
        logits = self.logits(protein[None]).astype(np.float64)[0]
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best = int(logits.argmax())
        named = dict(zip(self.target.classes, map(float, shares), strict=True))
        return Prediction(
            self.target.classes[best], float(shares[best]), named, None, None, in_domain=None, distance=None
        )


def classes_of(model: Loaded, prompts: Sequence[Prompt], compat: Compat = "none") -> Classes:
    """The vectors of prompts, each text once."""
    texts = [prompt.text for prompt in prompts]
    model.tell_cut(prompts)
    return Classes(target_of(prompts), model.text_vectors(texts, compat), model.scale)


def target_of(prompts: Sequence[Prompt]) -> Target:
    """The labels of prompts as what is predicted."""
    labels = tuple(prompt.label for prompt in prompts)
    return Target("sequence", "multiclass" if len(labels) > 2 else "binary", labels)


def zero_shot(
    model: Loaded, proteins: Mapping[str, str], prompts: Sequence[Prompt], compat: Compat = "none"
) -> dict[str, Prediction]:
    """Class of each protein, id → sequence, in memory; sequences as they stand."""
    classes = classes_of(model, prompts, compat)
    vectors = model.protein_vectors(list(proteins.values()), 4096, compat)
    return {id: classes.prediction(vector) for id, vector in zip(proteins, vectors, strict=True)}


def zero_shot_job(
    model: Loaded, source: Path, outdir: Path, settings: ZeroShotSettings, overwrite: bool = False
) -> Outcome:
    """Predict into OUTDIR/predictions.csv by prompts; resumes after a kill."""
    if not settings.prompts:
        raise UsageError("no prompts", advice="Give a file of them with --prompts.")
    path = Path(settings.prompts)
    prompts = read_prompts(path, settings.column)
    classes = classes_of(model, prompts, settings.compat)
    # The texts count, and how they are read, not where their file lies.
    digest = sha256(path.read_bytes() + model.words.sha256.encode()).hexdigest()
    settings = replace(settings, prompts=f"{path.name} {digest}")
    return SequenceJob(
        "predict", settings, partial(compute, model), partial(_write, classes), partial(result_bytes, model)
    ).run(model.tower, source, outdir, overwrite)


def compute(model: Loaded, tower: ESM, sequences: Sequence[str], budget: int) -> list[dict[str, Any]]:
    """What a job keeps of each sequence: its vector."""
    return [{"vector": vector} for vector in model.protein_vectors(sequences, budget)]


def result_bytes(model: Loaded, tower: ESM, length: int) -> int:
    """Size of that."""
    return 4 * model.model.config.width


def _write(classes: Classes, job: Job, outdir: Path, tower: ESM) -> list[Path]:
    path = outdir / FILE
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as opened:
        lines = csv.writer(opened, lineterminator="\n")
        lines.writerow(["id", *header(classes.target)])
        for record in job.records():
            if not record.failed:
                found = classes.prediction(job.result(record.unit, "vector")["vector"])
                lines.writerow([csv_cell(record.id), *cells(found, classes.target)])
    return [path]
