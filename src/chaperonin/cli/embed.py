"""Vectors per residue (embeddings.h5) and per protein (embeddings.parquet)."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from chaperonin.cli.options import JobOptions, ModelOptions


def run(
    input: Path,
    outdir: Path,
    *,
    level: Literal["both", "residue", "protein"] | None = None,
    model: ModelOptions = ModelOptions(),  # noqa: B008 (frozen)
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Embed every protein of INPUT into OUTDIR.

    Parameters
    ----------
    input
        FASTA, CSV or TSV file (also .gz) or a folder of them.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    level
        Which vectors to write: residue, protein or both.
    """
    from chaperonin.cli.sequence_verb import run_verb
    from chaperonin.inference.embed import EmbedSettings, embed_job, forecast_embed

    settings = job.resolve(EmbedSettings, {**asdict(model), "level": level})
    return run_verb(embed_job, settings, input, outdir, job.overwrite, job.dry_run, forecast_embed)
