"""Structures from sequences and alignments, by AlphaFold 2."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chaperonin.cli.options import JobOptions


def run(
    input: Path,
    outdir: Path,
    *,
    models: list[str] | None = None,
    templates: list[str] | None = None,
    recycles: int | None = None,
    seeds: int | None = None,
    keep: int | None = None,
    pictures: bool = True,
    random_weights: Annotated[bool | None, Parameter(negative="")] = None,
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Fold every protein of INPUT into OUTDIR.

    Parameters
    ----------
    input
        FASTA file (ID.a3m or ID.sto beside it is the alignment of ID), alignment, feature file, or a folder of them.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    models
        Names such as model_1_ptm, or folders, with commas between; by default the five that end in _ptm.
    templates
        Structure file for all targets, or a folder with ID.pdb or ID.cif; may be repeated.
    recycles
        Times that a result is fed back; 3 by default.
    seeds
        How many random seeds each model folds with.
    keep
        How many structures of a target to write, best first.
    pictures
        Whether to draw ID_coverage.png, ID_plddt.png and ID_pae.png too.
    random_weights
        Try the program without parameters: results are meaningless and marked so.
    """
    from chaperonin.config import as_yaml
    from chaperonin.kernels.host_memory import before_pytorch, importing

    before_pytorch()
    with importing():
        from chaperonin.inference.fold_models import load_models, loading
        from chaperonin.inference.fold_settings import FoldSettings

    options = {
        "models": None if models is None else [name for words in models for name in words.split(",")],
        "templates": templates,
        "recycles": recycles,
        "seeds": seeds,
        "keep": keep,
        "random_weights": random_weights,
    }
    settings = job.resolve(FoldSettings, options)
    chosen = load_models(settings.models, random_weights=settings.random_weights, device=settings.device)
    if job.dry_run:
        from chaperonin.inference.fold_forecast import forecast_fold

        print(as_yaml(settings), end="")
        print(forecast_fold(chosen, input, settings))
        return 0
    if input.exists():
        chosen[:1] = [loading(chosen[0])]  # while all that follows is imported, a second or two
    with importing():
        from chaperonin.inference.fold_job import fold_job

    outcome = fold_job(chosen, input, outdir, settings, job.overwrite)
    from chaperonin.report import write_fold_pictures, write_report  # seconds long, and not needed before

    if pictures:
        write_fold_pictures(outdir)
    failed = f", {outcome.failed:,} failed (see {outdir / 'failures.jsonl'})" if outcome.failed else ""
    print(f"{outcome.done:,} done{failed}. Report: {write_report(outdir)}", file=sys.stderr)
    return outcome.exit_code
