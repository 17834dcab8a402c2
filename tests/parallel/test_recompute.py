"""Recomputed layers change no result, no gradient and no name, and keep one tensor a layer."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from chaperonin.adapt.lora import LoraSettings, add_lora
from chaperonin.adapt.quantize import quantize_for_training
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.parallel.recompute import recompute
from chaperonin.training.tensor_memory import peak_bytes

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


def names_called(run: Callable[[], object]) -> list[str]:
    """Names of the operations that a piece of work calls."""
    names = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(func.name())
            return func(*args, **(kwargs or {}))

    with Watch():
        run()
    return names


@pytest.mark.parametrize("frozen", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
def test_selective_recomputation_has_the_gradients_of_the_full_one_and_repeats_no_large_product(
    model: ESM, frozen: bool, autocast: bool
) -> None:
    if frozen:
        model.requires_grad_(False)
        add_lora(model, LoraSettings(rank=2))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.2)
    kept = recompute(copy.deepcopy(model), selective=True)
    spared = recompute(copy.deepcopy(model))
    back = {}
    for own in (model, spared, kept):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = own(tokens(), SEGMENTS).float().pow(2).mean()
        back[own] = names_called(loss.backward)
    for (name, found), (_, expected) in zip(kept.named_parameters(), spared.named_parameters(), strict=True):
        if found.requires_grad and not name.startswith(("masked_language", "contact")):
            assert found.grad.any() and torch.equal(found.grad, expected.grad), name
    flash = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert {flash, "aten::addmm"} <= set(back[spared])
    assert not {flash, "aten::addmm"} & {*back[kept], *back[model]}


def test_selective_recomputation_keeps_products_of_8_bit_weights(model: ESM) -> None:
    model.requires_grad_(False)
    quantize_for_training(model)
    add_lora(model, LoraSettings(rank=2))
    product = "chaperonin::linear_int8_frozen"
    kept = recompute(copy.deepcopy(model), selective=True)
    expected, found = loss_of(model), loss_of(kept)
    assert torch.equal(found, expected)
    assert product not in names_called(found.backward)
    assert product in names_called(loss_of(recompute(model)).backward)


def test_selective_recomputation_takes_less_than_none_and_more_than_full() -> None:
    deep = ESM(dataclasses.replace(CONFIG, depth=8))

    def peak(model: ESM) -> int:
        return peak_bytes(model, lambda: model(tokens(), SEGMENTS).sum().backward())

    none, full = peak(copy.deepcopy(deep)), peak(recompute(copy.deepcopy(deep)))
    assert full < peak(recompute(deep, selective=True)) < none
