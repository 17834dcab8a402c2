"""The adapters that ship with the bundled model."""

import json

import pytest

import chaperonin as ch
from chaperonin.config import resolve
from chaperonin.inference.load import origin_of
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.weights.hub import BUNDLED, bundled_adapters


def test_there_is_one_for_membranes_and_one_for_places() -> None:
    assert bundled_adapters() == ["esm2-tiny-localization", "esm2-tiny-membrane"]


@pytest.mark.parametrize("name", ["esm2-tiny-localization", "esm2-tiny-membrane"])
def test_adapter_beats_composition_and_its_card_says_by_how_much(name: str) -> None:
    figures = json.loads((BUNDLED / name / "metrics.json").read_text())
    ours, theirs = figures["result"], figures["baselines"]["composition"]
    assert ours["accuracy"]["low"] > theirs["accuracy"]["high"]  # of 95 % intervals
    assert ours["mcc"]["low"] > theirs["mcc"]["high"]
    assert figures["split"] == "group, 8 folds"
    card = (BUNDLED / name / "README.md").read_text()
    assert f"{ours['accuracy']['value']:.3f}" in card and f"{ours['mcc']['value']:.3f}" in card
    assert f"# chaperonin/{name}" in card


@pytest.mark.parametrize("name", ["esm2-tiny-localization", "esm2-tiny-membrane"])
def test_recipe_is_that_of_the_adapter(name: str, request: pytest.FixtureRequest) -> None:
    settings = resolve(FineTuning, file=request.config.rootpath / "configs" / f"{name}.yaml")
    task = json.loads((BUNDLED / name / "task.json").read_text())
    assert task["method"] == settings.means.method
    assert task["head"] == {"pooling": settings.head.pooling, "hidden": settings.head.hidden}
    assert task["base"]["name"] == settings.model


def test_proteins_that_cross_a_membrane_are_told_from_those_that_do_not() -> None:
    model = ch.load("chaperonin/esm2-tiny-membrane")
    trained = origin_of(model).trained
    assert trained is not None and trained.target.classes == ("S", "M")
    said = {id: one.label for id, one in ch.predict(model, "examples/proteins.fasta")}
    assert [said[id] for id in ("P02945", "P29972", "P0A334")] == ["M"] * 3  # rhodopsin, aquaporin, KcsA
    assert [said[id] for id in ("P69905", "P68871", "P02185", "P00698")] == ["S"] * 4  # globins, lysozyme
