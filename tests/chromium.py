"""The browser that the tests of pages use, where there is one."""

import os
import shutil

import pytest

QUIET = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """Its path, or a skip that says how to get one; in continuous integration a failure."""
    names = (os.environ.get("CHAPERONIN_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(
            "no chromium, chromium-browser or google-chrome: install one, or name it with CHAPERONIN_CHROMIUM"
        )
    return found
