"""Folding many targets: each model and seed of each is one computation, stored as soon as it is done."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chaperonin.config import as_dict
from chaperonin.data.sources import Rejected
from chaperonin.errors import ChaperoninError, InputError, MemoryLimitError
from chaperonin.files import require_room
from chaperonin.inference.fold import (
    Folded,
    alignment_digest,
    fold_once,
    template_digest,
)
from chaperonin.inference.fold_forecast import peak_of, read_checked
from chaperonin.inference.fold_input import Reading, Target, input_digest, items, read_target
from chaperonin.inference.fold_models import FoldModel
from chaperonin.inference.fold_output import file_name_of, rank_predictions, write_predictions
from chaperonin.inference.fold_settings import FoldSettings
from chaperonin.inference.fold_store import from_arrays, result_bytes, to_arrays, write_coverage
from chaperonin.inference.fold_table import Row, Timing, write_summary, write_times
from chaperonin.inference.jobs import Job, JobRecord, Outcome, Plan, Unit
from chaperonin.inference.ledger import Ledger
from chaperonin.inference.outdir import DATABASE
from chaperonin.inference.progress import Progress
from chaperonin.inference.provenance import Provenance
from chaperonin.inference.sequences import refuse_inside
from chaperonin.kernels.hardware import held_bytes
from chaperonin.kernels.host_memory import return_free_memory
from chaperonin.protein.sequence import file_names

log = logging.getLogger(__name__)


def fold_job(
    models: Sequence[FoldModel],
    source: Path,
    outdir: Path,
    settings: FoldSettings | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Fold every target of a file or folder into OUTDIR; resumes after a kill, with the same files in the end.

    Each target ends with ColabFold's files and a row of summary.csv, or with a line in failures.jsonl. The files of a
    target are written when all its models are done, not at the end of the job.
    """
    settings = settings or FoldSettings()
    refuse_inside(outdir, source)
    targets = items(source, settings)
    provenance = Provenance("fold", settings, seed=settings.first_seed)
    depends_on = _depends_on(models, input_digest(source, targets), settings)
    stale = _files_of_job_before(outdir) if overwrite else []
    with Job.open(outdir, depends_on, overwrite, flush_seconds=0) as job:
        for path in stale:  # now that no other process works here
            path.unlink(missing_ok=True)
        if job.outcome is not None:
            log.info("%s is complete; use --overwrite to do it again", outdir)
            return job.outcome
        work = _Work(job, outdir, models, settings, {item.number: item for item in targets})
        if not job.planned:
            with provenance.stage("read"):
                work.plan()
        require_room(outdir, job.missing_bytes)
        with provenance.stage("fold"):
            work.compute()
        with provenance.stage("write"):
            files = work.write()
        provenance.model = _identity(models)
        files.append(
            provenance.write(
                outdir,
                records=_counts(job),
                tokens=job.totals.tokens,
                predicted_bytes=work.predicted_bytes,
            )
        )
        return job.finish(files)


