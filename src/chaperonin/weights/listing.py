"""What the hub says a model repository holds, and which of its files a model needs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chaperonin.errors import WeightsError
from chaperonin.weights.asking import Patience, explain
from chaperonin.weights.catalog import PUBLISHED
from chaperonin.weights.download import RemoteFile

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that names one commit for ever."""

COMPANIONS = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""Small files that other programs want beside the weights; fetched where they exist."""
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")


class Listing:
    """The files of a repository at one commit, with sizes and hashes."""

    def __init__(self, name: str, info: "ModelInfo") -> None:
        from huggingface_hub import constants, hf_hub_url

        self.name = name
        self.commit = str(info.sha)
        self.files: dict[str, RemoteFile] = {}
        for sibling in info.siblings or []:
            digest = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
            size = sibling.lfs.size if sibling.lfs else sibling.size
            if digest is None or size is None:
                raise _nonsense(f"the hub gives no size or hash for {sibling.rfilename}", constants.ENDPOINT)
            url = hf_hub_url(name, sibling.rfilename, revision=self.commit, endpoint=constants.ENDPOINT)
            self.files[sibling.rfilename] = RemoteFile(sibling.rfilename, size, digest, url)

    def needed(self, take: Callable[[RemoteFile], Path]) -> list[RemoteFile]:
        """The files to have: weights first and config.json last, so that half a folder is no model.

        `take` brings a file to this disk; it is asked for the index of sharded weights.
        """
        if CONFIG not in self.files:
            raise WeightsError(
                f"{self.name} has no {CONFIG}", where=self.commit, advice="It is not a model folder."
            )
        if SINGLE in self.files:
            weights = [self.files[SINGLE]]
        elif INDEX in self.files:
            weights = [*self._shards(take(self.files[INDEX])), self.files[INDEX]]
        else:
            raise self._only_pickled()
        self._check_pins(weights)
        companions = [self.files[name] for name in COMPANIONS if name in self.files]
        return [*weights, *companions, self.files[CONFIG]]

    def _shards(self, index: Path) -> list[RemoteFile]:
        """The shards an index names: each a plain file name, not a path, that the hub has."""
        try:
            names = list(dict.fromkeys(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise _nonsense(f"{INDEX} is not an index ({error!r})", str(index)) from error
        wrong = [name for name in names if not _SHARD.fullmatch(str(name)) or name not in self.files]
        if wrong or not names:
            raise _nonsense(f"{INDEX} names shards that the hub does not have: {wrong[:5]}", str(index))
        return [self.files[name] for name in names]

    def _check_pins(self, weights: list[RemoteFile]) -> None:
        known = PUBLISHED.get(self.name)
        pinned = known.sha256 if known is not None and known.commit == self.commit else {}
        for file in weights:
            if pinned.get(file.name, file.digest) != file.digest:
                raise WeightsError(
                    f"the hub announces {file.digest} for {file.name}, published was {pinned[file.name]}",
                    where=file.url,
                    advice="This is not the published model: do not use this server (HF_ENDPOINT).",
                )

    def _only_pickled(self) -> WeightsError:
        pickled = sorted(name for name in self.files if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
        if not pickled:
            return WeightsError(
                f"{self.name} has no weights in safetensors",
                where=self.commit,
                advice="Choose another model.",
            )
        return WeightsError(
            f"{self.name} publishes only pickled weights ({pickled[0]}), which can run code when opened",
            where=self.commit,
            advice=(
                f"If you trust it: `hf download {self.name} --revision {self.commit} --local-dir DIR "
                "--include config.json --include '*.bin*'`, then `chaperonin weights convert DIR OUT`."
            ),
        )


def ask(name: str, revision: str) -> Listing:
    """The hub's listing of a branch, tag or commit; WeightsError says why there is none."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError

    patience = Patience()
    where = constants.ENDPOINT
    while True:
        try:
            return _ask_once(name, revision)
        except (HTTPError, ConnectionError) as error:
            if getattr(error, "response", None) is None:
                raise explain(
                    error, name, where
                ) from error  # nobody there: waiting would only delay the message
            try:
                patience.wait(error)
            except HTTPError as final:
                raise explain(final, f"{name} at {revision[:12]}", where) from final
        except (ValueError, KeyError, TypeError) as error:
            raise _nonsense(f"the answer for {name} is not the hub's ({error})", where) from error


def _ask_once(name: str, revision: str) -> Listing:
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=constants.ENDPOINT)
    info = api.model_info(name, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    listing = Listing(name, info)
    other_commit = COMMIT.fullmatch(revision) and listing.commit != revision
    if other_commit or not COMMIT.fullmatch(listing.commit):
        raise _nonsense(
            f"asked for {name} at {revision}, the answer is for {listing.commit}", constants.ENDPOINT
        )
    return listing


def _nonsense(what: str, where: str) -> WeightsError:
    return WeightsError(
        what, where=where, advice="Check HF_ENDPOINT and the network (a log-in page in between?)."
    )
