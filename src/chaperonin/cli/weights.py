"""Model weights: what is here, fetching published ones, checking them, converting pickled ones."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from chaperonin.weights.download import Progress

app = App(name="chaperonin weights", help=__doc__, version_flags=[])

log = logging.getLogger(__name__)

_LOG_SHARE = 0.1
_DAMAGED = "damaged"


@app.command(name="list")
def list_models() -> int:
    """Models that ship with the program, that are in the cache, and that can be pulled.

    The cache is that of Hugging Face (HF_HOME moves it), so models fetched by other programs are found too.
    """
    from chaperonin.weights.catalog import PUBLISHED

    rows = [("NAME", "WHERE", "PARAMETERS", "SIZE", "COMMIT", "LICENCE"), *_rows()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            f"{c:>{w}}" if n in (2, 3) else f"{c:<{w}}"
            for n, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    unpinned = ", ".join(known.name for known in PUBLISHED.values() if not known.sha256)
    log.info("the hub may have these as pickles alone, pull then says how to convert them: %s", unpinned)
    return 0


@app.command
def pull(
    name: str,
    /,
    *,
    revision: str | None = None,
    folder: Path | None = None,
    offline: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fetch a model and check every byte; an interrupted pull goes on where it stopped.

    Prints the folder. HF_ENDPOINT chooses a mirror of the hub (ALPHAFOLD_ENDPOINT one of AlphaFold's server), HF_TOKEN
    opens private models, HF_HOME moves the cache.

    Parameters
    ----------
    name
        OWNER/MODEL, for example facebook/esm2_t33_650M_UR50D; `chaperonin weights list` shows the known ones.
        alphafold2 means all its models for single chains, alphafold2/model_1_ptm one of them.
    revision
        Branch, tag or commit. Known models are pinned to a commit without it.
    folder
        Put the files here and not into the cache, for example to carry them to a machine without network.
    offline
        Ask nobody: print the folder of what is already here.
    """
    from chaperonin.weights import hub
    from chaperonin.weights.catalog import ALPHAFOLD, PUBLISHED

    _quiet_requests()
    if name.partition("/")[0] == ALPHAFOLD.name:
        return _pull_alphafold(name, revision, folder, offline)
    known = PUBLISHED.get(name)
    if known is not None and hub.local_folder(name, revision) is None and not offline:
        log.info("%s: %s, licence %s", name, _bytes(known.size_bytes), known.licence)
    with _progress() as progress:
        print(hub.pull(name, revision=revision, folder=folder, offline=offline, progress=progress))
    return 0


@app.command
def verify(name_or_folder: str, /) -> int:
    """Check a model: recorded hashes, file structure, names and shapes, and that every number is one.

    Prints one line for each thing that is wrong; the exit code is 1 when there is any.

    Parameters
    ----------
    name_or_folder
        A folder, a name in the cache, or a model that ships with the program.
    """
    from chaperonin.models import layout_of
    from chaperonin.weights.hub import resolve
    from chaperonin.weights.manifest import read_manifest
    from chaperonin.weights.verify import verify as problems_of

    folder = resolve(name_or_folder)
    problems = 0
    for problem in problems_of(folder, layout_of):
        print(problem)
        problems += 1
    recorded = read_manifest(folder) is not None
    hashes = (
        "hashes as recorded" if recorded else "no hashes on record (they are recorded by pull and convert)"
    )
    print(f"{folder}: {f'{problems} problems' if problems else f'all well, {hashes}'}", file=sys.stderr)
    return 1 if problems else 0


@app.command
def convert(
    source: Path, out: Path, /, *, contact_regression: Path | None = None, preset: str | None = None
) -> int:
    """Turn a published checkpoint into a folder that this program opens, without running anything in it.

    A folder of AlphaFold 2 goes back to a file: NAME.npz as DeepMind publishes it, NAME.pt as OpenFold does.

    Parameters
    ----------
    source
        A .pt file of fair-esm (ESM-1b, ESM-1v, ESM-2), or a folder with config.json and pytorch_model.bin. AlphaFold 2:
        params_model_*.npz, a .pt file of OpenFold, a .pdparams file of HelixFold, or a folder of this program. ProtST:
        protst_esm1b.pth or protst_esm2.pth, best with the text tower's vocab.txt beside it.
    out
        The new folder or file.
    contact_regression
        The NAME-contact-regression.pt of an ESM; found by itself beside the .pt file.
    preset
        Which model of AlphaFold 2 it is, model_1 to model_5 or model_1_ptm to model_5_ptm, where its name does not say.
    """
    from chaperonin.models import layout_of
    from chaperonin.models.alphafold import checkpoints
    from chaperonin.models.esm.fair_esm import ORIGIN
    from chaperonin.models.protst import published as protst
    from chaperonin.weights.convert import convert as write_folder

    if checkpoints.knows(source):
        print(checkpoints.convert(source, out, preset))
    elif protst.knows(source):
        print(protst.convert(source, out, ORIGIN))
    else:
        print(write_folder(layout_of, ORIGIN, source, out, contact_regression))
    return 0


