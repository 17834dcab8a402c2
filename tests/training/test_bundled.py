"""The model that ships inside the package is what its card says."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import esm2_tiny
from chaperonin.config import as_dict, resolve
from chaperonin.inference.embed import represent
from chaperonin.inference.load import BUNDLED as BUNDLED_MODEL
from chaperonin.inference.load import load
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.training.pretrain import Pretraining
from chaperonin.training.tracking import read_metrics
from chaperonin.weights.hub import BUNDLED
from chaperonin.weights.pretrained import load_folder

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = BUNDLED / "esm2-tiny"
RECIPE_FILE = REPOSITORY / "configs" / "esm2-tiny.yaml"
RECIPE = resolve(Pretraining, file=RECIPE_FILE)


def test_it_has_the_shape_of_its_recipe():
    assert {**as_dict(load_folder(LAYOUT, FOLDER).config), "type": "esm"} == as_dict(RECIPE.model)


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


@pytest.mark.slow
def test_it_tells_residues_of_proteins_it_never_saw_better_than_counting_does(real_data):
    setting = esm2_tiny.Setting(real_data, BUNDLED_MODEL, RECIPE_FILE, [])
    corpus = setting.corpus  # the clusters of all sequences: what takes the time
    setting.corpus = replace(corpus, parts=replace(corpus.parts, holdout=corpus.parts.holdout[:200]))
    found = esm2_tiny.perplexity(setting)
    assert found["held-out sequences"] == 200
    assert found["perplexity, model"] < found["perplexity, bigram"] < found["perplexity, unigram"]


def test_its_vectors_tell_membrane_proteins_better_than_composition_does(real_data):
    """Short proteins of DeepLoc 1; each homology fold predicted from the others, as for the card."""
    with gzip.open(real_data / "localization/deeploc1_train.tsv.gz", "rt", encoding="utf-8") as lines:
        rows = [
            row
            for row in csv.DictReader(lines, delimiter="\t")
            if row["membrane"] in "MS" and len(row["sequence"]) <= 300
        ][::2]
    texts = [row["sequence"] for row in rows]
    labels = np.array([row["membrane"] == "M" for row in rows])
    folds = np.array([int(row["fold"]) for row in rows])
    vectors = np.stack([own.mean(axis=0) for own in represent(load(BUNDLED_MODEL), texts, 8192)])
    composition = np.array(
        [[text.count(letter) / len(text) for letter in STANDARD_RESIDUES] for text in texts]
    )
    ours, counted = (esm2_tiny.probe(each, labels, folds) for each in (vectors, composition))
    assert ours > counted > max(labels.mean(), 1 - labels.mean())
