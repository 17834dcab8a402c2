"""LoRA learns everywhere it is put, with and without recomputation, and merges into what it computed."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chaperonin.adapt.lora import (
    Adapter,
    LoraSettings,
    add_lora,
    collect,
    merge,
    require_gradients,
)
from chaperonin.adapt.pack import pack_linears
from chaperonin.errors import ChaperoninError, UsageError, WeightsError
from chaperonin.kernels.linear import onednn
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.parallel.recompute import recompute

Make = Callable[..., ESM]
LINEARS = {"q": 1, "k": 1, "v": 1, "out": 1, "ffn": 2}
"""Role → linear layers in one encoder layer."""


def randomise(model: nn.Module, seed: int = 5) -> None:
    """Give A and B numbers as after some training: a B of zeros hides errors."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.2, generator=generator)


def loss_of(model: ESM, tokens: Tensor, segments: Segments) -> Tensor:
    """Depends on every output through a random direction."""
    hidden = model(tokens, segments)
    direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
    return (hidden * direction).mean()


def gradients(model: ESM, loss: Tensor) -> dict[str, Tensor]:
    named = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


@pytest.mark.parametrize("role", LINEARS)
def test_a_role_wraps_its_modules_in_every_layer_and_freezes_the_rest(
    role: str, random_model: Make, stream: Callable
) -> None:
    model = random_model()
    tokens, segments = stream([9, 14])
    before = model(tokens, segments)
    add_lora(model, LoraSettings(rank=3, targets=(role, "head")))
    trainable = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
    assert len(trainable) == 2 * LINEARS[role] * model.config.depth
    assert all("lora_" in name for name in trainable)
    torch.testing.assert_close(model(tokens, segments), before, atol=1e-5, rtol=1e-5)
    adapter = collect(model)
    assert adapter.targets == (role,) and adapter.rank == 3 and adapter.scale == 16 / 3
    assert not model.training and not any(module.training for module in model.modules())


def test_merged_weights_give_the_wrapped_models_results(random_model: Make, stream: Callable) -> None:
    plain = random_model()
    model = copy.deepcopy(plain)
    add_lora(model, LoraSettings(rank=4, alpha=7))
    randomise(model)
    tokens, segments = stream([9, 14, 200])
    adapter = collect(model)
    merged = copy.deepcopy(plain)
    merge(merged, adapter)
    with torch.no_grad():
        expected = model(tokens, segments)
        assert not torch.allclose(plain(tokens, segments), expected, atol=0.1)
        torch.testing.assert_close(merged(tokens, segments), expected, atol=1e-5, rtol=1e-5)


def test_a_base_in_half_precision_gets_an_adapter_in_fp32(random_model: Make, stream: Callable) -> None:
    model = random_model().to(torch.bfloat16)
    add_lora(model, LoraSettings())
    assert {tensor.dtype for tensor in model.parameters() if tensor.requires_grad} == {torch.float32}
    assert model(*stream([9, 14])).dtype == torch.bfloat16
    merge(random_model().to(torch.bfloat16), collect(model))


@pytest.mark.parametrize("order", ["adapters first", "recompute first"])
def test_recomputed_layers_give_adapters_the_same_gradients_behind_a_frozen_embedding(
    order: str, random_model: Make, stream: Callable
) -> None:
    """The trap: a checkpoint whose input needs no gradient can cut the graph, and nothing is learned."""
    tokens, segments = stream([9, 40, 14])
    usual, cheap = random_model(), random_model()
    if order == "recompute first":
        recompute(cheap)
    for model in (usual, cheap):
        torch.manual_seed(0)
        add_lora(model, LoraSettings(rank=4))
        randomise(model)
    if order == "adapters first":
        recompute(cheap)
    assert not any(tensor.requires_grad for tensor in cheap.embedding.parameters())
    expected = gradients(usual, loss_of(usual, tokens, segments))
    found = gradients(cheap, loss_of(cheap, tokens, segments))
    assert found.keys() == expected.keys() and len(found) == 2 * 6 * 3
    for name, gradient in found.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(gradient, expected[name], atol=1e-7, rtol=1e-5)  # sums in another order
    require_gradients(cheap, loss_of(cheap, tokens, segments))