def _pull_alphafold(name: str, revision: str | None, folder: Path | None, offline: bool) -> int:
    from chaperonin.errors import UsageError
    from chaperonin.models.alphafold import archive
    from chaperonin.weights.catalog import ALPHAFOLD

    if revision is not None:
        raise UsageError(f"{name} has one version, {ALPHAFOLD.version}", advice="Leave --revision out.")
    if not offline:
        log.info("%s: %s, licence %s", name, ALPHAFOLD.url, ALPHAFOLD.licence)
    with _progress() as progress:
        for place in archive.pull(name, folder=folder, offline=offline, progress=progress):
            print(place)
    return 0


def _rows() -> Iterator[tuple[str, ...]]:
    """One row per model: bundled, in the cache, known but not here."""
    from chaperonin.weights import hub
    from chaperonin.weights.catalog import ALPHAFOLD, PUBLISHED

    for model in hub.bundled():
        yield (f"chaperonin/{model}", "bundled", *_measures(hub.BUNDLED / model), "", "Apache-2.0")
    for model in hub.bundled_adapters():
        own = sum(path.stat().st_size for path in (hub.BUNDLED / model).glob("*.safetensors"))
        yield (f"chaperonin/{model}", "bundled", "adapter", _bytes(own), "", "Apache-2.0")
    alphafold = {f"{ALPHAFOLD.name}/{model}": number for model, number in ALPHAFOLD.parameters.items()}
    here = set()
    for cached in hub.cached():
        if _is_known_type(cached.folder):
            here.add(cached.name)
            known = PUBLISHED.get(cached.name)
            count, size = _measures(cached.folder)
            if known is not None and count != _DAMAGED:
                count = _count(known.parameters)  # the file may hold tables that the model does not use
            licence, pin = (known.licence if known is not None else ""), cached.commit[:12]
            if cached.name in alphafold:
                licence, pin = ALPHAFOLD.licence, ALPHAFOLD.pin
            yield (cached.name, "cache", count, size, pin, licence)
    for known in PUBLISHED.values():
        if known.name not in here:
            yield (
                known.name,
                "",
                _count(known.parameters),
                _bytes(known.size_bytes),
                known.commit[:12],
                known.licence,
            )
    for name, number in alphafold.items():
        if name not in here:
            yield (name, "", _count(number), _bytes(4 * number), ALPHAFOLD.pin, ALPHAFOLD.licence)


def _measures(folder: Path) -> tuple[str, str]:
    """Parameters and size on disk; a damaged file has no count."""
    from chaperonin.errors import WeightsError
    from chaperonin.weights.headers import count_parameters

    files = sorted(folder.glob("*.safetensors"))
    try:
        parameters = _count(count_parameters(files))
    except WeightsError:
        parameters = _DAMAGED
    return parameters, _bytes(sum(path.stat().st_size for path in folder.iterdir() if path.is_file()))


def _is_known_type(folder: Path) -> bool:
    from chaperonin.errors import WeightsError
    from chaperonin.models import MODELS
    from chaperonin.weights.files import read_config

    try:
        return read_config(folder).get("model_type") in MODELS
    except WeightsError:
        return False


def _count(number: int) -> str:
    return f"{number / 1e6:,.1f} M"


def _bytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar per file on a terminal, a log line per tenth of a file elsewhere; both on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _log_tenths()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=console) as bars:
        tasks = {}

        def show(name: str, here: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=here)

        yield show


def _log_tenths() -> "Progress":
    told: dict[str, float] = {}

    def show(name: str, here: int, total: int) -> None:
        share = here / total if total else 1.0
        if name not in told or share - told[name] >= _LOG_SHARE or here == total:
            told[name] = share
            log.info("%s: %s of %s", name, _bytes(here), _bytes(total))

    return show


def _quiet_requests() -> None:
    """One log line per request is the HTTP library's habit."""
    for library in ("httpx", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)
