"""ProteinGym's supervised benchmark: each fold of each assay is one computation of a job that resumes."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.config import as_dict
from chaperonin.data.assays import Assay, FoldSettings, assay_files, assay_name, read_assay
from chaperonin.data.sources import fingerprint
from chaperonin.errors import ChaperoninError, InputError, MemoryLimitError
from chaperonin.files import atomic_file
from chaperonin.inference.jobs import Job, Outcome, Unit
from chaperonin.inference.load import BUNDLED, Precision, origin_of
from chaperonin.inference.memory import batch_tokens, predicted_peak_bytes
from chaperonin.inference.progress import Progress
from chaperonin.inference.proteingym_table import AssayResult, write_tables
from chaperonin.inference.provenance import Provenance
from chaperonin.inference.run import is_out_of_memory
from chaperonin.inference.score_plan import read_reference
from chaperonin.inference.sequences import refuse_inside, tokens_of, tokens_per_second
from chaperonin.models.esm.model import ESM
from chaperonin.protein.lines import display_name
from chaperonin.protein.sequence import file_names
from chaperonin.tasks.features import pooled
from chaperonin.tasks.fitness import FoldResult, Method, Recipes
from chaperonin.weights.manifest import sha256_of

log = logging.getLogger(__name__)

Learn = Callable[[Assay, int, Method, NDArray[np.float32] | None, Path], FoldResult]
"""Assay, fold, method, vectors of the frozen model (None for LoRA) and a folder for what is under way → predictions."""

WORK = "work"
"""Where vectors and trainings under way lie; gone when the job is done."""
_CHUNK = 2048
"""Variants whose vectors are kept together: a job that is killed loses no more of them."""


@dataclass(frozen=True)
class SupervisedSettings:
    """What `evaluate proteingym-supervised` computes."""

    model: str = BUNDLED
    """Hub name, folder, or the bundled model."""
    precision: Precision = "auto"
    """Arithmetic of the frozen model: auto, fp32, bf16 or int8."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …"""
    method: Literal["auto", "frozen", "lora"] = "auto"
    """auto: LoRA, and a head on the frozen model for assays of insertions and deletions with few variants."""
    few_indels: int = 1000
    """Variants of an assay of insertions and deletions from which on `auto` takes LoRA."""
    reference: str | None = None
    """ProteinGym's reference file: wild types, and what its average is over."""
    folds: FoldSettings = field(default_factory=FoldSettings)
    """Which variants are tested together."""
    seed: int = 0
    """Of the initial weights and the order of the data."""
    batch_tokens: int | None = None
    """Tokens per batch of the frozen model; by default what suits the machine."""
    vectors: str | None = None
    """Folder that keeps the frozen model's vectors for further runs; by default they are removed at the end."""
    recipes: Recipes = field(default_factory=Recipes)
    """How a fold is learned."""


_NOT_IDENTITY = ("model", "device", "precision", "batch_tokens", "reference", "vectors")
"""Settings that say where something is, whose content is in the job's identity, or that do not touch the results."""


