"""Models that the pages name, as if they had been pulled: random, tiny, in a cache of their own."""

import re
from pathlib import Path

import pytest
from huggingface_hub import constants

from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.weights.catalog import PUBLISHED
from chaperonin.weights.pretrained import save_folder

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def published_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every catalogued model that a page mentions lies in the cache; nobody can be asked for another."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    pages = "".join(
        page.read_text() for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    )
    for name in set(re.findall(r"facebook/esm\w+", pages)) & set(PUBLISHED):
        model = ESM(ESMConfig(width=16, depth=2, heads=2, inner_width=32))
        model.initialise()
        home = cache / f"models--{name.replace('/', '--')}"
        save_folder(LAYOUT, model, home / "snapshots" / PUBLISHED[name].commit)
