"""The losses of routers against computations by hand and laws, and what the hooks see."""

import math

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from chaperonin.kernels.segments import Segments
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.models.aido.experts import route
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.protein.alphabet import AIDO_ALPHABET, ESM_ALPHABET
from chaperonin.tasks.masked_language import MaskedBatch, MaskedLanguage
from chaperonin.tasks.routing import Routing, balance_loss, router_z_loss, routings, usage

SIZES = {"width": 16, "depth": 2, "heads": 2, "inner_width": 24}


def mixture(**changes: object) -> AIDO:
    model = AIDO(AIDOConfig(**{**SIZES, "experts": 4, "experts_per_token": 2, **changes}))
    model.initialise(torch.Generator().manual_seed(0))
    for layer in model.layers:
        layer.feed_forward.router.weight.data.mul_(20)
    return model


def batch_of(task: MaskedLanguage) -> MaskedBatch:
    records = [ESM_ALPHABET.indices(text).astype(np.uint8) for text in ("MKTAYIAKQRQISF" * 4, "GAVLKW" * 3)]
    return task.collate(records, np.random.default_rng(0))


def routed(logits: torch.Tensor, chosen: int) -> Routing:
    return Routing(logits, logits.topk(chosen, dim=-1).indices)


@pytest.fixture
def layers() -> list[Routing]:
    generator = torch.Generator().manual_seed(0)
    return [routed(3 * torch.randn(50, 5, generator=generator), 2) for _ in range(3)]


def test_balance_loss_is_its_formula(layers: list[Routing]) -> None:
    each = []
    for layer in layers:
        logits = layer.logits.double().numpy()
        experts = logits.shape[1]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        total = 0.0
        for expert in range(experts):
            choices = sum(expert in np.argsort(-row)[:2] for row in logits)
            total += choices / (2 * len(logits)) * probabilities[:, expert].mean()
        each.append(experts * total)
    assert balance_loss(layers).item() == pytest.approx(np.mean(each), rel=1e-6)


def test_router_z_loss_is_its_formula(layers: list[Routing]) -> None:
    squares = [math.log(sum(map(math.exp, row))) ** 2 for layer in layers for row in layer.logits.tolist()]
    assert router_z_loss(layers).item() == pytest.approx(np.mean(squares), rel=1e-5)


@pytest.mark.parametrize("chosen", [1, 2, 8])
def test_even_routing_has_a_balance_loss_of_one(chosen: int) -> None:
    logits = torch.stack([torch.roll(torch.arange(8.0), turn) for turn in range(8)])
    assert balance_loss([routed(logits, chosen)]).item() == pytest.approx(1.0)
    assert usage([routed(logits, chosen)])["expert_evenness"].item() == pytest.approx(1.0)


def test_one_expert_for_all_has_a_balance_loss_of_all_experts() -> None:
    alone = routed(torch.tensor([[50.0, 0.0, 0.0, 0.0]]).repeat(6, 1), 1)
    assert balance_loss([alone]).item() == pytest.approx(4.0)
    found = usage([alone])
    assert found["expert_evenness"] == 0
    assert found["busiest_expert_of_layer_1"] == 1 and found["idlest_expert_of_layer_1"] == 0


def test_a_step_against_the_balance_loss_evens_the_probabilities() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0]]).repeat(4, 1).requires_grad_()
    balance_loss([routed(logits, 1)]).backward()
    assert (logits.grad[:, 0] > 0).all() and (logits.grad[:, 1:] < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hooks_see_the_choices_of_the_layers(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def counted(logits: torch.Tensor, chosen: int):  # type: ignore[no-untyped-def]
        counts.append(route(logits, chosen).counts)
        return route(logits, chosen)

    monkeypatch.setattr("chaperonin.models.aido.experts.route", counted)
    model = mixture().to(dtype)
    tokens = torch.from_numpy(AIDO_ALPHABET.encode("MKTAYIAKQRQISFVK" * 10))
    with routings(model) as layers, torch.no_grad():
        model(tokens, Segments([len(tokens)]))
    assert len(layers) == 2
    assert all(torch.equal(own.counts.long(), true) for own, true in zip(layers, counts, strict=True))
    model(tokens, Segments([len(tokens)]))
    assert len(layers) == 2


def test_layers_that_are_computed_again_count_once_and_give_the_same_gradient() -> None:
    class Again(torch.nn.Module):
        def __init__(self, layer: torch.nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, *inputs: object) -> torch.Tensor:
            return checkpoint(self.layer, *inputs, use_reentrant=False)

    gradients = []
    for again in (False, True):
        model = mixture()
        routers = [layer.feed_forward.router.weight for layer in model.layers]
        if again:
            model.layers = torch.nn.ModuleList(map(Again, model.layers))
        tokens = torch.from_numpy(AIDO_ALPHABET.encode("MKTAYIAKQRQISFVK"))
        with routings(model) as layers:
            hidden = model(tokens, Segments([len(tokens)]))
        (hidden.square().sum() + balance_loss(layers) + router_z_loss(layers)).backward()
        assert len(layers) == 2
        gradients.append([own.grad for own in routers])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))


def test_loss_in_training_adds_the_weighted_losses_times_the_targets() -> None:
    model, task = mixture(), MaskedLanguage(AIDO_ALPHABET, balance_weight=0.3, router_z_weight=0.2)
    batch = batch_of(task)
    loss, metrics = task.loss(model, batch)
    with routings(model) as layers:
        logits = model.lm_head(model(batch.tokens, batch.segments)[batch.positions])
    plain = torch.nn.functional.cross_entropy(logits, batch.residues, reduction="sum")
    expected = plain + batch.targets * (0.3 * balance_loss(layers) + 0.2 * router_z_loss(layers))
    torch.testing.assert_close(loss, expected)
    assert metrics["balance_loss"].item() == pytest.approx(batch.targets * balance_loss(layers).item())
    loss.backward()
    assert all(layer.feed_forward.router.weight.grad.abs().sum() > 0 for layer in model.layers)
    held_out, _ = task.loss(model.eval(), batch)
    torch.testing.assert_close(held_out, plain)


def test_weights_of_zero_change_no_bit() -> None:
    gradients = []
    for task in (MaskedLanguage(AIDO_ALPHABET), MaskedLanguage(AIDO_ALPHABET, 0.0, 0.0)):
        model = mixture()
        batch = batch_of(task)
        if not gradients:
            hidden = model(batch.tokens, batch.segments)
            logits = model.lm_head(hidden[batch.positions]).float()
            loss = torch.nn.functional.cross_entropy(logits, batch.residues, reduction="sum")
        else:
            loss, _ = task.loss(model, batch)
        loss.backward()
        gradients.append([own.grad for own in model.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))


@pytest.mark.parametrize("model", ["esm", "dense"])
def test_models_without_experts_have_no_such_metrics(model: str) -> None:
    own = ESM(ESMConfig(**SIZES)) if model == "esm" else AIDO(AIDOConfig(**SIZES, experts=0))
    own.initialise(torch.Generator().manual_seed(0))
    task = MaskedLanguage(own.alphabet, 0.01, 0.001)
    _, metrics = task.loss(own, batch_of(task))
    assert metrics.keys() == {"accuracy"}
