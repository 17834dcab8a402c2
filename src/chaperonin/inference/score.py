"""Effects of variants: how much more or less probable a model finds a protein after a change."""

import csv
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from chaperonin.config import as_dict
from chaperonin.data.sources import fingerprint
from chaperonin.data.tables import read_table
from chaperonin.errors import InputError, UsageError
from chaperonin.files import write_atomically
from chaperonin.inference.jobs import Job, Outcome
from chaperonin.inference.load import BUNDLED, Layers, Origin, Precision, origin_of
from chaperonin.inference.memory import batch_tokens, predicted_peak_bytes
from chaperonin.inference.plan import Plan
from chaperonin.inference.progress import Progress
from chaperonin.inference.provenance import Provenance
from chaperonin.inference.run import run_units
from chaperonin.inference.score_compute import log_probabilities
from chaperonin.inference.score_evaluation import MEASURED, Reference, read_scores, write_metrics
from chaperonin.inference.score_input import VariantFile, variant_files
from chaperonin.inference.score_output import SCORE, write_scan, write_variants
from chaperonin.inference.score_plan import UNIT_TOKENS, Protocol, read_reference
from chaperonin.inference.score_survey import Entries, enter_scan, enter_tables
from chaperonin.inference.score_wild_types import Tables, WildTypes, target_file
from chaperonin.inference.score_windows import WINDOW_TOKENS
from chaperonin.inference.sequences import refuse_inside, tokens_per_second
from chaperonin.layers.language import LanguageModel

log = logging.getLogger(__name__)

SCORES, METRICS = "scores.csv", "metrics.json"


@dataclass(frozen=True)
class ScoreSettings:
    """What `score` computes, and from what."""

    model: str = BUNDLED
    """Hub name, folder, or the bundled model."""
    precision: Precision = "auto"
    """Arithmetic: auto, fp32, bf16 or int8."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …"""
    layers: Layers = "memory"
    """`disk`: read each layer of an AIDO.Protein for its turn in every pass, where the model fits into no memory."""
    protocol: Protocol = "masked-marginal"
    """masked-marginal, wt-marginal, pseudo-likelihood or indel."""
    compat: Literal["none", "official"] = "none"
    """official: the scores of ProteinGym's ESM script, quirks included."""
    evaluate: bool = False
    """Compare with the column DMS_score and write metrics."""
    target: str | None = None
    """Wild type of tables: a FASTA file or a sequence."""
    reference: str | None = None
    """ProteinGym's reference file, for wild types and for its average."""
    first_residue: int = 1
    """Number of the wild type's first residue in the notation of tables."""
    unknown: str | None = None
    """`X` reads the letter J as X instead of failing the record."""
    batch_tokens: int | None = None
    """Tokens per batch; by default what suits the machine."""


_NOT_IDENTITY = ("model", "device", "precision", "batch_tokens", "layers", "target", "reference", "evaluate")
"""Settings that say where something is, whose content is in the job's identity, or that do not touch the scores."""


@dataclass(frozen=True)
class ScoreInput:
    """What was found in the input, before any pass is run."""

    source: Path
    fingerprint: str
    tables: Tables
    """Empty for a saturation scan of proteins."""
    reference: Reference
    settings: ScoreSettings

    @property
    def official(self) -> bool:
        """Whether ProteinGym's script is to be reproduced."""
        return self.settings.compat == "official"

    def enter(self, entries: Entries) -> None:
        """Enter all records and what they need."""
        if self.tables:
            enter_tables(self.tables, self.settings.protocol, self.official, entries)
        else:
            enter_scan(self.source, self.settings.protocol, entries, self.settings.unknown)


@dataclass(frozen=True)
class Scores:
    """Lines of scores.csv by column name, lines of failures.jsonl, and metrics where they were asked for."""

    rows: list[dict[str, str | float]]
    failures: list[dict[str, Any]]
    metrics: dict[str, Any]
    outcome: Outcome


