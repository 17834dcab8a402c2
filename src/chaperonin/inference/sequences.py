"""What every job over whole sequences does: each distinct sequence is one computation, each record ends somewhere."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch

from chaperonin.config import as_dict
from chaperonin.data.batching import make_batch
from chaperonin.data.sources import Record, Rejected, fingerprint, read_records
from chaperonin.data.windows import WINDOW, windows
from chaperonin.errors import InputError, MemoryLimitError, UsageError
from chaperonin.files import require_room
from chaperonin.inference.jobs import FLUSH_BYTES, Job, Outcome
from chaperonin.inference.load import BUNDLED, Layers, Precision, origin_of
from chaperonin.inference.memory import batch_tokens, free_bytes, predicted_peak_bytes
from chaperonin.inference.progress import Progress
from chaperonin.inference.provenance import Provenance
from chaperonin.inference.run import Compute, run_units
from chaperonin.layers.language import LanguageModel
from chaperonin.protein.sequence import clean

Long = Literal["window", "truncate", "fail"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SequenceSettings:
    """How a job over sequences reads and runs them."""

    long: Long = "window"
    """Sequences above 1,022 residues: overlapping windows, the first 1,022 residues, or a failure."""
    unknown: str | None = None
    """`X` reads the letter J as X instead of failing the record."""
    batch_tokens: int | None = None
    """Tokens per batch; by default what suits the machine."""
    model: str = BUNDLED
    """Hub name, folder, or the bundled model."""
    precision: Precision = "auto"
    """Arithmetic: auto, fp32, bf16 or int8."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …"""
    layers: Layers = "memory"
    """`disk`: read each layer of an AIDO.Protein for its turn in every pass, where the model fits into no memory."""


def read_source(
    source: str | Path | Mapping[str, str], unknown: str | None = None
) -> Iterator[Record | Rejected]:
    """Records of a file or a folder, or of a mapping id → sequence, under the same input policy."""
    if not isinstance(source, Mapping):
        yield from read_records(source, unknown=unknown)
        return
    for number, (id, text) in enumerate(source.items(), start=1):
        try:
            sequence, notes = clean(text, unknown)
            yield Record(number, id, sequence, notes, id, {})
        except InputError as error:
            yield Rejected(number, id, id, error)


def refuse_inside(outdir: Path, source: Path) -> None:
    """UsageError for an OUTDIR in the input folder: its files would be the next run's input."""
    if source.is_dir() and outdir.resolve().is_relative_to(source.resolve()):
        raise UsageError(
            "OUTDIR lies in the input folder", where=str(outdir), advice="Choose one outside of it."
        )


def sequence_key(sequence: str) -> str:
    """Name of a sequence in files, as biotrainer makes it: SHA-256 of the sequence, an underscore, its length."""
    return sha256(f"{sequence}_{len(sequence)}".encode()).hexdigest()


def tokens_of(length: int) -> int:
    """Tokens that a sequence costs: its windows, each with `<cls>` and `<eos>`."""
    return sum(window.stop - window.start + 2 for window in windows(length))


def fit(sequence: str, long: Long, where: str) -> tuple[str, tuple[str, ...]]:
    """The sequence as it will be run and a note on what was cut; InputError when it is too long and must fail."""
    if len(sequence) <= WINDOW or long == "window":
        return sequence, ()
    if long == "truncate":
        return sequence[:WINDOW], (f"cut to the first {WINDOW:,} residues",)
    raise InputError(
        f"{len(sequence):,} residues, the model was trained on at most {WINDOW:,}",
        where=where,
        advice="Use --long window, or truncate.",
    )


