"""What the verbs over whole sequences share: load the model, plan or run, report, exit code."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from chaperonin.config import as_yaml
from chaperonin.inference import sequences
from chaperonin.inference.jobs import Outcome
from chaperonin.inference.load import load

Forecast = Callable[[Any, Path, Any], str]
"""Model, input and settings → lines on what a run would take."""


class Verb(Protocol):
    """`embed_job` and its like."""

    def __call__(self, model: Any, source: Path, outdir: Path, settings: Any, overwrite: bool) -> Outcome:
        """Run the job into OUTDIR."""


def run_verb(
    verb: Verb,
    settings: Any,
    source: Path,
    outdir: Path,
    overwrite: bool,
    dry_run: bool,
    forecast: Forecast = sequences.forecast,
) -> int:
    """Do the job and write its report, or only print its forecast; returns the exit code."""
    model = load(settings.model, precision=settings.precision, device=settings.device, layers=settings.layers)
    return run_job(verb, model, model, settings, source, outdir, overwrite, dry_run, forecast)


def run_job(
    verb: Verb,
    model: Any,
    tower: Any,
    settings: Any,
    source: Path,
    outdir: Path,
    overwrite: bool,
    dry_run: bool,
    forecast: Forecast = sequences.forecast,
) -> int:
    """The same with a model that is loaded; `tower` is what reads the sequences in it."""
    if dry_run:
        print(as_yaml(settings), end="")
        print(forecast(tower, source, settings))
        return 0
    outcome = verb(model, source, outdir, settings, overwrite)
    from chaperonin.report import write_report  # seconds long, and not needed before

    print(ending(outcome, outdir, write_report(outdir)), file=sys.stderr)
    return outcome.exit_code


def ending(outcome: Outcome, outdir: Path, report: Path) -> str:
    """The last line of a job, for stderr."""
    failed = f", {outcome.failed:,} failed (see {outdir / 'failures.jsonl'})" if outcome.failed else ""
    return f"{outcome.done:,} done{failed}. Report: {report}"
