"""A base of bytes: gradients of the scaled-back weights, one byte a weight, adapters that learn on it and leave it."""

import copy
import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chaperonin.adapt.lora import (
    LoraSettings,
    add_lora,
    collect,
    merge,
    read_adapter,
    require_gradients,
    write_adapter,
)
from chaperonin.adapt.quantize import FrozenInt8Linear, quantize_for_training, quantize_int8
from chaperonin.kernels.linear import int8_frozen, lacks_int8, linear, prepare_int8, round_for
from chaperonin.kernels.linear.rounding import RoundedWeight, round_weight
from chaperonin.kernels.segments import Segments
from chaperonin.layers.linear import Linear
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.parallel.recompute import recompute

Make = Callable[..., ESM]
ROWS = [(1, 8, 8), (5, 33, 17), (257, 64, 192), (1025, 24, 40)]


@pytest.fixture(params=["integers", "scaled back"])
def processor(request: pytest.FixtureRequest) -> str:
    """A processor that multiplies bytes, and one that does not."""
    if request.param == "scaled back":
        request.getfixturevalue("no_byte_products")
    elif missing := lacks_int8():
        pytest.skip(f"no integer products: {missing}")
    return request.param


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scaled_back(model: nn.Module) -> nn.Module:
    """The plain model that the bytes stand for."""
    for name, child in model.named_children():
        if isinstance(child, FrozenInt8Linear):
            layer = Linear(child.in_features, child.out_features)
            layer.weight.data = RoundedWeight(child.weight, child.scales, child.sums).plain()
            layer.bias.data = child.bias.data.clone()
            setattr(model, name, layer)
        else:
            scaled_back(child)
    return model


@pytest.mark.parametrize(("rows", "inputs", "outputs"), ROWS)
def test_the_gradient_is_autograds_on_the_scaled_back_weight(
    rows: int, inputs: int, outputs: int, processor: str
) -> None:
    x = random_tensor(rows, inputs).requires_grad_()
    weight = round_weight(random_tensor(outputs, inputs, seed=1))
    bias, direction = random_tensor(outputs, seed=2).requires_grad_(), random_tensor(rows, outputs, seed=3)
    residual = random_tensor(rows, outputs, seed=4).requires_grad_()
    leaves = (x, bias, residual)
    product = int8_frozen.linear(x, weight, bias, None, residual)
    expected = nn.functional.linear(x, weight.plain(), bias) + residual
    tolerance = {"atol": 1e-5, "rtol": 1e-5}
    if processor == "scaled back":
        torch.testing.assert_close(product, expected, **tolerance)
    for ours, theirs in zip(
        torch.autograd.grad(product, leaves, direction),
        torch.autograd.grad(expected, leaves, direction),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **tolerance)


@pytest.mark.skipif(bool(lacks_int8()), reason=f"no int8 here: {lacks_int8()}")
@pytest.mark.parametrize(("rows", "inputs", "outputs"), ROWS)
def test_products_are_those_of_inference_to_the_bit(rows: int, inputs: int, outputs: int) -> None:
    x, weight = random_tensor(rows, inputs), random_tensor(outputs, inputs, seed=1)
    bias = random_tensor(outputs, seed=2)
    with torch.inference_mode():
        expected = linear(x, prepare_int8(weight), bias)
    weight = round_for(torch.device("cpu"), weight)
    assert torch.equal(int8_frozen.linear(x, weight, bias, None, None), expected)


@pytest.mark.slow
def test_the_operation_is_one_that_pytorch_can_compile() -> None:
    weight = round_weight(random_tensor(17, 33))
    x = random_tensor(9, 33).requires_grad_()
    torch.library.opcheck(int8_frozen._product, (x, weight.rounded, weight.scales, weight.sums))


def test_a_models_gradients_are_those_of_the_model_that_its_bytes_stand_for(
    random_model: Make, stream: Callable, no_byte_products: None
) -> None:
    """Through every layer, norm and attention; rows are not rounded here, so both sides see the same numbers."""
    model = quantize_for_training(random_model())
    plain = scaled_back(copy.deepcopy(model))
    tokens, segments = stream([9, 40])
    found = []
    for each in (model, plain):
        torch.manual_seed(0)
        add_lora(each, LoraSettings(rank=3))
        for name, parameter in each.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.2)
        hidden = each(tokens, segments)
        trained = {name: tensor for name, tensor in each.named_parameters() if tensor.requires_grad}
        loss = (hidden * random_tensor(*hidden.shape)).mean()
        found.append(dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True)))
    assert found[0].keys() == found[1].keys() and len(found[0]) == 36
    for name, gradient in found[0].items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradient, found[1][name], atol=1e-6, rtol=1e-4)


