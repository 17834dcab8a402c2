"""Contact maps: contacts/ID.npz and a picture of each."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def run(
    input: Path,
    outdir: Path,
    *,
    model: str | None = None,
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None,
    long: Literal["window", "truncate", "fail"] | None = None,
    pictures: bool = True,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    config: Path | None = None,
    set: list[str] | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Predict which residues of each protein of INPUT touch.

    Parameters
    ----------
    input
        FASTA, CSV or TSV file (also .gz) or a folder of them.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    model
        Hub name, folder, or the bundled chaperonin/esm2-tiny.
    precision
        Arithmetic: auto, fp32, bf16 or int8.
    long
        Above 1,022 residues: overlapping windows, the first 1,022, or a failure.
    pictures
        Whether to draw contacts/ID.png too.
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
    from chaperonin.inference.contacts import ContactSettings, contacts_job

    options = {"model": model, "precision": precision, "long": long}
    settings = resolve(ContactSettings, file=config, overrides=set or (), options=options)
    code = run_verb(contacts_job, settings, input, outdir, overwrite, dry_run)
    if pictures and not dry_run:
        from chaperonin.report import write_contact_pictures

        write_contact_pictures(outdir)
    return code
