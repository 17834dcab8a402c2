"""Recomputed layers change no result, no gradient and no name, and keep one tensor a layer."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.parallel.recompute import recompute

CONFIG = ESMConfig(width=32, depth=4, heads=4, inner_width=128)
SEGMENTS = Segments([30, 50, 20])


@pytest.fixture
def model() -> ESM:
    torch.manual_seed(0)
    model = ESM(CONFIG)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2)
    return model


def tokens() -> Tensor:
    return torch.randint(4, 24, (SEGMENTS.total,), generator=torch.Generator().manual_seed(2))


def loss_of(model: ESM) -> Tensor:
    return model.lm_head(model(tokens(), SEGMENTS)).logsumexp(-1).mean()


def kept_bytes(model: ESM, run: Callable[[ESM], Tensor]) -> int:
    """Bytes that the graph keeps for the backward pass, parameters aside; each storage once."""
    own = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(model)
    return sum(kept.values())


def test_results_and_gradients_are_the_same_to_the_bit(model: ESM) -> None:
    cheap = recompute(copy.deepcopy(model))
    expected, found = loss_of(model), loss_of(cheap)
    assert torch.equal(found, expected)
    expected.backward()
    found.backward()
    for (name, ours), (_, theirs) in zip(cheap.named_parameters(), model.named_parameters(), strict=True):
        if theirs.grad is None:
            assert ours.grad is None
        else:
            assert theirs.grad.any(), name
            assert torch.equal(ours.grad, theirs.grad), name


def test_names_of_modules_and_tensors_stay(model: ESM) -> None:
    before = [name for name, _ in model.named_modules()], list(model.state_dict())
    query = model.layers[2].attention.project.query
    cheap = recompute(recompute(model))
    assert ([name for name, _ in cheap.named_modules()], list(cheap.state_dict())) == before
    assert cheap is model and cheap.layers[2].attention.project.query is query
    cheap.eval()
    assert not cheap.layers[0].training
    copy.deepcopy(cheap).load_state_dict(cheap.state_dict())


def test_a_copy_recomputes_its_own_weights(model: ESM) -> None:
    cheap = recompute(model)
    other = copy.deepcopy(cheap)
    other.layers[0].attention.out.weight.data.zero_()
    assert not torch.equal(loss_of(other), loss_of(cheap))
    loss_of(other).backward()
    assert cheap.layers[0].attention.out.weight.grad is None


def test_the_graph_keeps_the_input_of_each_layer(model: ESM) -> None:
    """Recomputed, a layer costs one `[tokens, width]` and nothing else, whatever it does inside."""
    stream = SEGMENTS.total * CONFIG.width * 4

    def run(model: ESM) -> Tensor:
        return model(tokens(), SEGMENTS)

    shallow = recompute(ESM(dataclasses.replace(CONFIG, depth=1)))
    usual, cheap = kept_bytes(model, run), kept_bytes(recompute(model), run)
    assert cheap - kept_bytes(shallow, run) == (CONFIG.depth - 1) * stream
    assert usual > 10 * CONFIG.depth * stream and cheap < 3 * CONFIG.depth * stream


def test_without_gradient_nothing_is_kept_or_computed_twice(
    model: ESM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Tensor:
        raise AssertionError("a checkpoint without gradient")

    monkeypatch.setattr("chaperonin.parallel.recompute.checkpoint", fail)
    with torch.no_grad():
        recompute(model)(tokens(), SEGMENTS)
