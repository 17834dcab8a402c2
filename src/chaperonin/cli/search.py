"""The proteins that a text describes, or the texts that describe a protein (hits.csv)."""

from pathlib import Path
from typing import Literal

from chaperonin.cli.options import JobOptions


def run(
    query: str,
    input: Path,
    outdir: Path,
    *,
    model: str | None = None,
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None,
    top: int | None = None,
    texts: bool = False,
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Rank the proteins of INPUT by how well QUERY describes them, with a ProtST; the best ones are printed too.

    Parameters
    ----------
    query
        A text, such as "a protein located in the mitochondrion", or a TSV or CSV file of texts.
    input
        FASTA, CSV or TSV file (also .gz) or a folder of them: proteins.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    model
        Folder or hub name of a ProtST, mila-intel/ProtST-esm1b by default.
    precision
        Arithmetic of the protein tower: auto, fp32, bf16 or int8.
    top
        How many hits of each query, 10 by default.
    texts
        The other way round: for each protein of INPUT, the best texts of the file QUERY.
    """
    from chaperonin.cli.sequence_verb import run_job
    from chaperonin.inference.protst import load_protst
    from chaperonin.inference.search import SearchSettings, read_texts, search_job

    options = {
        "model": model,
        "precision": precision,
        "top": top,
        "texts": query,
        "of_proteins": texts or None,
    }
    settings = job.resolve(SearchSettings, options)
    read_texts(settings.texts, settings.column)  # before the model, which takes longer
    found = load_protst(settings.model, settings.precision, settings.device)
    code = run_job(search_job, found, found.tower, settings, input, outdir, job.overwrite, job.dry_run)
    if not job.dry_run and code != 1:
        _show(outdir)
    return code


def _show(outdir: Path) -> None:
    """The first lines of hits.csv, as they stand."""
    from itertools import islice

    from chaperonin.inference.search import FILE

    with (outdir / FILE).open(encoding="utf-8", newline="") as lines:
        for line in islice(lines, 1 + 20):
            print(line, end="")
