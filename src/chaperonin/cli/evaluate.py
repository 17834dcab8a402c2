"""How good a fine-tuned model is on labelled proteins (metrics.json, predictions.csv)."""

from pathlib import Path
from typing import Literal

from chaperonin.cli.options import JobOptions


def run(
    input: Path,
    outdir: Path,
    *,
    model: str | None = None,
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None,
    label_column: str | None = None,
    stage: str | None = None,
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Compare a model's predictions for INPUT with its labels.

    Parameters
    ----------
    input
        Labelled CSV, TSV or FASTA file (also .gz), as `chaperonin train` reads it.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    model
        Folder that `chaperonin train` wrote, or the bundled chaperonin/esm2-tiny-membrane or -localization.
    precision
        Arithmetic: auto, fp32, bf16 or int8.
    label_column
        Column of the labels; by default `label` and its usual names.
    stage
        Only records of this stage, test say.
    """
    from chaperonin.cli.sequence_verb import run_verb
    from chaperonin.inference.assess import EvaluateSettings, evaluate_job

    options = {"model": model, "precision": precision, "data.label_column": label_column, "stage": stage}
    settings = job.resolve(EvaluateSettings, options)
    return run_verb(evaluate_job, settings, input, outdir, job.overwrite, job.dry_run)
