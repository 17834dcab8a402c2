import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.errors import UnavailableError
from chaperonin.kernels import hardware
from chaperonin.kernels.linear import int8, linear
from chaperonin.kernels.linear.int8 import quantize_rows

pytestmark = pytest.mark.skipif(bool(int8.lacks()), reason=f"no int8 here: {int8.lacks()}")


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


def test_rows_on_one_side_of_zero_keep_their_precision() -> None:
    """What the asymmetric form is for: a shift costs nothing."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 128, generator=generator)
    weight = torch.randn(32, 128, generator=generator)
    prepared = int8.prepare(weight)
    with torch.inference_mode():
        errors = [
            (linear(x + shift, prepared) - (x + shift) @ int8_weight(weight).T).abs().mean()
            for shift in (0, 10)
        ]
    assert errors[1] < 1.05 * errors[0]


def int8_weight(weight: torch.Tensor) -> torch.Tensor:
    """The weight that 8 bits hold: what is left is the rounding of the rows."""
    scales = weight.abs().amax(dim=1, keepdim=True) / 127
    return (weight / scales).round() * scales


def test_rows_do_not_depend_on_their_neighbours() -> None:
    """Blocks, and what else is in the batch, change no bit: the same sequence always gets the same numbers."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(700, 96, generator=generator), torch.randn(48, 96, generator=generator)
    prepared = int8.prepare(weight)
    with torch.inference_mode():
        whole = linear(x, prepared, torch.ones(48), "gelu")
        apart = torch.cat([linear(part, prepared, torch.ones(48), "gelu") for part in x.split(101)])
    assert torch.equal(whole, apart)


def test_bad_numbers_are_not_hidden() -> None:
    x = torch.zeros(3, 16)
    x[1, 3] = float("nan")
    with torch.inference_mode():
        result = linear(x, int8.prepare(torch.ones(4, 16)))
    assert result[1].isnan().all() and (result[[0, 2]] == 0).all()


def test_a_processor_without_8_bit_dot_products_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "processor", lambda: ("Old Processor", ("avx2",)))
    with pytest.raises(UnavailableError, match="'Old Processor' has no 8-bit dot products"):
        int8.prepare(torch.ones(4, 16))