@dataclass
class _Work:
    """One run of a job that is open."""

    job: Job
    outdir: Path
    models: Sequence[FoldModel]
    settings: FoldSettings
    targets: dict[int, Target | Rejected]
    written: dict[int, list[Path]] = field(default_factory=dict)
    """Record → its files, where this run has written them."""
    _latest: tuple[int, Reading] | None = None
    """The target that is being folded: its alignment is read once, not for each model."""
    _too_large: dict[int, MemoryLimitError] = field(default_factory=dict)
    held_before: int = 0
    """Bytes before the first computation of this run, with all parameters; 0 where there was none."""

    def plan(self) -> None:
        """Read every target once, and enter what there is to do."""
        with self.job.planning() as plan:
            for item in self.targets.values():
                try:
                    reading = read_checked(item, self.models, self.settings)
                except ChaperoninError as error:
                    plan.failure(item.number, item.id, error)
                else:
                    assert isinstance(item, Target)
                    self._enter(plan, item, reading)

    def compute(self) -> None:
        """All computations that are not done yet, one at a time; a target's files follow its last one."""
        totals = self.job.totals
        with Progress().stage(
            "fold",
            totals.units,
            work=totals.tokens,
            done_items=totals.units_finished,
            done_work=totals.tokens_finished,
            noun="computations",
        ) as stage:
            before: Unit | None = None
            for batch in self.job.batches(1):  # so that each computation is a batch of its own
                for unit in batch:
                    self.held_before = self.held_before or self._held_before(unit)
                    if before is not None and before.payload["target"] != unit.payload["target"]:
                        self._write_finished(before.key)
                    self._compute(unit)
                    stage.advance(1, unit.tokens)
                    before = unit
                return_free_memory()

    def write(self) -> list[Path]:
        """All files of targets that are not there yet, and the tables; returns the paths of all files."""
        rows: list[Row] = []
        times: list[Timing] = []
        for record in self.job.records():
            if record.failed:
                continue
            folded = self._write_record(record)
            rows.append(self._row(record, folded))
            times += [_timing(record, one) for one in folded]
        files = [path for paths in self.written.values() for path in paths]
        return [*files, write_summary(self.outdir, rows), write_times(self.outdir, times)]

    @property
    def predicted_bytes(self) -> int | None:
        """The forecast of this run's peak; None where everything had been done before."""
        peaks = [record.extra["peak_bytes"] for record in self.job.records() if not record.failed]
        return self.held_before + max(peaks, default=0) if self.held_before else None

    def _enter(self, plan: Plan, target: Target, reading: Reading) -> None:
        prepared, length = reading.prepared, len(reading.prepared.aatype)
        keys = []
        for place, model in enumerate(self.models):
            for seed in self.settings.seed_numbers:
                keys.append(_key(model, reading, seed, self.settings))
                payload = {
                    "target": target.number,
                    "model": place,
                    "seed": seed,
                    "content": _content(reading),
                }
                plan.unit(keys[-1], payload, length, result_bytes(model, length))
        notes = [*target.notes, *reading.notes]
        for note in notes:
            log.info("%s: %s", target.id, note)
        extra = {
            "length": length,
            "sequences": len(prepared.alignment),
            "notes": notes,
            "peak_bytes": max(peak_of(model, prepared, self.settings) for model in self.models),
        }
        plan.record(target.number, target.id, keys, extra, target.where)

    def _compute(self, unit: Unit) -> None:
        number, place = unit.payload["target"], unit.payload["model"]
        try:
            if number in self._too_large:
                raise self._too_large[number]
            prepared = self._reading(unit).prepared
            folded = fold_once(self.models[place], prepared, unit.payload["seed"], self.settings)
        except MemoryLimitError as error:  # the other models would find out the same
            self._too_large[number] = error
            self.job.fail(unit, error)
        except ChaperoninError as error:
            self.job.fail(unit, error)
        except MemoryError:
            self.job.fail(unit, MemoryLimitError("its files do not fit into memory"))
        else:
            self.job.store([unit], [to_arrays(folded, place, prepared.alignment)])

    def _held_before(self, unit: Unit) -> int:
        """Bytes that the process, or the GPU, holds when all parameters are loaded and nothing is computed yet."""
        _ = self.models[0].network  # it may be in memory without anyone having asked for it
        own = self.models[unit.payload["model"]].network
        parameters = sum(parameter.nbytes for parameter in own.parameters())
        to_come = sum("network" not in vars(model) for model in self.models) * parameters
        return held_bytes(next(own.parameters()).device) + to_come

    def _reading(self, unit: Unit) -> Reading:
        number = unit.payload["target"]
        if self._latest is None or self._latest[0] != number:
            self._latest = None  # its memory, before the next one is read
            target = self.targets[number]
            assert isinstance(target, Target)
            self._latest = (number, read_target(target, self.settings))
        reading = self._latest[1]
        if _content(reading) != unit.payload["content"]:
            raise InputError(
                "the files of this target changed while the job ran", advice="Start afresh with --overwrite."
            )
        return reading

    @cached_property
    def _records_of(self) -> dict[str, list[JobRecord]]:
        """Computation → records that need it."""
        found: dict[str, list[JobRecord]] = {}
        for record in self.job.records():
            for key in record.units:
                found.setdefault(key, []).append(record)
        return found

    @cached_property
    def _names(self) -> dict[str, str]:
        return file_names(record.id for record in self.job.records())

    def _write_finished(self, key: str) -> None:
        """Files of the records that need a computation, where all the others are done too."""
        for record in self._records_of[key]:
            try:
                self._write_record(record)
            except KeyError:  # one has failed, or is to come
                continue

    def _write_record(self, record: JobRecord) -> list[Folded]:
        """Write its files unless this run has done so; what they were made of, best first."""
        stored = [self.job.result(key) for key in record.units]
        folded = [from_arrays(arrays, self.models[int(arrays["model"])]) for arrays in stored]
        ranked = rank_predictions([one.prediction for one in folded])
        folded.sort(key=lambda one: ranked.index(one.prediction))
        if record.number not in self.written:
            warnings = {model.warning for model in self.models if model.warning}
            self.written[record.number] = write_predictions(
                self.outdir,
                self._names[record.id],
                ranked[: self.settings.keep],
                title=record.id,
                software={"chaperonin": version("chaperonin")},
                warning="; ".join(sorted(warnings)),
            )
            self.written[record.number] += write_coverage(self.outdir, self._names[record.id], stored[0])
        return folded

    def _row(self, record: JobRecord, folded: Sequence[Folded]) -> Row:
        best, name = folded[0].prediction, self._names[record.id]
        return Row(
            id=record.id,
            name=name,
            length=record.extra["length"],
            sequences=record.extra["sequences"],
            best_model=f"{best.tag}_{best.model}_seed_{best.seed:03d}",
            mean_plddt=best.mean_plddt,
            ptm=best.ptm,
            structure=file_name_of(name, "unrelaxed", 1, best, "pdb"),
            notes="; ".join(record.extra["notes"]),
        )


