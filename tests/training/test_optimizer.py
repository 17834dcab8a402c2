import pytest
import torch
from torch.optim import AdamW, Muon

from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.training.optimizer import OptimizerSettings, build_optimizers, set_rate


@pytest.fixture
def model() -> ESM:
    return ESM(ESMConfig(width=16, depth=2, heads=2, inner_width=32))


@pytest.mark.parametrize("method", ["adamw", "muon"])
def test_every_trained_parameter_has_one_place(model: ESM, method: str):
    optimizers = build_optimizers(model, OptimizerSettings(method=method))
    owned = [
        id(tensor)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for tensor in group["params"]
    ]
    trained = [id(tensor) for tensor in model.parameters() if tensor.requires_grad]
    assert sorted(owned) == sorted(trained)


@pytest.mark.parametrize("method", ["adamw", "muon"])
def test_only_matrices_decay(model: ESM, method: str):
    for optimizer in build_optimizers(model, OptimizerSettings(method=method, weight_decay=0.3)):
        for group in optimizer.param_groups:
            assert all((tensor.ndim >= 2) is (group["weight_decay"] == 0.3) for tensor in group["params"])
            assert group["weight_decay"] in (0.0, 0.3)


def test_muon_takes_the_matrices_inside_the_layers_only(model: ESM):
    adamw, muon = build_optimizers(model, OptimizerSettings(method="muon"))
    assert isinstance(adamw, AdamW)
    assert isinstance(muon, Muon)
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    taken = {names[id(tensor)] for group in muon.param_groups for tensor in group["params"]}
    assert taken == {
        name
        for name in names.values()
        if name.startswith("layers.") and name.endswith("weight") and "norm" not in name
    }


def test_rate_reaches_every_group(model: ESM):
    optimizers = build_optimizers(model, OptimizerSettings(method="muon"))
    set_rate(optimizers, 0.123)
    assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {0.123}


def test_frozen_parameters_are_left_out(model: ESM):
    model.requires_grad_(False)
    model.norm.requires_grad_(True)
    (adamw,) = build_optimizers(model, OptimizerSettings(method="muon"))
    assert [tensor.shape for group in adamw.param_groups for tensor in group["params"]] == [
        torch.Size([16])
    ] * 2
