"""Classes described in words: each protein gets the one whose text agrees with it most (ProtST, section 4.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.prompts import Prompt, read_prompts
from chaperonin.errors import UsageError
from chaperonin.inference.jobs import Job, JobRecord, Outcome
from chaperonin.inference.predict import FILE, write_rows
from chaperonin.inference.protst import PUBLISHED, Compat, Loaded
from chaperonin.inference.sequences import SequenceJob, SequenceSettings
from chaperonin.layers.language import LanguageModel
from chaperonin.tasks.prediction import Prediction
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


Settings = TypeVar("Settings", bound=ZeroShotSettings)


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


def prompts_of(settings: ZeroShotSettings) -> list[Prompt]:
    """The classes that the settings name."""
    if not settings.prompts:
        raise UsageError("no prompts", advice="Give a file of them with --prompts.")
    return read_prompts(settings.prompts, settings.column)


def with_digest(settings: Settings, model: Loaded) -> Settings:
    """The settings as a job compares them: the texts count, and how they are read, not where their file lies."""
    path = Path(settings.prompts)
    digest = sha256(path.read_bytes() + model.words.sha256.encode()).hexdigest()
    return replace(settings, prompts=f"{path.name} {digest}")


def classes_of(model: Loaded, prompts: Sequence[Prompt], compat: Compat = "none") -> Classes:
    """The vectors of prompts, each text once."""
    texts = [prompt.text for prompt in prompts]
    model.tell_cut(prompts)
    return Classes(target_of(prompts), model.text_vectors(texts, compat), model.scale)


def target_of(prompts: Sequence[Prompt]) -> Target:
    """The labels of prompts as what is predicted."""
    labels = tuple(prompt.label for prompt in prompts)
    # A class may be called by any sign: none of them says that a label is not known.
    return Target("sequence", "multiclass" if len(labels) > 2 else "binary", labels, unknown="")


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
    classes = classes_of(model, prompts_of(settings), settings.compat)

    def write(job: Job, outdir: Path, tower: LanguageModel) -> list[Path]:
        return [write_rows(job, outdir / FILE, classes.target, partial(stored_prediction, classes, job))]

    return SequenceJob(
        "predict",
        with_digest(settings, model),
        partial(compute, model),
        write,
        partial(result_bytes, model),
    ).run(model.tower, source, outdir, overwrite)


def compute(
    model: Loaded, tower: LanguageModel, sequences: Sequence[str], budget: int
) -> list[dict[str, Any]]:
    """What a job keeps of each sequence: its vector."""
    return [{"vector": vector} for vector in model.protein_vectors(sequences, budget)]


def result_bytes(model: Loaded, tower: LanguageModel, length: int) -> int:
    """Size of that."""
    return 4 * model.model.config.width


def stored_prediction(classes: Classes, job: Job, record: JobRecord) -> Prediction:
    """The class by what `compute` kept."""
    return classes.prediction(job.result(record.unit, "vector")["vector"])
