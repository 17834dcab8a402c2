"""Models that the pages name, as if they had been pulled: random, tiny, in a cache of their own."""

import re
from pathlib import Path

import pytest
from huggingface_hub import constants
from tests.inference.tiny_protst import write_protst
from tests.training.published_tasks import write_task

from chaperonin.models import layout_of
from chaperonin.models.aido import AIDO, AIDOConfig
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


@pytest.fixture
def mixture(tmp_path: Path) -> None:
    """A small mixture of experts called aido."""
    model = AIDO(AIDOConfig(width=16, depth=2, heads=2, inner_width=24, experts=4))
    model.initialise()
    save_folder(layout_of("fm4bio"), model, tmp_path / "aido")


@pytest.fixture
def protst(tmp_path: Path) -> None:
    """A converted ProtST called protst."""
    write_protst(tmp_path / "protst")


@pytest.fixture
def localization(tmp_path: Path) -> None:
    """A few made-up proteins in the layout of one of the xTrimoPGLM tasks."""
    write_task(tmp_path / "localization_prediction", "localization_prediction", rows=5)


UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"


@pytest.fixture
def proteingym(tmp_path: Path) -> None:
    """A folder laid out as ProteinGym's download, with two made-up assays of one protein."""
    assays = tmp_path / "ProteinGym/DMS_ProteinGym_substitutions"
    assays.mkdir(parents=True)
    header = "DMS_id,UniProt_ID,taxon,target_seq,region_mutated,MSA_Neff_L_category,coarse_selection_type"
    rows = []
    for number, kind in enumerate(("Stability", "Activity")):
        name = f"UBIQ_MADE_UP_{number}"
        rows.append(f"{name},UBIQ_MADE,Human,{UBIQUITIN},1-76,Medium,{kind}")
        lines = ["mutant,mutated_sequence,DMS_score,DMS_score_bin"]
        for place in range(1, 31):
            mutated = UBIQUITIN[:place] + "A" + UBIQUITIN[place + 1 :]
            if mutated != UBIQUITIN:
                score = (place * (7 + number)) % 13 - 6
                lines.append(f"{UBIQUITIN[place]}{place + 1}A,{mutated},{score},{int(score > 0)}")
        (assays / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "ProteinGym/DMS_substitutions.csv").write_text("\n".join([header, *rows]) + "\n")
