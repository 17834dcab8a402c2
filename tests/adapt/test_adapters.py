"""Adapters served together give each sequence what its own merged model would."""

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from chaperonin.adapt import pack_linears, quantize_int8
from chaperonin.adapt.adapters import AdapterBank
from chaperonin.adapt.lora import Adapter, merge
from chaperonin.errors import UsageError, WeightsError
from chaperonin.kernels.hardware import lacks_bf16
from chaperonin.kernels.linear import lacks_int8, onednn
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig

SHAPES = [
    pytest.param(ESMConfig(width=32, depth=2, heads=4, inner_width=96), id="ESM-2"),
    pytest.param(
        ESMConfig(width=48, depth=2, heads=4, inner_width=100, positions="learned", norm_embedding=True),
        id="ESM-1b",
    ),
    pytest.param(ESMConfig(width=21, depth=1, heads=3, inner_width=30, positions="learned"), id="odd head"),
]
PLAIN = "plain"
PACKED = pytest.param(
    "packed", marks=pytest.mark.skipif(bool(onednn.lacks()), reason=f"no oneDNN: {onednn.lacks()}")
)
BF16 = pytest.param(
    "bf16",
    marks=pytest.mark.skipif(
        bool(lacks_bf16(torch.device("cpu"))), reason=f"no bf16: {lacks_bf16(torch.device('cpu'))}"
    ),
)
INT8 = pytest.param("int8", marks=pytest.mark.skipif(bool(lacks_int8()), reason=f"no int8: {lacks_int8()}"))
PREPARE: dict[str, Callable[[ESM], ESM]] = {
    "plain": lambda model: model,
    "packed": pack_linears,
    "bf16": lambda model: pack_linears(model, torch.bfloat16),
    "int8": quantize_int8,
}
MIXED = ["a", None, "b", "c", "a", None, "b", "b"]
LENGTHS = [9, 40, 40, 3, 700, 12, 25, 61]

Make = Callable[..., ESM]


@pytest.fixture(autouse=True)
def without_gradient():
    with torch.inference_mode():
        yield


def three(plain: ESM, random_adapter: Callable[..., Adapter]) -> dict[str, Adapter]:
    """Everywhere; query and one layer of the feed-forward; key, value and output at another rank and scale."""
    return {
        "a": random_adapter(plain, 1),
        "b": random_adapter(plain, 2, ("query", "up"), rank=2),
        "c": random_adapter(plain, 3, ("key", "value", "out", "down"), rank=5, root=True),
    }


def bank_of(model: ESM, adapters: dict[str, Adapter]) -> AdapterBank:
    bank = AdapterBank(model)
    for name, adapter in adapters.items():
        bank.add(name, adapter)
    return bank


def alone(plain: ESM, adapter: Adapter | None, tokens: Tensor) -> Tensor:
    """What the plain model with the adapter merged gives for one sequence."""
    model = copy.deepcopy(plain)
    if adapter is not None:
        merge(model, adapter)
    return model(tokens, Segments([len(tokens)]))


