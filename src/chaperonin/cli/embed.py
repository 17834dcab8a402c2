"""Vectors per residue (embeddings.h5) and per protein (embeddings.parquet)."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def run(
    input: Path,
    outdir: Path,
    *,
    model: str | None = None,
    level: Literal["both", "residue", "protein"] | None = None,
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None,
    long: Literal["window", "truncate", "fail"] | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    config: Path | None = None,
    set: list[str] | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Embed every protein of INPUT into OUTDIR.

    Parameters
    ----------
    input
        FASTA, CSV or TSV file (also .gz) or a folder of them.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    model
        Hub name, folder, or the bundled chaperonin/esm2-tiny.
    level
        Which vectors to write: residue, protein or both.
    precision
        Arithmetic: auto, fp32, bf16 or int8.
    long
        Above 1,022 residues: overlapping windows, the first 1,022, or a failure.
    overwrite
        Do a job again that OUTDIR holds.
    config
        YAML file with any of the settings.
    set
        One setting as key=value; may be repeated.
    dry_run
        Print the resolved settings, the predicted memory and time, and stop.
    """
    from chaperonin.cli.sequence_verb import run_verb
    from chaperonin.config import resolve
    from chaperonin.inference.embed import EmbedSettings, embed_job

    options = {"model": model, "level": level, "precision": precision, "long": long}
    settings = resolve(EmbedSettings, file=config, overrides=set or (), options=options)
    return run_verb(embed_job, settings, input, outdir, overwrite, dry_run)
