"""Contact maps: contacts/ID.npz and a picture of each."""

from dataclasses import asdict
from pathlib import Path

from chaperonin.cli.options import JobOptions, ModelOptions


def run(
    input: Path,
    outdir: Path,
    *,
    pictures: bool = True,
    model: ModelOptions = ModelOptions(),  # noqa: B008 (frozen)
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Predict which residues of each protein of INPUT touch.

    Parameters
    ----------
    input
        FASTA, CSV or TSV file (also .gz) or a folder of them.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    pictures
        Whether to draw contacts/ID.png too.
    """
    from chaperonin.cli.sequence_verb import run_verb
    from chaperonin.inference.contacts import ContactSettings, contacts_job, forecast_contacts

    settings = job.resolve(ContactSettings, asdict(model))
    code = run_verb(contacts_job, settings, input, outdir, job.overwrite, job.dry_run, forecast_contacts)
    if pictures and not job.dry_run:
        from chaperonin.report import write_contact_pictures

        write_contact_pictures(outdir)
    return code
