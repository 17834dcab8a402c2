"""Models made ready to infer give the plain model's results, to the digits that their precision keeps."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chaperonin.adapt import pack_linears, quantize_int8
from chaperonin.adapt.inference import InferenceFeedForward
from chaperonin.errors import UnavailableError, UsageError
from chaperonin.kernels.hardware import lacks_bf16
from chaperonin.kernels.linear import lacks_int8, linear, onednn, prepare_int8
from chaperonin.kernels.segments import Segments
from chaperonin.layers.linear import Linear
from chaperonin.models.esm.model import ESM, ESMConfig

CPU = torch.device("cpu")
SHAPES = [
    pytest.param(ESMConfig(width=64, depth=2, heads=4, inner_width=256), id="ESM-2"),
    pytest.param(ESMConfig(width=60, depth=2, heads=5, inner_width=100), id="odd"),
    pytest.param(
        ESMConfig(width=48, depth=2, heads=4, inner_width=192, positions="learned", norm_embedding=True),
        id="ESM-1b",
    ),
    pytest.param(ESMConfig(width=21, depth=1, heads=3, inner_width=30, positions="learned"), id="odd head"),
]


def random_model(config: ESMConfig) -> ESM:
    """Random everywhere, also where a fresh model would be zero; weights large enough for uneven attention."""
    model = ESM(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.requires_grad_(False)


def stream(lengths: list[int]) -> tuple[Tensor, Segments]:
    segments = Segments(lengths)
    generator = torch.Generator().manual_seed(segments.total)
    return torch.randint(4, 24, (segments.total,), generator=generator), segments


def in_bf16(model: ESM) -> ESM:
    return pack_linears(model, torch.bfloat16)


def cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.cosine_similarity(first, second, dim=-1).min())


@pytest.fixture(autouse=True)
def without_gradient():
    with torch.inference_mode():
        yield


@pytest.mark.skipif(bool(onednn.lacks()), reason=f"no oneDNN here: {onednn.lacks()}")
class TestPacked:
    @pytest.mark.parametrize("config", SHAPES)
    def test_packed_weights_change_no_result(self, config: ESMConfig) -> None:
        model = random_model(config)
        packed = pack_linears(copy.deepcopy(model))
        tokens, segments = stream([9, 40, 40, 2, 300])
        plain = model(tokens, segments)
        torch.testing.assert_close(packed(tokens, segments), plain, atol=2e-5, rtol=0)
        torch.testing.assert_close(packed.lm_head(plain), model.lm_head(plain), atol=0, rtol=0)
        for ours, theirs in zip(
            packed.contacts(tokens, segments), model.contacts(tokens, segments), strict=True
        ):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)

    @given(lengths=st.lists(st.integers(2, 200), min_size=1, max_size=6))
    @settings(max_examples=15, deadline=None)
    def test_packed_weights_keep_segments_apart(self, lengths: list[int]) -> None:
        packed = pack_linears(random_model(SHAPES[0].values[0]))
        tokens, segments = stream(lengths)
        together = packed(tokens, segments)
        for start, length in zip(segments.starts, segments.lengths, strict=True):
            own = slice(start, start + length)
            torch.testing.assert_close(
                packed(tokens[own], Segments([length])), together[own], atol=1e-5, rtol=0
            )

    def test_more_rows_than_a_block_change_no_result(self) -> None:
        model = random_model(SHAPES[0].values[0])
        packed = pack_linears(copy.deepcopy(model))
        tokens, segments = stream([1030, 1022])
        torch.testing.assert_close(packed(tokens, segments), model(tokens, segments), atol=2e-5, rtol=0)

    def test_the_plain_model_beside_it_is_not_touched(self) -> None:
        model = random_model(SHAPES[0].values[0])
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        tokens, segments = stream([5, 6])
        pack_linears(copy.deepcopy(model))(tokens, segments)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    def test_no_encoder_weight_is_kept_twice(self) -> None:
        packed = pack_linears(random_model(SHAPES[0].values[0]))
        assert not any(isinstance(module, Linear) for module in packed.modules())
        assert isinstance(packed.layers[0].feed_forward, InferenceFeedForward)
        left = {name.split(".")[0] for name, _ in packed.named_parameters() if "norm" not in name}
        assert left == {"embedding", "masked_language", "contact", "rotary_frequencies"}

    def test_a_prepared_model_refuses_gradients(self) -> None:
        with torch.inference_mode(False):
            packed = pack_linears(random_model(SHAPES[0].values[0]))
            packed.embedding.word.weight.requires_grad_()
            with pytest.raises(UnavailableError, match="inference_mode"):
                packed(*stream([5, 6]))

    def test_weights_in_half_precision_are_refused(self) -> None:
        with pytest.raises(UsageError, match="bfloat16"):
            pack_linears(random_model(SHAPES[0].values[0]).to(torch.bfloat16))

    def test_wrapped_layers_are_refused(self) -> None:
        model = random_model(SHAPES[0].values[0])
        model.layers[1].attention.project.value = nn.Sequential(model.layers[1].attention.project.value)
        with pytest.raises(UsageError, match="Merge adapters"):
            pack_linears(model)


@pytest.mark.skipif(bool(lacks_bf16(CPU)), reason=f"no bf16 here: {lacks_bf16(CPU)}")
@pytest.mark.parametrize("config", SHAPES)
def test_bf16_products_keep_three_nines_of_the_cosine(config: ESMConfig) -> None:
    model = random_model(config)
    tokens, segments = stream([9, 40, 40, 2, 300])
    plain = model(tokens, segments)
    rounded = in_bf16(copy.deepcopy(model))(tokens, segments)
    assert rounded.dtype == torch.float32
    assert cosine(rounded, plain) > 0.999


@pytest.mark.skipif(bool(lacks_int8()), reason=f"no int8 here: {lacks_int8()}")
class TestInt8:
    @pytest.mark.parametrize("config", SHAPES)
    def test_eight_bits_keep_two_nines_of_the_cosine(self, config: ESMConfig) -> None:
        model = random_model(config)
        tokens, segments = stream([9, 40, 40, 2, 300])
        plain = model(tokens, segments)
        assert cosine(quantize_int8(copy.deepcopy(model))(tokens, segments), plain) > 0.99

    def test_the_heads_are_not_rounded(self) -> None:
        model = random_model(SHAPES[0].values[0])
        quantized = quantize_int8(copy.deepcopy(model))
        hidden = model(*stream([30]))
        assert torch.equal(quantized.lm_head(hidden), model.lm_head(hidden))

    def test_a_channel_that_is_much_larger_than_the_others_costs_one_row_no_precision(self) -> None:
        """Trained models have such channels; each output row of a weight has its own scale."""
        weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
        weight[3] *= 1000
        x = torch.randn(50, 64, generator=torch.Generator().manual_seed(1))
        product = linear(x, prepare_int8(weight))
        expected = x @ weight.T
        error = (product - expected).abs().mean(0) / expected.abs().mean(0)
        assert error.max() < 0.015


PRECISIONS: list[Callable[[ESM], ESM]] = [pack_linears, in_bf16, quantize_int8]


@pytest.mark.parametrize("change", PRECISIONS)
def test_a_model_is_prepared_once(change: Callable[[ESM], ESM]) -> None:
    """The second call finds nothing left to lay out and changes nothing."""
    if (
        (change is in_bf16 and lacks_bf16(CPU))
        or (change is quantize_int8 and lacks_int8())
        or onednn.lacks()
    ):
        pytest.skip("this processor lacks it")
    model = change(random_model(SHAPES[0].values[0]))
    tokens, segments = stream([12, 3])
    before = model(tokens, segments)
    assert torch.equal(pack_linears(model)(tokens, segments), before)
