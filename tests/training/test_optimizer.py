import pytest
import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from chaperonin.errors import UsageError
from chaperonin.models.aido import AIDO, AIDOConfig
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


@pytest.mark.parametrize("method", ["adamw", "muon"])
def test_biases_of_experts_are_biases(method: str):
    model = AIDO(AIDOConfig(width=16, depth=2, heads=2, inner_width=24, experts=4))
    biases = {id(own) for name, own in model.named_parameters() if name.endswith("bias")}
    assert any(own.ndim == 2 for own in model.parameters() if id(own) in biases)
    for optimizer in build_optimizers(model, OptimizerSettings(method=method, weight_decay=0.3)):
        for group in optimizer.param_groups:
            for own in group["params"]:
                assert (group["weight_decay"] == 0) is (own.ndim == 1 or id(own) in biases)


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
    (adamw,) = build_optimizers(model, OptimizerSettings())
    assert [tensor.shape for group in adamw.param_groups for tensor in group["params"]] == [
        torch.Size([16])
    ] * 2


def two_towers() -> nn.ModuleDict:
    """A backbone and what stands on it, with weights of 0, so that a step is what they are after it."""
    towers = nn.ModuleDict({"protein": nn.Linear(7, 5), "head": nn.Linear(5, 3)})
    for parameter in towers.parameters():
        nn.init.zeros_(parameter)
    return towers


def step(model: nn.Module, optimizers: list[Optimizer]) -> None:
    """A step along gradients that are the same for every model."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    for optimizer in optimizers:
        optimizer.step()


def test_the_backbone_moves_by_its_share_of_the_first_step():
    model = two_towers()
    optimizers = build_optimizers(model, OptimizerSettings(weight_decay=0, backbone_share=0.1))
    set_rate(optimizers, 1e-2)
    step(model, optimizers)
    # AdamW's first step is as long as the rate, whatever the gradient (1e-8 beside it).
    for name, moved in model.named_parameters():
        rate = 1e-3 if name.startswith("protein.") else 1e-2
        torch.testing.assert_close(moved.abs(), torch.full_like(moved, rate), rtol=1e-4, atol=0)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_a_share_is_an_optimizer_of_its_own_at_that_rate(share: float):
    together, apart = two_towers(), two_towers()
    settings = OptimizerSettings(weight_decay=0.3, backbone_share=share)
    own = build_optimizers(together, settings)
    others = [
        (build_optimizers(part, OptimizerSettings(weight_decay=0.3)), rate)
        for part, rate in ((apart["protein"], share), (apart["head"], 1.0))
    ]
    for rate in (1e-2, 3e-3, 1e-3):
        set_rate(own, rate)
        step(together, own)
        for optimizers, part in others:
            set_rate(optimizers, rate * part)
        step(apart, [optimizer for optimizers, _ in others for optimizer in optimizers])
    for ours, theirs in zip(together.parameters(), apart.parameters(), strict=True):
        assert ours.any() and torch.equal(ours, theirs)


def test_without_a_share_there_are_the_groups_that_there_were():
    (adamw,) = build_optimizers(two_towers(), OptimizerSettings(weight_decay=0.3))
    assert [(len(group["params"]), group["weight_decay"]) for group in adamw.param_groups] == [
        (2, 0.3),
        (2, 0),
    ]


def test_a_share_of_nothing_is_refused(model: ESM):
    with pytest.raises(UsageError, match=r"backbone_share: no backbone is trained here"):
        build_optimizers(model, OptimizerSettings(backbone_share=0.1))
    towers = two_towers()
    towers["protein"].requires_grad_(False)
    with pytest.raises(UsageError, match="no backbone is trained here"):
        build_optimizers(towers, OptimizerSettings(backbone_share=0.1))
    with pytest.raises(UsageError, match="cannot be -1"):
        build_optimizers(two_towers(), OptimizerSettings(backbone_share=-1))


def test_muon_without_layers_of_its_own_is_refused(model: ESM):
    with pytest.raises(UsageError, match="no layer of this model is trained by muon"):
        build_optimizers(nn.ModuleDict({"backbone": model}), OptimizerSettings(method="muon"))
