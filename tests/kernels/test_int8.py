from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.errors import UnavailableError
from chaperonin.kernels import hardware
from chaperonin.kernels.grouped_matmul import int8_native as grouped
from chaperonin.kernels.grouped_matmul.gates import GATES, Gate, gated
from chaperonin.kernels.grouped_matmul.packed_cpu import PackedGroups
from chaperonin.kernels.linear import int8, int8_native, prepare_int8
from chaperonin.kernels.linear.rounding import RoundedWeight, quantize_rows, round_weight
from chaperonin.kernels.native import calls
from chaperonin.kernels.native.calls import share

Product = Callable[..., torch.Tensor]
BODIES = [
    pytest.param((own, rounded), id=own.NAME, marks=pytest.mark.skipif(bool(lack), reason=lack))
    for own, rounded, lack in (
        (int8, round_weight, int8.lacks()),
        (int8_native, int8_native.prepare, int8_native.lacks_compiled()),
    )
]
native = pytest.mark.skipif(bool(int8_native.lacks_compiled()), reason=int8_native.lacks_compiled())


@pytest.fixture(params=BODIES)
def product(request: pytest.FixtureRequest) -> Product:
    """Rows times a weight that is rounded for one of the bodies, without gradient."""
    body, _ = request.param

    def run(x, weight, bias=None, activation=None, residual=None):
        with torch.inference_mode():
            return body.linear(x, body.prepare(weight), bias, activation, residual)

    return run


def restored(x: torch.Tensor) -> torch.Tensor:
    levels, scale, low = quantize_rows(x)
    return levels.float() * scale + low