def test_dropout_is_drawn_again_alike_when_layers_are_recomputed(
    random_model: Make, stream: Callable
) -> None:
    tokens, segments = stream([9, 40])
    found = []
    for change in (lambda model: model, recompute):
        model = change(random_model())
        add_lora(model, LoraSettings(dropout=0.3))
        randomise(model)
        model.train()
        torch.manual_seed(3)
        found.append(gradients(model, loss_of(model, tokens, segments)))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-7, rtol=1e-5)


def test_a_fresh_adapter_passes_the_probe_and_leaves_no_gradients(
    random_model: Make, stream: Callable
) -> None:
    """B is zero, so A's gradient is: it must be there all the same."""
    model = random_model()
    add_lora(model, LoraSettings())
    require_gradients(model, loss_of(model, *stream([9, 40])))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_probe_names_tensors_without_gradient(random_model: Make, stream: Callable) -> None:
    model = random_model()
    add_lora(model, LoraSettings(targets=("q", "v")))
    tokens, segments = stream([9, 40])
    with pytest.raises(ChaperoninError, match=r"12 of 12 trainable tensors get no gradient: layers\.0"):
        require_gradients(model, loss_of(model, tokens, segments).detach())
    model.layers[1].attention.project.query.forward = lambda x: x.detach() @ torch.eye(32)
    with pytest.raises(
        ChaperoninError, match=r"2 of 12 .* layers\.1\.attention\.project\.query\.lora_A"
    ) as caught:
        require_gradients(model, loss_of(model, tokens, segments))
    assert "value" not in str(caught.value)
    plain = random_model()
    with pytest.raises(ChaperoninError, match="every gradient is zero"):
        require_gradients(plain, 0 * sum(tensor.sum() for tensor in plain.parameters()))
    with pytest.raises(ChaperoninError, match="no tensor of the model is trainable"):
        require_gradients(random_model().requires_grad_(False), torch.ones(()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LoraSettings(targets=("q", "query")), "no role 'query'. Roles are q, k, v, out, ffn, experts, router, head"),
        (LoraSettings(targets=("head",)), "would train the head alone"),
        (LoraSettings(targets=()), "would train the head alone"),
        (LoraSettings(rank=0), "rank 0"),
        (LoraSettings(alpha=0), "alpha 0"),
        (LoraSettings(alpha=float("nan")), "alpha nan"),
        (LoraSettings(dropout=1.0), "dropout 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings: LoraSettings, message: str, random_model: Make
) -> None:
    model = random_model()
    with pytest.raises(UsageError, match=message):
        add_lora(model, settings)
    assert not any("lora" in name for name, _ in model.named_modules())


@pytest.mark.skipif(bool(onednn.lacks()), reason=f"no oneDNN here: {onednn.lacks()}")
def test_a_role_that_matches_no_layer_is_refused(random_model: Make) -> None:
    with pytest.raises(UsageError, match="role 'q' matches no linear layer"):
        add_lora(pack_linears(random_model()), LoraSettings())


def test_adapters_are_not_put_on_adapters(random_model: Make) -> None:
    model = random_model()
    add_lora(model, LoraSettings())
    with pytest.raises(UsageError, match="adapters already"):
        add_lora(model, LoraSettings())
    with pytest.raises(UsageError, match="has no adapter"):
        collect(random_model())


def test_an_adapter_of_another_model_changes_nothing(
    random_model: Make, random_adapter: Callable[..., Adapter]
) -> None:
    wider = random_model(ESMConfig(width=32, depth=3, heads=4, inner_width=64))
    deeper = random_model(ESMConfig(width=32, depth=4, heads=4, inner_width=96))
    for other, message in ((wider, "32 → 64"), (deeper, r"layers\.3\..* NoneType")):
        model = random_model()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(WeightsError, match=message):
            merge(model, random_adapter(other, 1))
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
