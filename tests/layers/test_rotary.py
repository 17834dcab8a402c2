import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.layers.rotary import inverse_frequencies, rotate, rotation

HEAD_DIM = 16


def turned(x: torch.Tensor, position: int) -> torch.Tensor:
    cosine, sine = rotation(torch.tensor([position]), inverse_frequencies(HEAD_DIM), x.dtype)
    return rotate(x, cosine, sine)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 500))
@settings(max_examples=30, deadline=None)
def test_scores_depend_on_the_distance_only(first: int, second: int, shift: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 2, HEAD_DIM, generator=generator) for _ in range(2))
    near = (turned(query, first) * turned(key, second)).sum(-1)
    far = (turned(query, first + shift) * turned(key, second + shift)).sum(-1)
    # fp32 angles of some thousand radians keep four digits.
    torch.testing.assert_close(near, far, atol=5e-3, rtol=0)


def test_turning_is_a_complex_product_of_channel_pairs() -> None:
    x = torch.randn(1, 3, HEAD_DIM, generator=torch.Generator().manual_seed(0))
    pairs = torch.complex(*x.chunk(2, dim=-1))
    expected = pairs * torch.polar(torch.ones(HEAD_DIM // 2), 7 * inverse_frequencies(HEAD_DIM))
    torch.testing.assert_close(turned(x, 7), torch.cat((expected.real, expected.imag), dim=-1))


def test_the_first_position_is_not_turned() -> None:
    x = torch.randn(1, 3, HEAD_DIM)
    assert torch.equal(turned(x, 0), x)