def _timing(record: JobRecord, folded: Folded) -> Timing:
    one = folded.prediction
    return Timing(record.id, one.tag, one.model, one.seed, folded.iterations, folded.seconds)


def _content(reading: Reading) -> str:
    return f"{alignment_digest(reading.prepared)} {template_digest(reading.prepared.templates)}"


def _key(model: FoldModel, reading: Reading, seed: int, settings: FoldSettings) -> str:
    """Of a computation: SHA-256 of all that its result depends on."""
    numbers = (
        seed,
        settings.recycles_of(model),
        settings.recycle_tolerance,
        settings.msa_clusters,
        settings.extra_sequences,
    )
    return sha256(f"{_content(reading)} {model.name} {model.digest} {numbers}".encode()).hexdigest()


def _depends_on(models: Sequence[FoldModel], input_sha256: str, settings: FoldSettings) -> dict[str, Any]:
    """What the files of the job depend on."""
    return {
        "verb": "fold",
        "input": input_sha256,
        "models": {f"{model.tag}_{model.name}": model.digest for model in models},
        "order": [f"{model.tag}_{model.name}" for model in models],
        **{name: value for name, value in as_dict(settings).items() if name not in _PLACES},
    }


_PLACES = ("models", "templates", "random_weights", "device")
"""Settings that say where things are; what they resolve to stands in the job's identity by itself."""


def _identity(models: Sequence[FoldModel]) -> dict[str, Any]:
    """What run.json says of the models."""
    digests = "".join(model.digest for model in models)
    return {
        "name": ", ".join(f"{model.tag}_{model.name}" for model in models),
        "sha256": sha256(digests.encode()).hexdigest(),
        "parameters": sum(parameter.numel() for model in models for parameter in model.network.parameters()),
    }


def _counts(job: Job) -> dict[str, int]:
    tally = job.tally()
    read = tally.done + tally.failed
    return {"read": read, "done": tally.done, "failed": tally.failed, "unique": job.totals.units}


def _files_of_job_before(outdir: Path) -> list[Path]:
    """Files of targets that an unfinished job has left: a finished one names its own."""
    if not (outdir / DATABASE).is_file():
        return []
    try:
        ledger = Ledger(outdir / DATABASE)
    except ChaperoninError:  # a damaged job cannot say
        return []
    names = file_names(record.id for record in ledger.records()).values()
    ledger.close()
    kinds = (f"{state}_rank_*" for state in ("unrelaxed", "relaxed", "scores"))
    pictures = ("coverage.png", "plddt.png", "pae.png")
    patterns = (
        *kinds,
        "predicted_aligned_error_v1.json",
        "summary_confidences.json",
        "coverage.npz",
        *pictures,
    )
    return [path for name in names for pattern in patterns for path in outdir.glob(f"{name}_{pattern}")]