def slices(segments: Segments) -> list[slice]:
    return [slice(start, start + n) for start, n in zip(segments.starts, segments.lengths, strict=True)]


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("kind", [PLAIN, PACKED])
def test_a_mixed_batch_equals_each_sequence_through_its_merged_model(
    config: ESMConfig, kind: str, random_model: Make, random_adapter: Callable[..., Adapter], stream: Callable
) -> None:
    plain = random_model(config)
    adapters = three(plain, random_adapter)
    model = PREPARE[kind](copy.deepcopy(plain))
    tokens, segments = stream(LENGTHS)
    with bank_of(model, adapters).select(MIXED, segments):
        mixed = model(tokens, segments)
    for name, own in zip(MIXED, slices(segments), strict=True):
        expected = alone(plain, adapters.get(name or ""), tokens[own])
        torch.testing.assert_close(mixed[own], expected, atol=2e-5, rtol=1e-5)


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_equals_its_parts(
    data: st.DataObject, random_model: Make, random_adapter: Callable[..., Adapter], stream: Callable
) -> None:
    plain = random_model(SHAPES[0].values[0])
    adapters = three(plain, random_adapter)
    kind = data.draw(st.sampled_from(["plain"] if onednn.lacks() else ["plain", "packed"]))
    names = data.draw(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=7))
    lengths = data.draw(st.lists(st.integers(2, 300), min_size=len(names), max_size=len(names)))
    model = PREPARE[kind](copy.deepcopy(plain))
    tokens, segments = stream(lengths)
    with bank_of(model, adapters).select(names, segments):
        mixed = model(tokens, segments)
    for name, own in zip(names, slices(segments), strict=True):
        expected = alone(plain, adapters.get(name or ""), tokens[own])
        torch.testing.assert_close(mixed[own], expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "nines"),
    [pytest.param(*BF16.values, 0.999, marks=BF16.marks), pytest.param(*INT8.values, 0.99, marks=INT8.marks)],
)
def test_rounded_bases_carry_adapters_in_full_precision(
    kind: str, nines: float, random_model: Make, random_adapter: Callable[..., Adapter], stream: Callable
) -> None:
    """Close to the merged fp32 model, and every sequence exactly as in a batch of its own adapter alone."""
    plain = random_model()
    adapters = three(plain, random_adapter)
    model = PREPARE[kind](copy.deepcopy(plain))
    tokens, segments = stream(LENGTHS)
    bank = bank_of(model, adapters)
    with bank.select(MIXED, segments):
        mixed = model(tokens, segments)
    for name, own in zip(MIXED, slices(segments), strict=True):
        expected = alone(plain, adapters.get(name or ""), tokens[own])
        assert torch.cosine_similarity(mixed[own], expected, dim=-1).min() > nines
        one = Segments([own.stop - own.start])
        with bank.select([name], one):
            torch.testing.assert_close(mixed[own], model(tokens[own], one), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("kind", [PLAIN, PACKED, BF16, INT8])
def test_sequences_without_an_adapter_get_the_base_to_the_bit(
    kind: str, random_model: Make, random_adapter: Callable[..., Adapter], stream: Callable
) -> None:
    plain = random_model()
    model = PREPARE[kind](copy.deepcopy(plain))
    bank = bank_of(model, three(plain, random_adapter))
    tokens, segments = stream([30, 30, 30])
    before = model(tokens, segments)
    with bank.select([None] * 3, segments):
        assert torch.equal(model(tokens, segments), before)
    with bank.select(["a", None, "b"], segments):
        mixed = model(tokens, segments)
    # Products of fewer rows may be summed in another order: fp32 keeps all but the last digits.
    torch.testing.assert_close(mixed[30:60], before[30:60], atol=1e-5 if kind != "bf16" else 0.02, rtol=1e-5)
    assert not torch.allclose(mixed[:30], before[:30], atol=0.1)
    assert torch.equal(model(tokens, segments), before)


@pytest.mark.parametrize("kind", [PLAIN, PACKED])
def test_contact_maps_and_logits_are_the_adapters_own(
    kind: str, random_model: Make, random_adapter: Callable[..., Adapter], stream: Callable
) -> None:
    plain = random_model()
    adapters = three(plain, random_adapter)
    model = PREPARE[kind](copy.deepcopy(plain))
    tokens, segments = stream([20, 33])
    with bank_of(model, adapters).select(["a", "c"], segments):
        maps = model.contacts(tokens, segments)
    for name, own, found in zip("ac", slices(segments), maps, strict=True):
        merged = copy.deepcopy(plain)
        merge(merged, adapters[name])
        expected = merged.contacts(tokens[own], Segments([own.stop - own.start]))[0]
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


def test_nothing_of_the_model_is_changed_or_wrapped_outside_a_selection(
    random_model: Make, random_adapter: Callable[..., Adapter], stream: Callable
) -> None:
    model = random_model()
    bank = bank_of(model, three(model, random_adapter))
    tokens, segments = stream([12, 8])
    modules = [(name, id(module)) for name, module in model.named_modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="in the block"), bank.select(["a", "b"], segments):
        model(tokens, segments)
        raise RuntimeError("in the block")
    with bank.select([None, None], segments):
        assert [(name, id(module)) for name, module in model.named_modules()] == modules
    assert [(name, id(module)) for name, module in model.named_modules()] == modules
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_adapters_come_and_go_while_a_batch_runs(
    random_model: Make, random_adapter: Callable[..., Adapter], stream: Callable
) -> None:
    model = random_model()
    adapters = three(model, random_adapter)
    bank = bank_of(model, {"a": adapters["a"]})
    tokens, segments = stream([12])
    with bank.select(["a"], segments):
        expected = model(tokens, segments)
        bank.remove("a")
        bank.add("b", adapters["b"])
        assert torch.equal(model(tokens, segments), expected)
    assert bank.names == ("b",)
    with pytest.raises(UsageError, match=r"no adapter 'a'\. There are: b"), bank.select(["a"], segments):
        pass


def test_a_removed_adapter_leaves_no_memory_behind(
    random_model: Make, random_adapter: Callable[..., Adapter], stream: Callable
) -> None:
    model = random_model()
    bank = bank_of(model, {"a": random_adapter(model, 1)})
    kept = [weakref.ref(addition.up) for place in bank._additions["a"].values() for addition in place]
    tokens, segments = stream([12])
    with bank.select(["a"], segments):
        model(tokens, segments)
    bank.remove("a")
    gc.collect()
    assert kept and not any(reference() is not None for reference in kept)


def test_what_does_not_fit_is_refused_by_name(
    random_model: Make, random_adapter: Callable[..., Adapter]
) -> None:
    model = random_model()
    bank = bank_of(model, {"a": random_adapter(model, 1)})
    with pytest.raises(UsageError, match="an adapter 'a' already"):
        bank.add("a", random_adapter(model, 1))
    with pytest.raises(UsageError, match="no adapter 'x'"):
        bank.remove("x")
    wider = random_model(ESMConfig(width=64, depth=3, heads=4, inner_width=96))
    with pytest.raises(WeightsError, match="is 32 → 32 channels, the adapter's 64 → 64"):
        bank.add("wider", random_adapter(wider, 1))
    deeper = random_model(ESMConfig(width=32, depth=4, heads=4, inner_width=96))
    with pytest.raises(WeightsError, match=r"no linear layer layers\.3\."):
        bank.add("deeper", random_adapter(deeper, 1))
    with (
        pytest.raises(UsageError, match="1 names of adapters for 2 sequences"),
        bank.select(["a"], Segments([3, 4])),
    ):
        pass
    assert bank.names == ("a",)