@dataclass(frozen=True)
class SequenceJob:
    """A verb that computes something of every distinct sequence and then writes its files."""

    verb: str
    settings: SequenceSettings
    compute: Callable[[LanguageModel, Sequence[str], int], list[dict[str, Any]]]
    """Model, sequences and token budget → one dict of arrays per sequence."""
    write: Callable[[Job, Path, LanguageModel], list[Path]]
    """Job, OUTDIR and model → the final files, all in place."""
    result_bytes: Callable[[LanguageModel, int], int]
    """Model and length → size of the result of one sequence, for the prediction of memory and of disk."""
    alone_bytes: Callable[[int], int] = lambda length: 0
    """Length → what one sequence needs besides the batch, where that grows faster than its tokens."""

    def run(self, model: LanguageModel, source: Path, outdir: Path, overwrite: bool = False) -> Outcome:
        """Do the job, or go on with it; every record ends as a result or in failures.jsonl."""
        origin = origin_of(model)
        identity = {"name": origin.name, "sha256": origin.sha256, "parameters": origin.parameters}
        provenance = Provenance(self.verb, self.settings, model=identity)
        results_depend_on = {
            "verb": self.verb,
            "input": fingerprint(source),
            "model": origin.sha256,
            "precision": origin.precision,
            **{name: value for name, value in as_dict(self.settings).items() if name not in _PLACES},
        }
        refuse_inside(outdir, source)
        with Job.open(outdir, results_depend_on, overwrite) as job:
            if job.outcome is not None:
                log.info("%s is complete; use --overwrite to do it again", outdir)
                return job.outcome
            if not job.planned:
                with provenance.stage("read"):
                    self._plan(job, source, model)
            require_room(outdir, job.missing_bytes)
            # A job that goes on keeps its first budget: batches, and so the last digits, stay the same.
            budget = job.token_budget or batch_tokens(model, self.settings.batch_tokens)
            predicted = predicted_peak_bytes(
                model, min(budget, job.totals.tokens), waiting_bytes(job.result_bytes)
            )
            log.info("%s", _announce(job, budget, predicted))
            with provenance.stage("compute"):
                run_units(job, self._units(model, budget), budget, Progress(), stage=self.verb)
            with provenance.stage("write"):
                files = self.write(job, outdir, model)
            counts = _counts(job)
            files.append(
                provenance.write(outdir, records=counts, tokens=job.totals.tokens, predicted_bytes=predicted)
            )
            return job.finish(files)

    def _check_memory(self, model: LanguageModel, length: int, where: str) -> None:
        needed, free = self.alone_bytes(length), free_bytes(torch.device("cpu"))
        if needed > free:
            raise MemoryLimitError(
                f"{length:,} residues need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
                where=where,
                advice="Use a machine with more memory, or --long truncate.",
            )

    def _plan(self, job: Job, source: Path, model: LanguageModel) -> None:
        notes: Counter[str] = Counter()
        with job.planning() as plan:
            for record in read_records(source, unknown=self.settings.unknown):
                if isinstance(record, Rejected):
                    plan.failure(record.number, record.id, record.error)
                    continue
                try:
                    sequence, cut = fit(record.sequence, self.settings.long, record.where)
                    self._check_memory(model, len(sequence), record.where)
                except (InputError, MemoryLimitError) as error:
                    plan.failure(record.number, record.id, error)
                    continue
                key = sequence_key(sequence)
                result_bytes = self.result_bytes(model, len(sequence))
                plan.unit(key, {"sequence": sequence}, tokens_of(len(sequence)), result_bytes)
                own = [*record.notes, *cut]
                extra = {"length": len(sequence), "notes": own}
                plan.record(record.number, record.id, key, extra, record.where)
                notes.update(_kind(note) for note in own)
        for note, count in notes.most_common():
            log.info("%d records: %s", count, note)

    def _units(self, model: LanguageModel, budget: int) -> Compute:
        return lambda units: self.compute(model, [unit.payload["sequence"] for unit in units], budget)


def waiting_bytes(result_bytes: int) -> int:
    """Results that wait to be written, at most."""
    return min(FLUSH_BYTES, result_bytes)


def forecast(
    model: LanguageModel,
    source: Path,
    settings: SequenceSettings,
    result_bytes: Callable[[LanguageModel, int], int] = lambda model, length: 0,
) -> str:
    """What a run would take: records, tokens, memory, disk, and time from a short measurement on this machine.

    result_bytes: as in SequenceJob.
    """
    distinct: dict[str, int] = {}
    failed = 0
    for record in read_records(source, unknown=settings.unknown):
        try:
            if isinstance(record, Rejected):
                raise record.error
            sequence, _ = fit(record.sequence, settings.long, record.where)
            distinct[sequence_key(sequence)] = len(sequence)
        except InputError:
            failed += 1
    tokens = sum(tokens_of(length) for length in distinct.values())
    results = sum(result_bytes(model, length) for length in distinct.values())
    budget = batch_tokens(model, settings.batch_tokens)
    peak = predicted_peak_bytes(model, min(budget, tokens), waiting_bytes(results))
    seconds = tokens / tokens_per_second(model)
    disk = f"\n# results of {results / 1e6:,.1f} MB, twice that on disk while the files are made of them"
    return (
        f"# {len(distinct):,} distinct sequences, {failed:,} records that would fail, {tokens:,} tokens\n"
        f"# batches of {budget:,} tokens, predicted peak {peak / 1e9:.2f} GB, about {seconds:,.0f} s"
        f"{disk if results else ''}"
    )


def tokens_per_second(model: LanguageModel, tokens: int = 1024) -> float:
    """Rate of the model on this machine, measured on sequences of 254 residues."""
    array = model.alphabet.encode("A" * 254)
    batch = make_batch([array] * (tokens // len(array))).to(next(model.parameters()).device)
    with torch.inference_mode():
        model(batch.tokens, batch.segments)
        start = time.perf_counter()
        model(batch.tokens, batch.segments)[0, 0].item()
    return tokens / (time.perf_counter() - start)


_PLACES = ("model", "device", "precision", "batch_tokens", "layers")
"""Settings that say where and how it runs; what they resolve to stands in the job's identity by itself."""


def _kind(note: str) -> str:
    return "".join(letter for letter in note if not letter.isdigit()).strip()


def _counts(job: Job) -> dict[str, int]:
    tally = job.tally()
    return {
        "read": tally.done + tally.failed,
        "done": tally.done,
        "failed": tally.failed,
        "unique": job.totals.units,
    }


def _announce(job: Job, budget: int, predicted: int) -> str:
    counts, totals = _counts(job), job.totals
    return (
        f"{counts['read']:,} records, {totals.units:,} distinct sequences, {totals.tokens:,} tokens, "
        f"batches of {budget:,} tokens, predicted peak {predicted / 1e9:.2f} GB"
    )