@pytest.mark.skipif(bool(lacks_int8()), reason=f"no int8 here: {lacks_int8()}")
def test_training_sees_the_numbers_of_the_8_bit_model(random_model: Make, stream: Callable) -> None:
    tokens, segments = stream([9, 40, 14])
    with torch.no_grad():
        trained = quantize_for_training(random_model())(tokens, segments)
    with torch.inference_mode():
        served = quantize_int8(random_model())(tokens, segments)
    assert torch.cosine_similarity(trained, served, dim=-1).min() > 0.9999


def test_a_weight_costs_one_byte_and_the_fp32_one_is_gone(random_model: Make, stream: Callable) -> None:
    model = random_model(ESMConfig(width=128, depth=2, heads=4, inner_width=512))
    linears = [module for module in model.modules() if isinstance(module, Linear)]
    weights = [weakref.ref(layer.weight) for layer in linears]
    count = sum(layer.weight.numel() for layer in linears)
    del linears
    quantize_for_training(model)
    gc.collect()
    assert not any(reference() is not None for reference in weights)
    frozen = [module for module in model.modules() if isinstance(module, FrozenInt8Linear)]
    sizes = [tensor.nbytes for layer in frozen for tensor in (layer.weight, layer.scales, layer.sums)]
    assert len(frozen) == 12 and sum(layer.weight.nbytes for layer in frozen) == count
    assert sum(sizes) < 1.07 * count  # at this small width; 1.007 × at a width of 1,280
    kept = kept_bytes_of_weights(model, *stream([9, 40]))
    assert kept == 0


def kept_bytes_of_weights(model: ESM, tokens: Tensor, segments: Segments) -> int:
    """Bytes of fp32 tensors as large as a weight that the graph keeps for the backward pass."""
    shapes = {(128, 128), (512, 128), (128, 512)}
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        if tuple(tensor.shape) in shapes and tensor.dtype == torch.float32:
            kept += tensor.nbytes
        return tensor

    model.embedding.word.weight.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(tokens, segments)
    return kept


def test_a_frozen_layer_keeps_no_row_for_the_backward_pass() -> None:
    layer = FrozenInt8Linear(Linear(32, 48))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.dtype) or t, lambda t: t):
        layer(random_tensor(1000, 32).requires_grad_())
    assert sum(dtype == torch.int8 for dtype in kept) == 1 and len(kept) == 2  # bytes and scales


def test_the_heads_stay_and_adapters_may_be_there_before(random_model: Make, stream: Callable) -> None:
    tokens, segments = stream([9, 40])
    first, second = random_model(), random_model()
    for model, steps in ((first, "qa"), (second, "aq")):
        for step in steps:
            torch.manual_seed(0)
            quantize_for_training(model) if step == "q" else add_lora(model, LoraSettings())
    assert not any(type(module) is Linear for module in second.modules())
    assert torch.equal(first(tokens, segments), second(tokens, segments))
    assert isinstance(first.masked_language.dense, nn.Linear)
    assert first.masked_language.dense.weight.dtype == torch.float32
    assert {name for name, tensor in first.named_parameters() if tensor.requires_grad} == {
        name for name, tensor in second.named_parameters() if tensor.requires_grad
    }


@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
def test_lora_on_bytes_learns_and_its_adapter_serves_the_fp32_model(
    recomputed: bool, random_model: Make, stream: Callable, tmp_path: Path
) -> None:
    """Push the pooled representation of four sequences towards random targets."""
    plain = random_model()
    model = quantize_for_training(copy.deepcopy(plain))
    torch.manual_seed(0)
    add_lora(model, LoraSettings(rank=8))
    if recomputed:
        recompute(model)
    tokens, segments = stream([12, 20, 9, 15])
    targets = random_tensor(4, 32)

    def loss_of(model: ESM) -> Tensor:
        hidden = model(tokens, segments).split(segments.lengths)
        return (torch.stack([rows.mean(0) for rows in hidden]) - targets).square().mean()

    require_gradients(model, loss_of(model))
    trained = [tensor for tensor in model.parameters() if tensor.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    first = loss_of(model).item()
    for _ in range(30):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    last = loss_of(model).item()
    assert last < 0.5 * first
    write_adapter(tmp_path, collect(model), "a/base")
    merge(plain, read_adapter(tmp_path))
    with torch.no_grad():
        assert loss_of(plain).item() < 0.55 * first
