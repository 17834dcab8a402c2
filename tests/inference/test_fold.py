"""Folding one target: what recycling does, what a seed decides, and how results are ranked."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.inference.tiny_fold import ALIGNMENT, CONFIG, UBIQUITIN, tiny_model

from chaperonin.data.alignment_features import sample
from chaperonin.errors import InputError, UsageError, WeightsError
from chaperonin.inference.fold import (
    distance_change,
    feature_settings,
    fold,
    fold_once,
    prepare_target,
    recycle,
    sample_generator,
)
from chaperonin.inference.fold_models import load_models, loading, model_of, random_network
from chaperonin.inference.fold_settings import FoldSettings
from chaperonin.models.alphafold.features import Templates
from chaperonin.protein.alignment import read_a3m
from chaperonin.protein.atoms import ATOM37, ATOM37_MASK
from chaperonin.protein.confidence import plddt, predicted_aligned_error, predicted_tm_score


def settings_with(**values: object) -> FoldSettings:
    return FoldSettings(device="cpu", **values)


def test_recycling_equals_calling_the_network_by_hand():
    model, settings = tiny_model(), settings_with(msa_clusters=6, recycles=2)
    prepared = prepare_target(read_a3m(ALIGNMENT))
    generator = sample_generator(prepared, 5)
    last = None
    with torch.inference_mode():
        for _ in range(3):
            features = sample(prepared, feature_settings(model, settings), generator)
            expected = model.network(features, last)
            last = expected.recycled()
    found = fold_once(model, prepared, 5, settings)
    assert found.iterations == 3 and found.prediction.seed == 5
    mask = found.prediction.structure.atom_mask
    positions = expected.structure.positions.numpy()
    np.testing.assert_array_equal(found.prediction.structure.positions[mask], positions[mask])
    np.testing.assert_array_equal(
        found.prediction.structure.confidence, plddt(expected.logits.lddt).astype(np.float32)
    )
    error = expected.logits.aligned_error
    np.testing.assert_array_equal(
        found.prediction.aligned_error, predicted_aligned_error(error).astype(np.float32)
    )
    assert found.prediction.ptm == predicted_tm_score(error)


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others():
    model, alignment = tiny_model(), read_a3m(ALIGNMENT)
    first, again, other = (
        fold([model], alignment, settings=settings_with(first_seed=seed))[0].structure.positions
        for seed in (0, 0, 1)
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_a_result_does_not_depend_on_the_company_it_is_made_in():
    models, alignment = [tiny_model(1), tiny_model(3)], read_a3m(ALIGNMENT)
    together = fold(models, alignment, settings=settings_with(seeds=2))
    alone = fold(models[1:], alignment, settings=settings_with(first_seed=1))[0]
    (same,) = [one for one in together if (one.model, one.seed) == ("model_3", 1)]
    assert same.structure.positions.tobytes() == alone.structure.positions.tobytes()


def test_no_recycles_is_one_iteration_and_none_means_the_models_own():
    prepared = prepare_target("MKTAYIAKQR")
    model = tiny_model()
    assert fold_once(model, prepared, 0, settings_with(recycles=0)).iterations == 1
    assert fold_once(model, prepared, 0, settings_with()).iterations == 1 + CONFIG.recycles


def test_recycling_stops_when_distances_change_less_than_the_tolerance():
    model, prepared = tiny_model(), prepare_target(UBIQUITIN)

    def last_positions(recycles, tolerance=0.0):
        settings = settings_with(recycles=recycles, recycle_tolerance=tolerance)
        result, iterations = recycle(model, prepared, settings, sample_generator(prepared, 0))
        return result.structure.positions, iterations

    is_seen = torch.ones(len(UBIQUITIN), dtype=torch.bool)
    steps = [last_positions(recycles)[0] for recycles in range(4)]
    changes = [distance_change(old, new, is_seen) for old, new in pairwise(steps)]
    stopped, iterations = last_positions(3, tolerance=changes[0] * 1.001)
    assert iterations == 2
    torch.testing.assert_close(stopped, steps[1], rtol=0, atol=0)
    assert last_positions(3, tolerance=min(changes) * 0.999)[1] == 4


def test_the_change_is_that_of_distances_between_alpha_carbons():
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(5, 37, 3, generator=generator)
    turned = before.clone()
    turned[..., :2] = turned[..., :2].flip(-1) * torch.tensor([1.0, -1.0])
    seen = torch.tensor([True] * 4 + [False])
    turned[4], turned[:, 5] = 100, 100  # neither an unknown residue nor another atom counts
    assert distance_change(before, turned + 7, seen) == pytest.approx(0, abs=1e-5)
    moved = before.clone()
    moved[0, ATOM37["CA"]] += 1
    distance = [np.linalg.norm(x[:4, 1, None] - x[None, :4, 1], axis=-1) for x in (before, moved)]
    expected = np.sqrt(np.mean((distance[0] - distance[1]) ** 2))
    assert distance_change(before, moved, seen) == pytest.approx(expected, rel=1e-5)


def test_predictions_come_best_first_and_as_many_as_were_asked_for():
    models = [tiny_model(number) for number in (1, 3, 4)]
    ranked = fold(models, "MKTAYIAKQR", settings=settings_with(seeds=2))
    means = [prediction.mean_plddt for prediction in ranked]
    assert len(ranked) == 6 and means == sorted(means, reverse=True)
    kept = fold(models, "MKTAYIAKQR", settings=settings_with(seeds=2, keep=2))
    assert [one.mean_plddt for one in kept] == means[:2]


def test_templates_change_what_a_model_that_reads_them_folds_and_no_other():
    length = 10
    templates = Templates(
        aatype=torch.zeros(1, length, dtype=torch.long),
        positions=torch.randn(1, length, 37, 3, generator=torch.Generator().manual_seed(1)),
        atom_mask=torch.from_numpy(ATOM37_MASK[np.zeros((1, length), int)]),
        mask=torch.ones(1),
    )

    def positions(number, templates, **values):
        found = fold([tiny_model(number)], "MKTAYIAKQR", templates, settings_with(**values))
        return found[0].structure.positions.tobytes()

    assert positions(1, templates) != positions(1, None)
    assert positions(1, templates, use_templates=False) == positions(1, None)
    assert positions(3, templates) == positions(3, None)


def test_unknown_residues_have_a_place_and_no_atoms():
    (prediction,) = fold([tiny_model()], "MKXAYUAKQR", settings=settings_with())
    assert prediction.structure.sequence == "MKXAYXAKQR"
    assert not prediction.structure.atom_mask[[2, 5]].any()
    assert prediction.aligned_error.shape == (10, 10)
    with pytest.raises(InputError, match="none of the residues is known"):
        fold([tiny_model()], "XXXX", settings=settings_with())


def test_one_residue_folds():
    (prediction,) = fold([tiny_model()], "G", settings=settings_with())
    assert prediction.structure.atom_mask.sum() == 4


def test_an_overflow_is_an_error_and_no_result():
    network = random_network(CONFIG)
    network.structure.update.weight.data.fill_(1e30)
    with pytest.raises(InputError):
        fold([model_of(network)], "MKTAYIAKQR", settings=settings_with())


@pytest.mark.parametrize(
    "values", [{"recycles": -1}, {"seeds": 0}, {"keep": 0}, {"recycle_tolerance": -1.0}, {"msa_clusters": 0}]
)
def test_settings_that_make_no_sense_are_refused(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        FoldSettings(**values)


def test_random_networks_are_the_same_every_time_and_have_no_silent_layer():
    first, again = (random_network(CONFIG, 3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name, module in random_network(CONFIG, 3).named_modules():
        if isinstance(module, torch.nn.Linear) and module.weight.numel() > 2000:
            assert module.weight.std() * module.in_features**0.5 == pytest.approx(1, abs=0.1), name
    state = torch.get_rng_state()
    random_network(CONFIG)
    assert torch.equal(state, torch.get_rng_state())


def test_parameters_that_are_read_beside_other_work_are_the_same():
    model = model_of(random_network(CONFIG, 3))
    early = loading(model)
    assert early.network is model.network and early.digest == model.digest
    assert (early.name, early.config, early.tag) == (model.name, model.config, model.tag)


def test_parameters_that_cannot_be_read_are_an_error_where_they_are_asked_for():
    def fail():
        raise WeightsError("model.safetensors is damaged")

    early = loading(replace(model_of(random_network(CONFIG, 3)), load=fail))
    assert early.digest
    with pytest.raises(WeightsError, match="is damaged"):
        _ = early.network


def test_models_go_by_their_names_in_files(monkeypatch, tmp_path):
    models = load_models(["model_1_ptm", "alphafold2/model_3"], random_weights=True, device="cpu")
    assert [(model.tag, model.name) for model in models] == [
        ("alphafold2_ptm", "model_1"),
        ("alphafold2", "model_3"),
    ]
    assert models[0].digest != models[1].digest and all("random weights" in model.warning for model in models)
    with pytest.raises(UsageError, match="two models would write"):
        load_models(["model_1", "alphafold2/model_1"], random_weights=True, device="cpu")
    with pytest.raises(WeightsError, match="neither a model of AlphaFold 2 nor a folder"):
        load_models(["model_9"], device="cpu")
