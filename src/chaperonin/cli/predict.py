"""Labels and calibrated probabilities from a fine-tuned model (predictions.csv)."""

from pathlib import Path
from typing import Literal

from chaperonin.cli.options import JobOptions


def run(
    input: Path,
    outdir: Path,
    *,
    model: str | None = None,
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None,
    long: Literal["window", "truncate", "fail"] | None = None,
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Predict a property of every protein of INPUT, of its residues or of their pairs.

    Parameters
    ----------
    input
        FASTA, CSV or TSV file (also .gz) or a folder of them.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    model
        Folder that `chaperonin train` wrote, or the bundled chaperonin/esm2-tiny-membrane or -localization.
    precision
        Arithmetic: auto, fp32, bf16 or int8.
    long
        Above 1,022 residues: overlapping windows, the first 1,022, or a failure.
    """
    from chaperonin.cli.sequence_verb import run_verb
    from chaperonin.inference.predict import PredictSettings, predict_job

    options = {"model": model, "precision": precision, "long": long}
    settings = job.resolve(PredictSettings, options)
    return run_verb(predict_job, settings, input, outdir, job.overwrite, job.dry_run)
