"""Effects of variants: scores.csv from a table of mutants, or every single substitution of a protein."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from chaperonin.cli.options import JobOptions


def run(
    input: Path,
    outdir: Path,
    *,
    model: str | None = None,
    protocol: Literal["masked-marginal", "wt-marginal", "pseudo-likelihood", "indel"] | None = None,
    compat: Literal["none", "official"] | None = None,
    evaluate: Annotated[bool | None, Parameter(negative="")] = None,
    target: str | None = None,
    reference: str | None = None,
    job: JobOptions = JobOptions(),  # noqa: B008 (frozen)
) -> int:
    """Score the variants of INPUT, or all single substitutions of its proteins, into OUTDIR.

    Parameters
    ----------
    input
        CSV or TSV with a column mutant (A123V, A1P:D2N) or mutated_sequence, or a folder of such files (ProteinGym's
        as they are); or a FASTA, or CSV of id and sequence, to be scanned. Also .gz.
    outdir
        Folder for the results. The same command again goes on where it stopped.
    model
        Hub name, folder, or the bundled chaperonin/esm2-tiny.
    protocol
        masked-marginal hides each changed position in turn (the default), wt-marginal hides nothing and is fastest,
        pseudo-likelihood hides every position of every variant; indel is taken for insertions and deletions.
    compat
        official gives the scores of ProteinGym's ESM script, quirks included.
    evaluate
        Compare with the column DMS_score: metrics.json and metrics.csv.
    target
        Wild type of the variants: a FASTA file or a sequence.
    reference
        ProteinGym's reference file: wild types by file name, and its average over assays.
    """
    from chaperonin.cli.sequence_verb import run_verb
    from chaperonin.inference.score import ScoreSettings, forecast, score_job

    options = {
        "model": model,
        "protocol": protocol,
        "compat": compat,
        "evaluate": evaluate,
        "target": target,
        "reference": reference,
    }
    settings = job.resolve(ScoreSettings, options)
    return run_verb(score_job, settings, input, outdir, job.overwrite, job.dry_run, forecast)
