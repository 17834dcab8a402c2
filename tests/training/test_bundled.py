"""The model that ships inside the package is what its card says."""

import json
from pathlib import Path

from chaperonin.config import resolve
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.training.pretrain import Pretraining
from chaperonin.training.tracking import read_metrics
from chaperonin.weights.hub import BUNDLED
from chaperonin.weights.pretrained import load_folder

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = BUNDLED / "esm2-tiny"
RECIPE = resolve(Pretraining, file=REPOSITORY / "configs" / "esm2-tiny.yaml")


def test_it_has_the_shape_of_its_recipe():
    assert load_folder(LAYOUT, FOLDER).config == RECIPE.model


def test_it_fits_the_wheel():
    assert (FOLDER / "model.safetensors").stat().st_size < 16e6
    assert json.loads((FOLDER / "config.json").read_text())["model_type"] == "esm"


def test_its_log_is_that_of_its_recipe():
    lines = list(read_metrics(FOLDER / "metrics.jsonl"))
    assert max(line["step"] for line in lines) == RECIPE.training.steps
    for line in lines:
        if line["event"] == "train":
            rate = RECIPE.training.schedule.rate(line["step"] - 1, RECIPE.training.steps)
            assert line["learning_rate"] == rate