@dataclass(frozen=True)
class Benchmark:
    """The assays that were asked for."""

    files: Mapping[str, Path]
    """By id."""
    reference: Mapping[str, Mapping[str, str]]
    """Rows of the reference file by DMS_id."""
    settings: SupervisedSettings

    @classmethod
    def of(cls, source: Path, settings: SupervisedSettings) -> "Benchmark":
        """All tables of the input. InputError where there is none, UsageError for a reference that is none."""
        reference = read_reference(Path(settings.reference)) if settings.reference else {}
        return cls(assay_files(source), reference, settings)

    def about(self, id: str) -> Mapping[str, str]:
        """What the reference file says of an assay; nothing where it does not know it."""
        return self.reference.get(assay_name(self.files[id]), {})

    def read(self, id: str) -> Assay:
        """One assay; InputError where it cannot be used."""
        return read_assay(self.files[id], id, self.settings.folds, self.about(id).get("target_seq", ""))

    def assays(self) -> Iterator[tuple[str, Assay | ChaperoninError]]:
        """Every assay, or why it cannot be used."""
        for id in self.files:
            try:
                yield id, self.read(id)
            except ChaperoninError as error:
                yield id, error

    def method(self, assay: Assay) -> Method:
        """How the assay is learned."""
        if self.settings.method != "auto":
            return self.settings.method
        return "frozen" if assay.has_indels and len(assay.values) < self.settings.few_indels else "lora"

    def digest(self) -> str:
        """SHA-256 of the names and bytes of all tables."""
        digest = sha256()
        for id, path in self.files.items():
            digest.update(f"{id}\n{sha256_of(path)}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def supervised_job(
    model: ESM,
    learn: Learn,
    source: Path,
    outdir: Path,
    settings: SupervisedSettings,
    overwrite: bool = False,
) -> Outcome:
    """Cross-validate every assay into OUTDIR: assays.csv, summary.csv and predictions/ID.csv; resumes after a kill."""
    origin = origin_of(model)
    identity = {"name": origin.name, "sha256": origin.sha256, "parameters": origin.parameters}
    provenance = Provenance("evaluate", settings, model=identity, seed=settings.seed)
    refuse_inside(outdir, source)
    benchmark = Benchmark.of(source, settings)
    depends_on = {
        "verb": "evaluate proteingym-supervised",
        "input": benchmark.digest(),
        "reference": fingerprint(Path(settings.reference)) if settings.reference else None,
        "model": origin.sha256,
        "precision": origin.precision,
        **{name: value for name, value in as_dict(settings).items() if name not in _NOT_IDENTITY},
    }
    with Job.open(outdir, depends_on, overwrite, flush_seconds=0) as job:
        if job.outcome is not None:
            log.info("%s is complete; use --overwrite to do it again", outdir)
            return job.outcome
        if not job.planned:
            shutil.rmtree(outdir / WORK, ignore_errors=True)  # of a job that was overwritten
            with provenance.stage("read"):
                _plan(job, benchmark)
        # A job that goes on keeps its first budget: batches, and so the last digits, stay the same.
        budget = job.token_budget or batch_tokens(model, settings.batch_tokens)
        predicted = predicted_peak_bytes(model, budget)
        with provenance.stage("compute"):
            _compute(job, benchmark, model, learn, budget)
        with provenance.stage("write"):
            names = file_names(benchmark.files)
            files = write_tables(outdir, origin.name, _results(job, benchmark), benchmark.about, names)
        tally, totals = job.tally(), job.totals
        counts = {"read": tally.done + tally.failed, "done": tally.done, "failed": tally.failed}
        counts["unique"] = totals.units
        files.append(
            provenance.write(outdir, records=counts, tokens=totals.tokens, predicted_bytes=predicted)
        )
        outcome = job.finish(files)
        shutil.rmtree(outdir / WORK, ignore_errors=True)
        return outcome


def forecast_supervised(model: ESM, source: Path, settings: SupervisedSettings) -> str:
    """Assays, their methods, and what a run would take, from a short measurement on this machine."""
    benchmark = Benchmark.of(source, settings)
    lines, frozen_tokens, most_trained = [], 0, 0
    for id, assay in benchmark.assays():
        if isinstance(assay, ChaperoninError):
            lines.append(f"#   would fail: {id}: {assay}")
            continue
        method, tokens = benchmark.method(assay), _tokens(assay)
        lines.append(
            f"#   {id}: {method}, {len(assay.values):,} variants, {assay.fold_count} folds ({assay.folded_by})"
        )
        if method == "frozen":
            frozen_tokens += tokens
        else:
            step = settings.recipes.lora.batch_size * tokens // len(assay.values)
            most_trained += assay.fold_count * settings.recipes.lora.steps * step
    rate = tokens_per_second(model)
    budget = batch_tokens(model, settings.batch_tokens)
    peak = predicted_peak_bytes(model, budget)
    # Forwards and backwards cost about three times forwards.
    text = f"# frozen model: {frozen_tokens:,} tokens, about {frozen_tokens / rate:,.0f} s, peak {peak / 1e9:.2f} GB"
    if most_trained:
        text += (
            f"\n# LoRA: at most {most_trained:,} tokens, about {3 * most_trained / rate:,.0f} s; "
            "most folds end earlier"
        )
    return "\n".join([f"# {len(lines):,} assays", *lines, text])


def _tokens(assay: Assay) -> int:
    return sum(tokens_of(len(sequence)) for sequence in assay.sequences)


