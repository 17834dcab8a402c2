"""How good a model or a description in words is on labelled proteins, or how near structures are to references."""

import sys
from pathlib import Path
from typing import Any, Literal

from cyclopts import App, Parameter

from chaperonin.cli import proteingym
from chaperonin.cli.options import JobOptions

app = App(
    name="chaperonin evaluate",
    help=__doc__,
    version_flags=[],
    default_parameter=Parameter(negative_iterable=""),
)
app.command(proteingym.run, name="proteingym-supervised")


@app.default
def run(
    input: Path,
    outdir: Path,
    *,
    reference: Path | None = None,
    model: str | None = None,
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None,
    label_column: str | None = None,
    stage: str | None = None,
    prompts: Path | None = None,
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Compare a model's predictions for INPUT with its labels; or, with --reference, structures with others.

    `chaperonin evaluate proteingym-supervised INPUT OUTDIR` is a benchmark of its own.

    Parameters
    ----------
    input
        Labelled CSV, TSV or FASTA file (also .gz), as `chaperonin train` reads it. With --reference a PDB or mmCIF
        file, a folder of them, or a folder that `chaperonin fold` wrote.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    reference
        PDB or mmCIF file for all structures of INPUT, or a folder with ID.cif or ID.pdb for each.
    model
        Folder that `chaperonin train` wrote, or the bundled chaperonin/esm2-tiny-membrane or -localization.
    precision
        Arithmetic: auto, fp32, bf16 or int8.
    label_column
        Column of the labels; by default `label` and its usual names.
    stage
        Only records of this stage, test say.
    prompts
        TSV or CSV file of classes described in words, as for `chaperonin predict`, which are judged with a ProtST
        (mila-intel/ProtST-esm1b by default). INPUT names them by their labels, or by what their column id says.
    """
    options = {
        "model": model,
        "precision": precision,
        "data.label_column": label_column,
        "stage": stage,
        "prompts": None if prompts is None else str(prompts),
    }
    if reference is not None:
        return _compare(input, outdir, reference, options, job)
    _refuse_structures(input)
    if prompts is not None or job.gives("prompts"):
        return _zero_shot(input, outdir, options, job)
    from chaperonin.cli.sequence_verb import run_verb
    from chaperonin.inference.assess import EvaluateSettings, evaluate_job

    settings = job.resolve(EvaluateSettings, options)
    return run_verb(evaluate_job, settings, input, outdir, job.overwrite, job.dry_run)


def _zero_shot(input: Path, outdir: Path, options: dict[str, Any], job: JobOptions) -> int:
    """Judge classes that are described in words; returns the exit code."""
    from chaperonin.cli.sequence_verb import run_job
    from chaperonin.inference.assess_zero_shot import (
        ZeroShotEvaluation,
        evaluate_zero_shot_job,
        labelled_in_words,
    )
    from chaperonin.inference.protst import load_protst

    settings = job.resolve(ZeroShotEvaluation, options)
    labelled_in_words(settings, input)  # before the model, which takes longer
    found = load_protst(settings.model, settings.precision, settings.device)
    return run_job(
        evaluate_zero_shot_job, found, found.tower, settings, input, outdir, job.overwrite, job.dry_run
    )


def _compare(input: Path, outdir: Path, reference: Path, options: dict[str, Any], job: JobOptions) -> int:
    """Compare structures; returns the exit code."""
    from chaperonin.config import as_yaml
    from chaperonin.errors import UsageError
    from chaperonin.inference.compare_job import CompareSettings, compare_job, forecast_compare

    if given := [name.rpartition(".")[2] for name, value in options.items() if value is not None]:
        raise UsageError(
            f"--{given[0].replace('_', '-')} is for labelled proteins, --reference for structures",
            advice="Leave one of them out.",
        )
    settings = job.resolve(CompareSettings, {"reference": str(reference)})
    if job.dry_run:
        print(as_yaml(settings), end="")
        print(forecast_compare(input, settings))
        return 0
    outcome = compare_job(input, outdir, settings, job.overwrite)
    from chaperonin.report import write_report  # seconds long, and not needed before

    failed = f", {outcome.failed:,} failed (see {outdir / 'failures.jsonl'})" if outcome.failed else ""
    print(f"{outcome.done:,} done{failed}. Report: {write_report(outdir)}", file=sys.stderr)
    return outcome.exit_code


def _refuse_structures(input: Path) -> None:
    """UsageError for structures without something to compare them with."""
    from chaperonin.errors import UsageError
    from chaperonin.inference.compare_input import is_structure

    if is_structure(input) or (input.is_dir() and any(map(is_structure, input.iterdir()))):
        raise UsageError(
            "structures are compared with references",
            where=str(input),
            advice="Give --reference, a file or a folder with ID.cif or ID.pdb.",
        )
