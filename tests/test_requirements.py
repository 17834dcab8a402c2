"""The lock holds all that ./go installs, each at one version."""

import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
CUDA = ("cuda-", "nvidia-", "triton")
"""Brought by PyTorch's CUDA build alone, as the head of the lock says."""


def locked() -> dict[str, str]:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def asked() -> Iterator[Requirement]:
    """By the project, by its build, and by each package of the lock."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    own = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["dev"]
    for text in own + project["build-system"]["requires"]:
        yield Requirement(text)
    for package in locked():
        for text in requires(package) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield requirement


def test_the_lock_is_closed_and_allowed_by_everything_that_asks() -> None:
    versions = locked()
    for requirement in asked():
        name = canonicalize_name(requirement.name)
        if not name.startswith(CUDA):
            assert name in versions and requirement.specifier.contains(versions[name]), requirement


def test_nothing_in_the_lock_is_there_for_nobody() -> None:
    assert locked().keys() <= {canonicalize_name(requirement.name) for requirement in asked()}