@given(st.integers(0, 10_000), st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
@settings(max_examples=50, deadline=None)
def test_a_row_is_restored_to_half_a_step(seed: int, centre: float, spread: float) -> None:
    x = centre + spread * torch.randn(4, 64, generator=torch.Generator().manual_seed(seed))
    width = x.amax(1) - x.amin(1)
    narrowest = x.abs().amax(1) / 4096  # rows that are almost constant keep four digits
    step = torch.maximum(width, narrowest) / 255
    assert ((restored(x) - x).abs().amax(1) <= 0.57 * step + 2e-7 * x.abs().amax(1)).all()


def test_every_level_is_used_and_the_ends_are_exact() -> None:
    x = torch.linspace(3.0, 5.0, 256)[None]
    levels, _, _ = quantize_rows(x)
    assert levels[0].tolist() == list(range(256))
    torch.testing.assert_close(restored(x), x)


@pytest.mark.parametrize("value", [0.0, 1e-38, -7.5, 3e30])
def test_a_constant_row_stays_what_it_is(value: float) -> None:
    x = torch.full((2, 16), value)
    torch.testing.assert_close(restored(x), x, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("product", BODIES)
def test_rows_on_one_side_of_zero_keep_their_precision(product) -> None:
    """What the asymmetric form is for: a shift costs nothing. Against the weight that the bytes stand for."""
    body, rounded = product
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 128, generator=generator)
    weight = torch.randn(32, 128, generator=generator)
    with torch.inference_mode():
        errors = [
            body.linear(x + shift, body.prepare(weight), None, None, None)
            - (x + shift) @ rounded(weight).plain().T
            for shift in (0, 10)
        ]
    assert errors[1].abs().mean() < 1.05 * errors[0].abs().mean()


@given(st.integers(0, 10_000), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_neighbours_of_a_paired_weight_are_128_together_at_most(seed: int, inputs: int) -> None:
    """And the step is the smallest for which this is sure."""
    weight = torch.randn(7, inputs, generator=torch.Generator().manual_seed(seed))
    rounded = round_weight(weight, paired=True)
    assert ((rounded.plain() - weight).abs() <= 0.5001 * rounded.scales[:, None]).all()
    filled = torch.nn.functional.pad(rounded.rounded.short().abs(), (0, inputs % 2))
    together = filled.reshape(7, -1, 2).sum(2).amax(1)
    assert (together <= 128).all() and (together >= 126).all()
    assert torch.equal(rounded.sums, rounded.rounded.sum(1, dtype=torch.int32))


def test_sharing_levels_costs_half_a_bit_of_the_weight() -> None:
    """What the guide says of normally distributed weights: 1.4 times the step, a fifth more error of a product."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(512, 1280, generator=generator) for _ in range(2))
    alone, paired = (round_weight(weight, paired=own) for own in (False, True))
    assert 1.35 < (paired.scales / alone.scales).mean() < 1.5
    errors = [(restored(x) @ own.plain().T - x @ weight.T).square().mean().sqrt() for own in (alone, paired)]
    assert 1.15 < errors[1] / errors[0] < 1.3


def test_rows_do_not_depend_on_their_neighbours(product: Product) -> None:
    """Blocks, and what else is in the batch, change no bit: the same sequence always gets the same numbers."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(700, 96, generator=generator), torch.randn(48, 96, generator=generator)
    whole = product(x, weight, torch.ones(48), "gelu")
    apart = torch.cat([product(part, weight, torch.ones(48), "gelu") for part in x.split(101)])
    assert torch.equal(whole, apart)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_are_not_hidden(product: Product, bad: float) -> None:
    x = torch.zeros(3, 16)
    x[1, 3] = bad
    result = product(x, torch.ones(4, 16))
    assert result[1].isnan().all() and (result[[0, 2]] == 0).all()


def test_a_processor_without_8_bit_dot_products_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "processor", lambda: ("Old Processor", ("avx2",)))
    with pytest.raises(UnavailableError, match="'Old Processor' has no 8-bit dot products"):
        int8.prepare(torch.ones(4, 16))
    monkeypatch.setattr(int8_native, "lacks", lambda: "no C++ compiler")
    with pytest.raises(UnavailableError, match=r"'Old Processor' has no .*; no C\+\+ compiler"):
        prepare_int8(torch.ones(4, 16))


@native
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 1, 1), (5, 33, 17), (7, 1024, 40), (1030, 31, 100), (600, 1280, 64)]
)
@pytest.mark.parametrize("paired", [True, False])
def test_compiled_products_are_exact(rows: int, inputs: int, outputs: int, paired: bool) -> None:
    """Of the levels that a row was rounded to, and these are the plain ones but for where a half is rounded."""
    generator = torch.Generator().manual_seed(rows)
    x, weight = (torch.randn(count, inputs, generator=generator) for count in (rows, outputs))
    levels = torch.empty(rows, inputs, dtype=torch.uint8)
    scales, lows = torch.empty(2, rows, 1)
    share("round_rows", rows, x, inputs, levels, inputs, scales, lows)
    expected, scale, low = quantize_rows(x)
    assert torch.equal(scales, scale) and torch.equal(lows, low)
    differ = (levels.short() - expected.short()).abs()
    assert differ.max() <= 1 and differ.float().mean() < 1e-3

    rounded = round_weight(weight, paired=paired)
    integers = levels.double() @ rounded.rounded.double().T
    exact = integers * rounded.scales.double() * scales.double() + lows * (rounded.sums * rounded.scales)
    bias, residual = (torch.randn(*shape, generator=generator) for shape in ((outputs,), (rows, outputs)))
    with torch.inference_mode():
        plain = int8_native.linear(x, rounded, None, None, None)
        whole = int8_native.linear(x, rounded, bias, "gelu", residual)
    # Sums of a few numbers in fp32 after a product that is exact.
    close = {"rtol": 1e-6, "atol": 1e-6 * float(exact.abs().max())}
    torch.testing.assert_close(plain.double(), exact, **close)
    finished = torch.nn.functional.gelu(exact + bias) + residual
    torch.testing.assert_close(whole.double(), finished, **close)


@native
@pytest.mark.parametrize("activation", ["gelu", "swiglu", "geglu"])
def test_activations_are_exact_to_rounding(activation: str) -> None:
    """Of numbers of every size: a product of nothing leaves the bias."""
    values = torch.cat(
        [torch.linspace(-12, 12, 4001), torch.tensor([0.0, -0.0, 1e-30, 1e5, -1e5, -90.0, 90.0])]
    )
    gates = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(0))]
    bias = values if activation == "gelu" else torch.cat([values, gates])
    zeros = round_weight(torch.zeros(len(bias), 16))
    found = torch.empty(2, len(values))
    own = (zeros.rounded, zeros.scales, zeros.sums)
    with torch.inference_mode():
        int8_native.write_product(found, torch.zeros(2, 16), *own, bias, None, activation)
    act = torch.nn.functional.silu if activation == "swiglu" else torch.nn.functional.gelu
    act_of = (values if activation == "gelu" else gates).double()
    factor = 1.0 if activation == "gelu" else values.double()
    error = (found[1].double() - factor * act(act_of)).abs()
    assert torch.equal(found[0], found[1])
    assert (
        error <= 3e-7 * torch.as_tensor(factor).abs().clamp_min(1e-30) * act_of.abs().clamp_min(1.0)
    ).all()


