"""Asking the hub: when to ask again, and what a refusal means for the user."""

import errno
import time
from pathlib import Path
from typing import Protocol

from chaperonin.errors import WeightsError

PAUSES_SECONDS: tuple[float, ...] = (1, 2, 4, 8)
"""Waiting times between attempts that bring nothing new; after the last one it is given up."""

_LONGEST_PAUSE_SECONDS = 60.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_HUB = "the hub"
_ELSEWHERE = "Check the network and the address, and run the same command again: it goes on where it stopped."
_OFFLINE_ADVICE = "Or copy the model's folder from a machine that has it and give its path"


class _Response(Protocol):
    status_code: int
    headers: dict[str, str]


class Patience:
    """Waits before another attempt, and raises the failure when waiting will not help."""

    def __init__(self, attempts: int | None = None) -> None:
        self._attempts = attempts
        self.restart()

    def restart(self) -> None:
        """Forget the failures so far: something arrived."""
        self._pauses = iter(PAUSES_SECONDS[: self._attempts])

    def wait(self, failure: Exception) -> None:
        """Sleep as long as the server asks for, or a little longer each time."""
        response = _response(failure)
        if response is not None and response.status_code not in _TRANSIENT:
            raise failure
        pause = next(self._pauses, None)
        if pause is None:
            raise failure
        asked = response.headers.get("Retry-After", "") if response is not None else ""
        time.sleep(min(float(asked), _LONGEST_PAUSE_SECONDS) if asked.isdigit() else pause)


def explain(failure: Exception, what: str, where: str, server: str = _HUB) -> WeightsError:
    """The failure of a request for `what`, in words a user can act on."""
    response = _response(failure)
    if response is None:
        return WeightsError(
            f"no answer from {server} for {what} ({str(failure) or type(failure).__name__})",
            where=where,
            advice=(
                f"Check the network and HF_ENDPOINT (HF_HUB_OFFLINE=1 asks nobody). {_OFFLINE_ADVICE}."
                if server == _HUB
                else _ELSEWHERE
            ),
        )
    reasons = {
        401: (f"not known to {server}, or private", "Check the spelling; for a private model set HF_TOKEN."),
        403: ("not open to you", "Accept its terms on its page, then set HF_TOKEN or run `hf auth login`."),
        404: (f"not on {server}", "Check the spelling of the name and of the revision."),
        416: (
            f"shorter than {server} announces",
            "The server contradicts itself; try another mirror (HF_ENDPOINT).",
        ),
        429: (
            "refused for now: too many requests",
            "Wait some minutes; with HF_TOKEN set the limit is higher.",
        ),
    }
    later = (
        f"not to be had now: {server} is in trouble",
        "Run the same command later: it goes on where it stopped.",
    )
    reason, advice = reasons.get(response.status_code, later)
    if server != _HUB:
        advice = _ELSEWHERE
    return WeightsError(f"{what} is {reason} (HTTP {response.status_code})", where=where, advice=advice)


def offline(name: str, folder: Path) -> WeightsError:
    """A model that is needed and may not be fetched."""
    return WeightsError(
        f"{name} is not complete on this disk and the hub may not be asked (offline)",
        where=str(folder),
        advice=f"Run `chaperonin weights pull {name}` with network, HF_HUB_OFFLINE unset. {_OFFLINE_ADVICE}.",
    )


def cannot_write(failure: OSError, path: Path) -> WeightsError:
    """A file that could not be written, with the two usual reasons told apart."""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return WeightsError(
            "the disk is full",
            where=str(path),
            advice="Free some space and run the same command again: it goes on from there.",
        )
    return WeightsError(
        f"cannot write ({failure.strerror or failure})",
        where=str(path),
        advice="Choose a folder you may write to; HF_HOME moves the cache.",
    )


def _response(failure: Exception) -> _Response | None:
    return getattr(failure, "response", None)
