"""Learning a fold of an assay: what is known of the test fold never reaches its predictions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chaperonin.data.assays import Assay
from chaperonin.errors import InputError
from chaperonin.inference.evaluate import spearman
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.protein.substitution import blosum62
from chaperonin.protein.variant import variant_between
from chaperonin.tasks.fitness import (
    MODEL,
    ONE_HOT,
    SUBSTITUTION,
    FitnessHead,
    FrozenRecipe,
    LoraRecipe,
    Recipes,
)
from chaperonin.training.fitness import FoldLearner, frozen_loop, lora_loop, passes_of_step
from chaperonin.training.fitness_baselines import one_hot
from chaperonin.weights.pretrained import save_folder

WILD = "MKTAYIAKQRQISFVK"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(1)
    model = ESM(ESMConfig(width=16, depth=1, heads=2, inner_width=32))
    model.initialise()
    save_folder(LAYOUT, model, folder)
    return str(folder)


def made_up(count: int = 60, indels: bool = False) -> Assay:
    draw = np.random.default_rng(3)
    sequences = []
    for _ in range(count):
        letters = list(WILD)
        letters[draw.integers(16)] = "ACDEFGHIKLMNPQRSTVWY"[draw.integers(20)]
        sequences.append("".join(letters)[int(indels and draw.integers(3)) :])
    values = draw.normal(size=count)
    variants = None if indels else [variant_between(WILD, sequence) for sequence in sequences]
    folds = np.arange(count) % 5
    return Assay("A", sequences, [""] * count, variants, indels, values, folds, "fold_id", [])


def vectors_of(assay: Assay) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(len(assay.values), 12)).astype(np.float32)


def learner(model: str, **changes: object) -> FoldLearner:
    recipes = Recipes(FrozenRecipe(steps=20), LoraRecipe(steps=3, learning_rate=1e-2))
    return FoldLearner(model, CPU, replace(recipes, **changes))


@pytest.mark.parametrize("method", ["frozen", "lora"])
def test_predictions_do_not_know_the_values_of_their_fold(
    method: str, model_folder: str, tmp_path: Path
) -> None:
    assay = made_up()
    shuffled = assay.values.copy()
    test = assay.parts(2).test
    shuffled[test] = 100 - shuffled[test]
    vectors = vectors_of(assay) if method == "frozen" else None
    learn = learner(model_folder)
    one = learn(assay, 2, method, vectors, tmp_path / "one")
    other = learn(replace(assay, values=shuffled), 2, method, vectors, tmp_path / "other")
    assert set(one.predictions) == {MODEL, ONE_HOT, SUBSTITUTION}
    for name, said in one.predictions.items():
        np.testing.assert_array_equal(said, other.predictions[name])
        assert len(said) == len(test) and np.ptp(said) > 0
    trained = assay.values.copy()
    trained[assay.parts(2).training[:6]] += 3
    third = learn(replace(assay, values=trained), 2, method, vectors, tmp_path / "third")
    assert not np.array_equal(third.predictions[MODEL], one.predictions[MODEL])


def test_a_head_finds_what_the_vectors_say(tmp_path: Path) -> None:
    assay = made_up(200)
    vectors = vectors_of(assay)
    known = replace(assay, values=1000 + 50 * (2.0 * vectors[:, 0] - vectors[:, 1]).astype(np.float64))
    recipe = FrozenRecipe(steps=300, learning_rate=1e-2, standardised=True)
    said = learner("", frozen=recipe)(known, 0, "frozen", 1e-3 * vectors + 7, tmp_path)
    truth = known.values[known.parts(0).test]
    assert spearman(truth, said.predictions[MODEL]) > 0.9 and said.steps == 300
    assert abs(said.predictions[MODEL] - truth).mean() < 0.3 * truth.std()


def test_lora_learns_what_a_sequence_says(model_folder: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    sequences = ["".join(draw.choice(list("ADEGKLSV"), 12)) for _ in range(120)]
    values = np.array([sequence.count("K") - sequence.count("D") for sequence in sequences], np.float64)
    known = replace(made_up(120), sequences=sequences, values=values, variants=None)
    recipe = LoraRecipe(steps=60, learning_rate=2e-2, patience=0)
    said = learner(model_folder, lora=recipe)(known, 0, "lora", None, tmp_path)
    assert spearman(values[known.parts(0).test], said.predictions[MODEL]) > 0.8


def test_the_recipes_are_those_that_were_published() -> None:
    assay = made_up()
    frozen, lora = frozen_loop(FrozenRecipe(), 0), lora_loop(LoraRecipe(), 0, assay, 96)
    rates = [frozen.schedule.rate(step, frozen.steps) for step in (0, 49, 50, 999)]
    np.testing.assert_allclose(rates, [1e-3 / 50, 1e-3, 1e-3, 1e-3])
    assert (frozen.clip_norm, frozen.optimizer.weight_decay, frozen.steps) == (0.1, 0.01, 1000)
    rates = [lora.schedule.rate(step, lora.steps) for step in (499, 5250, 9999)]
    np.testing.assert_allclose(rates, [1e-4, 5e-5, 0], atol=1e-8)
    assert (lora.clip_norm, lora.best, lora.patience, lora.evaluate_every) == (0.1, "spearman", 10, 3)
    shapes = {name: tuple(own.shape) for name, own in FitnessHead(640).named_parameters()}
    assert shapes["dense.weight"] == (128, 640) and shapes["out_proj.weight"] == (1, 128)


@pytest.mark.parametrize(("tokens", "passes"), [(10_000, 1), (32 * 102, 1), (32 * 102 - 1, 2), (1, 32)])
def test_a_step_is_cut_until_a_pass_fits(tokens: int, passes: int) -> None:
    assert passes_of_step(LoraRecipe(batch_tokens=tokens), 100) == passes


def test_a_fold_comes_out_the_same_again(model_folder: str, tmp_path: Path) -> None:
    assay, learn = made_up(), learner(model_folder)
    first = learn(assay, 0, "lora", None, tmp_path / "first")
    for folder in ("first", "second"):  # where its checkpoints are, and where nothing is
        again = learn(assay, 0, "lora", None, tmp_path / folder)
        np.testing.assert_array_equal(first.predictions[MODEL], again.predictions[MODEL])
        assert first.steps == again.steps == 3


def test_ridge_is_the_closed_form_on_one_hot_residues(model_folder: str, tmp_path: Path) -> None:
    assay = made_up(indels=True)
    parts = assay.parts(1)
    said = learner(model_folder)(assay, 1, "frozen", vectors_of(assay), tmp_path).predictions
    assert set(said) == {MODEL, ONE_HOT}  # BLOSUM62 knows nothing of insertions and deletions
    longest = max(map(len, assay.sequences))
    padded = np.array([list(sequence.ljust(longest)) for sequence in assay.sequences])
    features = np.concatenate([(padded == letter).astype(float) for letter in "ACDEFGHIKLMNPQRSTVWY"], axis=1)

    def solve(known: NDArray[np.int64], penalty: float) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        own, truth = features[known], assay.values[known]
        centred = own - own.mean(axis=0)
        weights = np.linalg.solve(
            centred.T @ centred + penalty * np.eye(own.shape[1]), centred.T @ (truth - truth.mean())
        )
        return lambda asked: truth.mean() + (features[asked] - own.mean(axis=0)) @ weights

    penalties = [1000, 100, 10, 1, 0.1]
    losses = [
        ((solve(parts.training, penalty)(parts.validation) - assay.values[parts.validation]) ** 2).mean()
        for penalty in penalties
    ]
    both = np.concatenate([parts.training, parts.validation])
    expected = solve(both, penalties[int(np.argmin(losses))])(parts.test)
    np.testing.assert_allclose(said[ONE_HOT], expected, atol=2e-3)


def test_one_hot_has_a_column_for_each_residue_that_varies() -> None:
    features = one_hot(["MKA", "MRA", "MK"]).toarray()
    np.testing.assert_array_equal(features.sum(axis=1), [2, 2, 1])
    assert features.shape == (3, 3) and (features[0] == features[2]).sum() == 2


def test_blosum62_lies_on_the_line_of_the_other_folds(model_folder: str, tmp_path: Path) -> None:
    assay = made_up()
    scores = np.array(
        [sum(blosum62(a, b) for a, b in zip(WILD, s, strict=True) if a != b) for s in assay.sequences]
    )
    values = 2.0 * scores + assay.values
    said = learner(model_folder)(replace(assay, values=values), 3, "frozen", vectors_of(assay), tmp_path)
    known = assay.folds != 3
    slope, intercept = np.polyfit(scores[known], values[known], 1)
    np.testing.assert_allclose(said.predictions[SUBSTITUTION], slope * scores[~known] + intercept)


def test_lora_refuses_proteins_that_learned_positions_do_not_reach(tmp_path: Path) -> None:
    model = ESM(ESMConfig(width=8, depth=1, heads=1, inner_width=8, positions="learned"))
    model.initialise()
    save_folder(LAYOUT, model, tmp_path / "model")
    assay = made_up()
    longer = replace(assay, sequences=[sequence + "A" * 1020 for sequence in assay.sequences])
    with pytest.raises(InputError, match="1,036 residues, and this model has positions for 1,022"):
        learner(str(tmp_path / "model"))(longer, 0, "lora", None, tmp_path / "run")
