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
    prompts: Path | None = None,
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
    prompts
        TSV or CSV file of classes described in words (columns label and prompt, or ProtST's own files): no training is
        needed, and the model is a ProtST, mila-intel/ProtST-esm1b by default.
    """
    if prompts is not None:
        return _zero_shot(
            input,
            outdir,
            {"model": model, "precision": precision, "long": long, "prompts": str(prompts)},
            job,
        )
    from chaperonin.cli.sequence_verb import run_verb
    from chaperonin.inference.predict import PredictSettings, predict_job

    options = {"model": model, "precision": precision, "long": long}
    settings = job.resolve(PredictSettings, options)
    return run_verb(predict_job, settings, input, outdir, job.overwrite, job.dry_run)


def _zero_shot(input: Path, outdir: Path, options: dict[str, str | None], job: JobOptions) -> int:
    from chaperonin.cli.sequence_verb import run_job
    from chaperonin.data.prompts import read_prompts
    from chaperonin.inference.protst import load_protst
    from chaperonin.inference.zero_shot import ZeroShotSettings, zero_shot_job

    settings = job.resolve(ZeroShotSettings, options)
    read_prompts(settings.prompts, settings.column)  # before the model, which takes longer
    model = load_protst(settings.model, settings.precision, settings.device)
    return run_job(zero_shot_job, model, model.tower, settings, input, outdir, job.overwrite, job.dry_run)
