"""ProteinGym's supervised benchmark for any model: assays.csv, summary.csv and predictions of variants not seen."""

import sys
from pathlib import Path
from typing import Literal

from chaperonin.cli.options import JobOptions


def run(
    input: Path,
    outdir: Path,
    *,
    model: str | None = None,
    method: Literal["auto", "frozen", "lora"] | None = None,
    reference: str | None = None,
    fold_column: str | None = None,
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None,
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Learn each assay of INPUT from four fifths of its variants and predict the others, five times.

    Parameters
    ----------
    input
        A table of variants, or a folder of them, one an assay: ProteinGym's (mutant, mutated_sequence, DMS_score,
        fold_random_5) or AIDO.Protein's (sequences, labels, fold_id). Also .gz.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    model
        Hub name, folder, or the bundled chaperonin/esm2-tiny.
    method
        frozen: a head of two layers on the model's vectors; lora: adapters and the same head. auto is lora, and frozen
        for assays of insertions and deletions with less than 1,000 variants.
    reference
        ProteinGym's reference file: wild types, and its average over assays.
    fold_column
        Column with the number of each variant's fold. By default fold_random_5 or fold_id; without them five folds
        are drawn.
    precision
        Arithmetic of the frozen model: auto, fp32, bf16 or int8.
    """
    from chaperonin.config import as_yaml
    from chaperonin.inference.load import load
    from chaperonin.inference.proteingym import SupervisedSettings, forecast_supervised, supervised_job

    options = {
        "model": model,
        "method": method,
        "reference": reference,
        "folds.column": fold_column,
        "precision": precision,
    }
    settings = job.resolve(SupervisedSettings, options)
    frozen = load(settings.model, precision=settings.precision, device=settings.device)
    if job.dry_run:
        print(as_yaml(settings), end="")
        print(forecast_supervised(frozen, input, settings))
        return 0
    from chaperonin.training.fitness import FoldLearner

    device = next(frozen.parameters()).device
    learn = FoldLearner(settings.model, device, settings.recipes, settings.seed)
    outcome = supervised_job(frozen, learn, input, outdir, settings, job.overwrite)
    from chaperonin.cli.sequence_verb import ending
    from chaperonin.report import write_report  # seconds long, and not needed before

    print(ending(outcome, outdir, write_report(outdir)), file=sys.stderr)
    return outcome.exit_code
