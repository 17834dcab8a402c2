"""What `train` wrote is served: every kind of target, and the models that ship with the package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chaperonin.cli.main import main
from chaperonin.inference.load import BUNDLED
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.serving.models import load_models
from chaperonin.serving.settings import ServeSettings
from chaperonin.weights.pretrained import save_folder

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
INSULIN = "GIVEQCCTSICSLYQLENYCN"

LABELS: dict[str, tuple[str, Callable[[int, str], str]]] = {
    "binary": ("sequence", lambda number, sequence: "MS"[number % 2]),
    "multiclass": ("sequence", lambda number, sequence: "ABC"[number % 3]),
    "multilabel": ("sequence", lambda number, sequence: ("A", "A|B", "B|C")[number % 3]),
    "regression": ("sequence", lambda number, sequence: str(sequence.count("A") / len(sequence))),
    "residues": ("residue", lambda number, sequence: "".join("HE"[letter in "AVIL"] for letter in sequence)),
    "pairs": ("pairs", lambda number, sequence: f"2-{9 + number % 5} 3-{10 + number % 7}"),
}


def train(kind: str, folder: Path) -> Path:
    """The model folder of one epoch of LoRA on forty random proteins, over a base of random weights."""
    task, label = LABELS[kind]
    base = ESM(ESMConfig(width=16, depth=2, heads=2, inner_width=32))
    base.initialise()
    save_folder(LAYOUT, base, folder / "base")
    draw = np.random.default_rng(0)
    lines = ["id,sequence,label,stage"]
    for number in range(40):
        sequence = "".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), draw.integers(20, 30)))
        stage = ("train", "train", "train", "val", "test")[number // 3 % 5]
        lines.append(f"p{number},{sequence},{label(number, sequence)},{stage}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    given = [f"model={folder / 'base'}", f"task={task}", "epochs=1", "training.precision=fp32"]
    options = [word for one in given for word in ("--set", one)]
    assert main(["train", str(folder / "table.csv"), str(folder / "out"), *options]) == 0
    return folder / "out" / "model"


def are_shares(values: Any) -> bool:
    array = np.array(values, dtype=float)
    return bool(((array >= 0) & (array <= 1)).all())


@pytest.mark.parametrize("kind", LABELS)
def test_what_train_wrote_is_served(kind: str, make, tmp_path: Path) -> None:
    client = make(models=load_models(str(train(kind, tmp_path)), ServeSettings(device="cpu")))
    answer = client.post("/v1/predict", json={"sequences": [UBIQUITIN, INSULIN]})
    assert answer.status_code == 200, answer.json()
    body = answer.json()
    assert [result["length"] for result in body["results"]] == [76, 21] and not body["failures"]
    (model,) = client.get("/v1/models").json()["models"]
    for result in body["results"]:
        length = result["length"]
        if kind == "regression":
            assert np.isfinite(result["value"]) and "label" not in result
        elif kind == "residues":
            assert len(result["label"]) == length and set(result["label"]) <= set("HE")
            assert np.shape(result["residues"])[0] == length and are_shares(result["residues"])
        elif kind == "pairs":
            assert np.shape(result["pairs"]) == (length, length) and are_shares(result["pairs"])
        else:
            shares = result["probabilities"]
            assert list(shares) == model["task"]["classes"] and are_shares(list(shares.values()))
            assert set(filter(None, (result.get("label") or "").split("|"))) <= shares.keys()
            if kind != "multilabel":
                assert sum(shares.values()) == pytest.approx(1)
                assert result["probability"] == max(shares.values())


@pytest.mark.parametrize(
    ("name", "true"),
    [("membrane", {"S"}), ("localization", {"Cytoplasm", "Nucleus"})],
    ids=["membrane", "localization"],
)
def test_the_bundled_models_are_served(name: str, true: set[str], make) -> None:
    client = make(models=load_models(f"{BUNDLED}-{name}", ServeSettings(device="cpu")))
    body = client.post("/v1/predict", json={"sequences": [UBIQUITIN, INSULIN]}).json()
    assert body["model"] == f"{BUNDLED}-{name}"
    assert [result["length"] for result in body["results"]] == [76, 21]
    for result in body["results"]:
        shares = result["probabilities"]
        assert sum(shares.values()) == pytest.approx(1) and result["label"] == max(shares, key=shares.get)
        assert isinstance(result["in_domain"], bool) and result["distance"] > 0
    assert body["results"][0]["label"] in true  # of ubiquitin