@native
@pytest.mark.parametrize("byte", [64, 65, 127, -64, -65, -127, -128])
def test_the_largest_numbers_do_not_overflow(byte: int) -> None:
    """Where 16 bits would: 255 · 127 twice, and 65,536 of them."""
    inputs = int8_native.MOST_INPUTS
    x = torch.ones(2, inputs)
    x[:, 0] = 0.0  # so that the others are level 255
    rounded = torch.full((3, inputs), byte, dtype=torch.int8)
    weight = RoundedWeight(rounded, torch.ones(3), rounded.sum(1, dtype=torch.int32))
    with torch.inference_mode():
        found = int8_native.linear(x, weight, None, None, None)
    torch.testing.assert_close(found, torch.full((2, 3), byte * (inputs - 1.0)), rtol=1e-6, atol=0)


def test_weights_that_the_compiled_product_cannot_read_are_not_its(monkeypatch: pytest.MonkeyPatch) -> None:
    """More inputs than 32 bits hold, numbers of another type, bytes that are elsewhere."""
    monkeypatch.setattr(int8_native, "lacks", lambda: "")
    monkeypatch.setattr(calls, "lacks", lambda: "")
    own = round_weight(torch.ones(3, 16))
    wide = round_weight(torch.ones(3, int8_native.MOST_INPUTS + 1))
    others = [wide, replace(own, scales=own.scales.bfloat16()), replace(own, sums=own.sums.long())]
    others.append(replace(own, rounded=own.rounded.to("meta")))
    with torch.inference_mode():
        fine, *bad = (
            int8_native.supports(torch.ones(2, one.rounded.shape[1]), one, None, None, None)
            for one in (own, *others)
        )
    assert fine and not any(bad)


@native
def test_a_shape_that_does_not_fit_is_refused() -> None:
    weight = round_weight(torch.ones(4, 16))
    for x, bias, residual in (
        (torch.ones(3, 8), None, None),
        (torch.ones(3, 16), torch.ones(3), None),
        (torch.ones(3, 16), None, torch.ones(3, 3)),
    ):
        with pytest.raises(ValueError, match="expected"), torch.inference_mode():
            int8_native.linear(x, weight, bias, None, residual)
    odd = round_weight(torch.ones(5, 16))
    with pytest.raises(ValueError, match="gated weight is"), torch.inference_mode():
        own = (odd.rounded, odd.scales, odd.sums)
        int8_native.write_product(torch.empty(3, 2), torch.ones(3, 16), *own, None, None, "swiglu")


@native
@pytest.mark.parametrize("gate", [None, *GATES])
@pytest.mark.parametrize("channels", [8, 21, 40])
def test_groups_of_bytes_equal_products_of_one_group_each(gate: Gate | None, channels: int) -> None:
    """A gate's second half begins in the middle of a panel where the channels are no multiple of one."""
    counts = torch.tensor([3, 0, 530, 1])
    generator = torch.Generator().manual_seed(channels)
    outputs = 2 * channels
    x, bias = torch.randn(534, 33, generator=generator), torch.randn(4, outputs, generator=generator)
    weights = [
        round_weight(torch.randn(outputs, 33, generator=generator), paired=expert > 1)
        for expert in range(len(counts))
    ]
    with torch.inference_mode():
        found = grouped.grouped_matmul(x, PackedGroups(tuple(weights)), bias, counts, gate)
        parts = zip(x.split(counts.tolist()), weights, bias, strict=True)
        expected = [gated(int8_native.linear(*own, None, None), gate) for own in parts]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-5, atol=2e-6 * float(found.abs().max()))


def test_where_bytes_are_multiplied_by_the_processor_nothing_is_compiled_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8_native, "_missing", {})
    monkeypatch.setattr(int8_native, "lacks_byte_products", lambda: "")
    assert int8_native.lacks() == "this processor multiplies bytes itself"
    own = round_weight(torch.ones(3, 16))
    with torch.inference_mode():
        assert not int8_native.supports(torch.ones(2, 16), own, None, None, None)
