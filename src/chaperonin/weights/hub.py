"""Model folders by name: what is on this disk, and how a published one gets there.

Files go into the cache of `huggingface_hub`, in its layout, so that transformers finds them too. Only `pull`
uses the network. That library's environment variables hold: HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from chaperonin.errors import WeightsError
from chaperonin.weights import asking
from chaperonin.weights.catalog import ALPHAFOLD, PUBLISHED
from chaperonin.weights.download import Progress
from chaperonin.weights.listing import COMMIT, CONFIG, INDEX, SINGLE, ask
from chaperonin.weights.manifest import read_manifest
from chaperonin.weights.places import Snapshot, UserFolder, cache, check_disk, reference, repository

BUNDLED = Path(__file__).parents[1] / "pretrained"
"""The models that ship with the package, one folder each."""

_BUNDLED_OWNER = "chaperonin"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Cached:
    """A complete model in the cache."""

    name: str
    commit: str
    folder: Path


def resolve(name_or_folder: str | Path) -> Path:
    """The folder of a model given by path, by the name of a bundled model, or by its name on the hub.

    Never uses the network: when the model is not on this disk, WeightsError says the command that fetches it.
    """
    folder = Path(name_or_folder).expanduser()
    if str(name_or_folder) and folder.is_dir():
        return folder
    name = str(name_or_folder)
    if _is_bundled(name):
        return BUNDLED / name.partition("/")[2]
    if _NAME.fullmatch(name) and not name.startswith(f"{_BUNDLED_OWNER}/"):
        here = local_folder(name)
        if here is None:
            raise WeightsError(
                f"{name} is not on this disk",
                where=str(repository(name)),
                advice=f"Run `chaperonin weights pull {name}` once, or give the path of its folder.",
            )
        return here
    known = [f"{_BUNDLED_OWNER}/{model}" for model in (*bundled(), *bundled_adapters())]
    known += [*PUBLISHED, *(f"{ALPHAFOLD.name}/{model}" for model in ALPHAFOLD.parameters)]
    close = [known_name for known_name in known if known_name.endswith(f"/{name}")]
    close = close or get_close_matches(name, known, n=3) or known[:1]
    raise WeightsError(
        f"{name} is neither a folder nor the name of a model", advice=f"Try {' or '.join(close)}."
    )


def bundled() -> list[str]:
    """The models that ship with the package, without their owner `chaperonin/`."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG}"))


def bundled_adapters() -> list[str]:
    """What was fine-tuned of them and ships too: a head, and the weights that it changes."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/task.json"))


def local_folder(name: str, revision: str | None = None) -> Path | None:
    """The complete snapshot of a hub model on this disk, or None.

    Without a revision: the pinned commit, else what `main` was at the last pull, else the only snapshot.
    """
    home = repository(_checked(name))
    snapshots = home / "snapshots"
    if revision is not None:
        commits = [revision if COMMIT.fullmatch(revision) else reference(home, revision)]
    else:
        here = [path.name for path in snapshots.glob("*") if _is_complete(path)]
        pinned = PUBLISHED[name].commit if name in PUBLISHED else ""
        commits = [pinned, reference(home, "main"), *(here if len(here) == 1 else [])]
    return next(
        (snapshots / commit for commit in commits if commit and _is_complete(snapshots / commit)), None
    )


def cached() -> Iterator[Cached]:
    """Every complete model in the cache, whoever put it there."""
    for home in sorted(cache().glob("models--*--*")):
        _, owner, model = home.name.split("--", 2)
        for folder in sorted(home.glob("snapshots/*")):
            if _is_complete(folder):
                yield Cached(f"{owner}/{model}", folder.name, folder)


def pull(
    name: str,
    revision: str | None = None,
    folder: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fetch a model's configuration, safetensors and vocabulary, check every byte, and return its folder.

    A known name means its commit in the catalogue; any other the `main` of its first pull, which is recorded.
    `revision` (branch, tag or commit) asks for another. With `folder` the files go there, not into the cache.
    What was fetched of a file before a failure is kept apart and completed by the next call.
    """
    from huggingface_hub import constants

    if _is_bundled(name) and folder is None:
        return BUNDLED / name.partition("/")[2]
    if folder is None and (revision is None or COMMIT.fullmatch(revision)):
        here = local_folder(name, revision)
        if here is not None and is_recorded(here):
            return here
    if name.startswith(f"{ALPHAFOLD.name}/"):
        raise WeightsError(
            f"{name} is not on the hub",
            advice=f"Run `chaperonin weights pull {name}`: it asks its publisher.",
        )
    if offline or constants.HF_HUB_OFFLINE:
        return _without_network(name, revision)
    wanted = revision or _usual_commit(_checked(name)) or "main"
    listing = ask(name, wanted)
    target = UserFolder(folder) if folder is not None else Snapshot(name, listing.commit)
    files = listing.needed(lambda file: target.take(file, progress))
    check_disk(files, target)
    for file in files:
        target.take(file, progress)
    branch = None if COMMIT.fullmatch(wanted) else wanted
    target.finish(name, listing.commit, files, branch)
    return target.path


def _is_bundled(name: str) -> bool:
    owner, _, model = name.partition("/")
    return owner == _BUNDLED_OWNER and model in bundled()


def _without_network(name: str, revision: str | None) -> Path:
    here = local_folder(name, revision)
    if here is None:
        raise asking.offline(name, repository(name))
    return here


def _usual_commit(name: str) -> str:
    """What a name without a revision means: the pinned commit, else what `main` was when first pulled."""
    return PUBLISHED[name].commit if name in PUBLISHED else reference(repository(name), "main")


def _is_complete(folder: Path) -> bool:
    """Whether the folder has a configuration and all its safetensors."""
    if not (folder / CONFIG).is_file():
        return False
    if (folder / SINGLE).is_file():
        return True
    try:
        shards = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((folder / shard).is_file() for shard in shards)


def is_recorded(folder: Path) -> bool:
    """Whether a pull has checked this folder and its files still have their sizes."""
    manifest = read_manifest(folder)
    return manifest is not None and not any(manifest.problems(folder, sizes_only=True))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or "--" in name or ".." in name:
        raise WeightsError(f"{name!r} is not a name on the hub", advice="Names are OWNER/MODEL.")
    return name