def open_input(source: Path, settings: ScoreSettings) -> ScoreInput:
    """Look at the input: tables of variants with their wild types, or proteins to scan.

    Raises InputError or UsageError where nothing can come of it.
    """
    content = fingerprint(source)
    reference = read_reference(Path(settings.reference)) if settings.reference else {}
    files = variant_files(source)
    if not files:
        if settings.target or settings.evaluate:
            raise UsageError(
                "the input has no column mutant and no column mutated_sequence, so it is scanned as proteins",
                where=str(source),
                advice="Name the column mutant, or leave --target and --evaluate out.",
            )
        return ScoreInput(source, content, (), reference, settings)
    sequences = {name: row["target_seq"] for name, row in reference.items()}
    wild_types = WildTypes(settings.target, sequences, settings.unknown)
    tables = wild_types.tables(source, files, settings.first_residue)
    readable = [table for table in tables if isinstance(table, VariantFile)]
    if settings.evaluate and not any(MEASURED in table.header for table in readable):
        raise UsageError(
            f"there is no column {MEASURED} to evaluate against",
            where=str(source),
            advice="Name the column with the measurements so, or leave --evaluate out.",
        )
    return ScoreInput(source, content, tables, reference, settings)


def forecast(model: LanguageModel, source: Path, settings: ScoreSettings) -> str:
    """What a run would take: passes, tokens, memory, and time from a short measurement on this machine."""
    budget = batch_tokens(model, settings.batch_tokens)
    entries = _entries(model, budget)
    found = open_input(source, settings)
    found.enter(entries)
    peak = predicted_peak_bytes(model, min(budget, entries.cost.tokens))
    seconds = entries.cost.tokens / tokens_per_second(model)
    return (
        f"# {_describe(entries, found)}\n"
        f"# batches of {budget:,} tokens, predicted peak {peak / 1e9:.2f} GB, about {seconds:,.0f} s"
    )


def score(
    model: LanguageModel, source: str | Path | Mapping[str, str], settings: ScoreSettings | None = None
) -> Scores:
    """Score a table of variants, or all substitutions of the proteins of a FASTA or of a mapping id → sequence.

    All in memory; for resuming and for the report use `score_job`.
    """
    with TemporaryDirectory(prefix="chaperonin-score-") as folder:
        if isinstance(source, Mapping):
            path = Path(folder) / "proteins.csv"
            with path.open("w", encoding="utf-8", newline="") as table:
                csv.writer(table).writerows([("id", "sequence"), *source.items()])
            source = path
        outdir = Path(folder) / "scores"
        outcome = score_job(model, Path(source), outdir, settings)
        rows: list[dict[str, str | float]] = [
            {name: float(cell or "nan") if name == SCORE else cell for name, cell in row.columns.items()}
            for row in read_table(outdir / SCORES).rows
        ]
        lines = (outdir / "failures.jsonl").read_text(encoding="utf-8").splitlines()
        metrics = outdir / METRICS
        return Scores(
            rows=rows,
            failures=[json.loads(line) for line in lines],
            metrics=json.loads(metrics.read_text(encoding="utf-8")) if metrics.exists() else {},
            outcome=outcome,
        )


