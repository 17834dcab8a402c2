"""The folder of a job: made, and emptied of what a job left there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from chaperonin.errors import ChaperoninError, UsageError
from chaperonin.files import disk_errors
from chaperonin.inference.ledger import Ledger
from chaperonin.inference.shards import Shards

DATABASE = "job.sqlite"
FAILURES = "failures.jsonl"
SHARDS = "shards"
_OWN_FILES = (DATABASE, f"{DATABASE}-journal", FAILURES, "run.json", "report.html")


def make_outdir(outdir: Path) -> None:
    """Make the folder where it is not there; UsageError where it cannot be."""
    try:
        with disk_errors(outdir):
            outdir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError("OUTDIR is a file", where=str(outdir), advice="Name a folder.") from error
    except FileNotFoundError as error:
        raise UsageError("OUTDIR cannot be made", where=str(outdir), advice="Choose another.") from error


def remove_job(outdir: Path) -> None:
    """Remove the files of the job that is in the folder, and nothing else."""
    files: dict[str, int] = {}
    if (outdir / DATABASE).exists():
        try:
            ledger = Ledger(outdir / DATABASE)
        except ChaperoninError:  # a damaged job is removed too
            pass
        else:
            files = ledger.fact("files") or {}
            ledger.close()
    own = [outdir / name for name in _OWN_FILES]
    named = [outdir / file for file in files if not Path(file).is_absolute()]
    pictures = [path.with_suffix(".png") for path in named if path.suffix == ".npz"]
    for path in (*named, *pictures, *own):
        if path.is_file():
            path.unlink()
    Shards(outdir / SHARDS).remove()


def sizes_of(files: Sequence[Path], outdir: Path) -> dict[str, int]:
    """Name → bytes; what lies inside OUTDIR is named as seen from there, so that the folder may be moved."""
    base = outdir.resolve()
    sizes = {}
    for file in files:
        path = file.resolve()
        sizes[str(path.relative_to(base) if path.is_relative_to(base) else path)] = path.stat().st_size
    return sizes


def are_whole(sizes: Mapping[str, int], outdir: Path) -> bool:
    """Whether files of `sizes_of` are there and as long as they were."""
    paths = {outdir / name: size for name, size in sizes.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())