def _plan(job: Job, benchmark: Benchmark) -> None:
    with job.planning() as plan:
        for number, (id, assay) in enumerate(benchmark.assays(), start=1):
            if isinstance(assay, ChaperoninError):
                log.info("%s cannot be used: %s", id, assay)
                plan.failure(number, id, assay)
                continue
            method = benchmark.method(assay)
            keys = [f"{number}/{fold}" for fold in range(assay.fold_count)]
            for fold, key in enumerate(keys):
                plan.unit(key, {"id": id, "fold": fold, "method": method}, _tokens(assay))
            where = display_name(benchmark.files[id])
            plan.record(number, id, keys, {"method": method}, where)
            log.info("%s: %s, %s variants, folds: %s", id, method, f"{len(assay.values):,}", assay.folded_by)


def _compute(job: Job, benchmark: Benchmark, model: ESM, learn: Learn, budget: int) -> None:
    """Learn all folds that are pending; those of one assay come one after the other and share its vectors."""
    work = {id: job.outdir / WORK / name for id, name in file_names(benchmark.files).items()}
    read = lru_cache(maxsize=1)(benchmark.read)
    kept = benchmark.settings.vectors
    vectors_of = lru_cache(maxsize=1)(
        lambda id: _vectors(model, read(id).sequences, Path(kept) if kept else work[id], budget)
    )

    def result(unit: Unit) -> FoldResult:
        id, method = unit.payload["id"], unit.payload["method"]
        vectors = vectors_of(id) if method == "frozen" else None
        return learn(read(id), unit.payload["fold"], method, vectors, _folder(work, unit))

    totals = job.totals
    with Progress().stage(
        "learn", totals.units, work=totals.tokens, done_items=totals.units_finished,
        done_work=totals.tokens_finished, noun="folds",
    ) as stage:  # fmt: skip
        for batch in job.batches(budget):
            for unit in batch:
                _store(job, unit, result)
                shutil.rmtree(_folder(work, unit), ignore_errors=True)
                stage.advance(1, unit.tokens)


def _folder(work: Mapping[str, Path], unit: Unit) -> Path:
    return work[unit.payload["id"]] / f"fold-{unit.payload['fold']}"


def _store(job: Job, unit: Unit, result: Callable[[Unit], FoldResult]) -> None:
    """Compute a fold and bring it to the disk; what is wrong with its assay is a failure, all else ends the run."""
    try:
        found = result(unit)
    except InputError as error:
        job.fail(unit, error)
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        job.fail(unit, _NO_MEMORY)
    else:
        job.store([unit], [{**found.predictions, "steps": np.array(found.steps)}])
    job.flush()


_NO_MEMORY = MemoryLimitError(
    "learning this assay needs more memory than there is",
    advice="Use --set recipes.lora.batch_tokens=2048, --method frozen, or a machine with more memory.",
)


def _vectors(model: ESM, sequences: list[str], folder: Path, budget: int) -> NDArray[np.float32]:
    """Mean vector of each variant `[variants, width]`, by the frozen model; read from the folder where it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    origin = origin_of(model)
    chunks = []
    for start in range(0, len(sequences), _CHUNK):
        own = sequences[start : start + _CHUNK]
        key = sha256("\n".join([origin.sha256, origin.precision, *own]).encode()).hexdigest()
        path = folder / f"{key}.npy"
        if not path.exists():
            found = pooled(model, own, "mean", budget)
            with atomic_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, found)
        chunks.append(np.load(path))
    return np.concatenate(chunks)


def _results(job: Job, benchmark: Benchmark) -> Iterator[AssayResult]:
    """The assays all of whose folds have a result, in the order of the input."""
    for record in job.records():
        if record.failed:
            continue
        assay = benchmark.read(record.id)
        predictions: dict[str, NDArray[np.float64]] = {}
        steps = []
        for fold, key in enumerate(record.units):
            stored: dict[str, Any] = dict(job.result(key))
            steps.append(int(stored.pop("steps")))
            for name, values in stored.items():
                column = predictions.setdefault(name, np.full(len(assay.values), np.nan))
                column[assay.parts(fold).test] = values
        yield AssayResult(assay, record.extra["method"], predictions, steps)