def score_job(
    model: LanguageModel,
    source: Path,
    outdir: Path,
    settings: ScoreSettings | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Score into OUTDIR: scores.csv, and metrics.json and metrics.csv when evaluated; resumes after a kill."""
    settings = settings or ScoreSettings()
    origin = origin_of(model)
    identity = {"name": origin.name, "sha256": origin.sha256, "parameters": origin.parameters}
    provenance = Provenance("score", settings, model=identity)
    found = open_input(source, settings)
    refuse_inside(outdir, source)
    with Job.open(outdir, _identity(origin, found), overwrite) as job:
        if job.outcome is not None:
            return _finished(job, found, outdir, origin.name)
        # A job that goes on keeps its first budget: batches, and so the last digits, stay the same.
        budget = job.token_budget or batch_tokens(model, settings.batch_tokens)
        if not job.planned:
            with provenance.stage("read"):
                _plan(job, found, model, budget)
        predicted = predicted_peak_bytes(model, min(budget, job.totals.tokens))
        log.info("batches of %s tokens, predicted peak %.2f GB", f"{budget:,}", predicted / 1e9)
        with provenance.stage("compute"):
            run_units(job, lambda units: log_probabilities(model, units), budget, Progress(), stage="score")
        with provenance.stage("write"):
            files = _write(job, found, outdir, origin.name)
        tally, totals = job.tally(), job.totals
        counts = {"read": tally.done + tally.failed, "done": tally.done, "failed": tally.failed}
        counts["unique"] = totals.units
        files.append(
            provenance.write(outdir, records=counts, tokens=totals.tokens, predicted_bytes=predicted)
        )
        return job.finish(files)


def _finished(job: Job, found: ScoreInput, outdir: Path, model: str) -> Outcome:
    """The outcome of a job that is complete; its scores are evaluated where that is asked for, now as before."""
    assert job.outcome is not None
    log.info("%s is complete; use --overwrite to do it again", outdir)
    if not found.settings.evaluate:
        return job.outcome
    path = outdir / "run.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    run["config"]["evaluate"] = True
    write_atomically(path, json.dumps(run, indent=2, ensure_ascii=False) + "\n")
    return job.finish([outdir / SCORES, *_evaluate(job, found, outdir, model), path])


def _identity(origin: Origin, found: ScoreInput) -> dict[str, Any]:
    """All that the scores depend on."""
    settings = found.settings
    target = target_file(settings.target, settings.unknown) if settings.target else None
    return {
        "verb": "score",
        "input": found.fingerprint,
        "model": origin.sha256,
        "precision": origin.precision,
        "target": settings.target if target is None else fingerprint(target),
        "reference": fingerprint(Path(settings.reference)) if settings.reference else None,
        **{name: value for name, value in as_dict(settings).items() if name not in _NOT_IDENTITY},
    }


def _longest(model: LanguageModel) -> int | None:
    """Residues that fit into learned positions: 1,022; rotary ones have no end."""
    return WINDOW_TOKENS - 2 if model.config.positions == "learned" else None


def _entries(model: LanguageModel, budget: int, plan: Plan | None = None) -> Entries:
    return Entries(plan, _longest(model), min(UNIT_TOKENS, budget))


def _plan(job: Job, found: ScoreInput, model: LanguageModel, budget: int) -> None:
    with job.planning() as plan:
        entries = _entries(model, budget, plan)
        found.enter(entries)
        if not entries.records:
            raise InputError("there are no records in the input", where=str(found.source), advice="Add some.")
    log.info("%s", _describe(entries, found))
    for error in entries.first_failures:
        log.info("cannot be scored: %s", error)


def _describe(entries: Entries, found: ScoreInput) -> str:
    noun = ("variant" if found.tables else "protein") + "s" * (entries.records != 1)
    unusable = f" ({entries.failed:,} of them cannot be used)" if entries.failed else ""
    return f"{entries.records:,} {noun}{unusable}: {entries.cost}"


def _write(job: Job, found: ScoreInput, outdir: Path, model: str) -> list[Path]:
    path = outdir / SCORES
    if not found.tables:
        write_scan(job, found.source, found.official, path, found.settings.unknown)
        return [path]
    write_variants(job, found.tables, found.official, path)
    return [path, *(_evaluate(job, found, outdir, model) if found.settings.evaluate else [])]


def _evaluate(job: Job, found: ScoreInput, outdir: Path, model: str) -> list[Path]:
    assays = read_scores(job, found.tables, outdir / SCORES)
    metrics, files = write_metrics(assays, model, found.reference, outdir)
    log.info("%s", _summary(metrics, model))
    return files


def _summary(metrics: dict[str, Any], model: str) -> str:
    count, over = len(metrics["assays"]), metrics["average_over"]
    spearman, baseline = metrics["Spearman"], metrics["baselines"]["BLOSUM62"]["Spearman"]
    return f"Spearman {spearman:.3f} ({model}), {baseline:.3f} (BLOSUM62): {count} assays, mean over {over}"
