"""The published parameters of AlphaFold 2: one archive of its publisher, made into one model folder for each model."""

import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from chaperonin.errors import WeightsError
from chaperonin.files import disk_errors
from chaperonin.models.alphafold.checkpoints import assembled
from chaperonin.models.alphafold.config import PRESETS, AlphaFoldConfig
from chaperonin.models.alphafold.layout import LAYOUT
from chaperonin.models.alphafold.model import AlphaFold
from chaperonin.weights import asking
from chaperonin.weights.archive import Archive, open_archive
from chaperonin.weights.arrays import read_npz
from chaperonin.weights.catalog import ALPHAFOLD
from chaperonin.weights.convert import new_folder, record
from chaperonin.weights.download import Progress, ask_about, download, partial_path
from chaperonin.weights.hub import is_recorded
from chaperonin.weights.places import cache, check_room, repository, write_whole
from chaperonin.weights.pretrained import save_folder
from chaperonin.weights.rules import some_names

_log = logging.getLogger(__name__)

_EXPECTED = re.compile(r"params_\w+\.npz|LICENSE")
_LICENCE = "LICENSE"
_LONGEST_LICENCE_BYTES = 1 << 20
_SERVER = "AlphaFold's server"


def pull(
    name: str = ALPHAFOLD.name,
    folder: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    presets: Mapping[str, AlphaFoldConfig] = PRESETS,
) -> list[Path]:
    """Fetch the archive, make a model folder of each file in it that `name` asks for, and return the folders.

    They go into the cache under `alphafold2/MODEL`, or into `folder`. What was done before an interruption stays: bytes
    of the archive, and whole models. After `alphafold2`, all models, the archive is deleted; after a single one it
    stays for the others.
    """
    from huggingface_hub import constants

    places = {preset: _place(preset, folder) for preset in _wanted(name, presets)}
    if not _missing(places):
        return list(places.values())
    if offline or constants.HF_HUB_OFFLINE:
        raise asking.offline(name, next(iter(_missing(places).values())))
    if folder is not None:
        _require_room_for_names(_missing(places))
    with _alone():
        missing = _missing(places)  # another pull may have been at work
        if missing:
            fetched = _fetch(progress)
            _make_models(fetched, missing, presets, folder is None)
            if name == ALPHAFOLD.name:
                fetched.unlink()
            else:
                _log.info(
                    "%s stays: `weights pull %s` makes the others and deletes it", fetched, ALPHAFOLD.name
                )
    return list(places.values())


def _missing(places: Mapping[str, Path]) -> dict[str, Path]:
    return {preset: place for preset, place in places.items() if not (place.is_dir() and is_recorded(place))}


def _require_room_for_names(places: Mapping[str, Path]) -> None:
    """What lies in a folder of the user's is never replaced; this is said before hours of fetching."""
    for place in places.values():
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise WeightsError("something else is here", where=str(place), advice="Choose another folder.")


def _wanted(name: str, presets: Mapping[str, AlphaFoldConfig]) -> list[str]:
    preset = name.partition("/")[2]
    if not preset:
        return list(presets)
    if preset not in presets:
        known = ", ".join(f"{ALPHAFOLD.name}/{known}" for known in presets)
        raise WeightsError(f"there is no {name}", advice=f"Known: {known}; {ALPHAFOLD.name} is all of them.")
    return [preset]


def _place(preset: str, folder: Path | None) -> Path:
    if folder is not None:
        return folder / preset
    return repository(f"{ALPHAFOLD.name}/{preset}") / "snapshots" / ALPHAFOLD.version


def _alone() -> AbstractContextManager[object]:
    """Wait until no other pull works on the archive."""
    from huggingface_hub.utils import WeakFileLock

    locks = cache() / ".locks" / ALPHAFOLD.name
    with disk_errors(locks):
        locks.mkdir(parents=True, exist_ok=True)
    return WeakFileLock(locks / "pull.lock")


def _fetch(progress: Progress | None) -> Path:
    """The archive, whole; it lies in the cache as if it were a model of the hub, so that its tools can delete it."""
    target = repository(f"{ALPHAFOLD.name}/archive") / "snapshots" / ALPHAFOLD.version / ALPHAFOLD.file
    if target.is_file():
        return target
    file = ask_about(ALPHAFOLD.file, ALPHAFOLD.url, _SERVER, ALPHAFOLD.sha256)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(target)
    here = partial.stat().st_size if partial.is_file() else 0
    models = 4 * sum(ALPHAFOLD.parameters.values())
    check_room(file.size - here + min(models, file.size), target.parent)
    if not file.digest:
        _log.warning(
            "%s: no checksum is known of it; the structure of every file in it is checked", ALPHAFOLD.file
        )
    download(file, target, progress)
    return target


def _make_models(
    fetched: Path, places: Mapping[str, Path], presets: Mapping[str, AlphaFoldConfig], in_cache: bool
) -> None:
    """One folder at a time: a model that is done stays done."""
    files = {preset: f"params_{preset}.npz" for preset in places}
    with ExitStack() as stack:
        with _or_delete(fetched):
            archive = stack.enter_context(open_archive(fetched, _EXPECTED))
            absent = sorted(set(files.values()) - set(archive.names))
            if absent:
                raise WeightsError(f"there is no {some_names(absent)} in it", where=str(fetched))
        for preset, place in places.items():
            with _or_delete(fetched):
                model = _read(archive, fetched, files[preset], presets[preset])
            _log.info("%s/%s, licence %s", ALPHAFOLD.name, preset, ALPHAFOLD.licence)
            if in_cache:
                shutil.rmtree(place, ignore_errors=True)
            with new_folder(place, place.parents[1] / ".part" if in_cache else None) as partial:
                save_folder(LAYOUT, model, partial)
                (partial / _LICENCE).write_bytes(_licence(archive))
                record(partial, f"{ALPHAFOLD.file} {files[preset]}", ALPHAFOLD.version)
            if in_cache:
                with disk_errors(place):
                    write_whole(place.parents[1] / "refs" / "main", ALPHAFOLD.version)


@contextmanager
def _or_delete(fetched: Path) -> Iterator[None]:
    """An archive that is not what it should be goes away, so that the next pull fetches another."""
    try:
        yield
    except WeightsError as error:
        fetched.unlink(missing_ok=True)
        advice = "It is not the published archive, and was deleted: pull again, perhaps by another network."
        raise WeightsError(error.what, where=error.where, advice=advice) from error


def _read(archive: Archive, fetched: Path, file: str, config: AlphaFoldConfig) -> AlphaFold:
    with archive.open(file) as opened:
        named = read_npz(opened, where=f"{fetched}: {file}")
    return assembled(Path(file), named, config)


def _licence(archive: Archive) -> bytes:
    if _LICENCE not in archive.names:
        return f"{ALPHAFOLD.file}: {ALPHAFOLD.licence}\n".encode()
    with archive.open(_LICENCE) as opened:
        return opened.read(_LONGEST_LICENCE_BYTES)
