import pytest
import torch

from chaperonin.adapt import cast, prepare
from chaperonin.errors import UnavailableError
from chaperonin.kernels import hardware
from chaperonin.kernels.linear import int8_native
from chaperonin.kernels.segments import Segments
from chaperonin.layers.rotary import inverse_frequencies
from chaperonin.models.esm.model import ESM, ESMConfig

CPU = torch.device("cpu")


@pytest.fixture
def model() -> ESM:
    torch.manual_seed(0)
    model = ESM(ESMConfig(width=32, depth=2, heads=2, inner_width=64))
    model.initialise()
    return model


@pytest.fixture
def old_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "processor", lambda: ("Old Processor", ("sse4_2",)))
    monkeypatch.setattr(int8_native, "lacks", lambda: "compiled 8-bit products need AVX2")


@pytest.fixture
def new_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "processor", lambda: ("New Processor", ("avx512_vnni", "avx512_bf16")))


def test_auto_on_a_cpu_is_fp32_with_equal_results(model: ESM) -> None:
    tokens, segments = torch.randint(4, 24, (12,)), Segments([5, 7])
    with torch.inference_mode():
        plain = model(tokens, segments)
        prepared, chosen = prepare(model, "auto", CPU)
        assert chosen == "fp32" and not prepared.training
        torch.testing.assert_close(prepared(tokens, segments), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_precision_that_the_processor_lacks_is_refused_with_its_name(
    model: ESM, precision: str, old_processor: None
) -> None:
    with pytest.raises(UnavailableError, match="'Old Processor' has no"):
        prepare(model, precision, CPU)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_int8_is_refused_away_from_the_cpu(model: ESM) -> None:
    with pytest.raises(UnavailableError, match="int8 runs on CPUs"):
        prepare(model, "int8", torch.device("cuda"))


def test_half_precision_checkpoints_run_in_fp32(model: ESM) -> None:
    prepared, chosen = prepare(model.to(torch.float16), "fp32", CPU)
    assert chosen == "fp32"
    # The frequencies stay as they were stored: the published model is the one with the rounded values.
    halves = {name for name, tensor in prepared.named_parameters() if tensor.dtype != torch.float32}
    assert halves == {"rotary_frequencies"}


def test_cast_keeps_the_digits_of_the_rotary_frequencies(model: ESM, new_processor: None) -> None:
    cast(model, "bf16")
    assert torch.equal(model.rotary_frequencies, inverse_frequencies(16))
    others = {tensor.dtype for name, tensor in model.named_parameters() if name != "rotary_frequencies"}
    assert others == {torch.bfloat16}


def test_cast_keeps_every_parameter_itself(model: ESM, new_processor: None) -> None:
    """An optimizer that was made before still owns them."""
    before = [id(parameter) for parameter in model.parameters()]
    assert [id(parameter) for parameter in cast(model, "bf16").parameters()] == before


def test_bf16_is_refused_where_it_would_be_emulated(model: ESM, old_processor: None) -> None:
    with pytest.raises(UnavailableError, match="bf16 is not native on cpu"):
        cast(model, "bf16")


@pytest.mark.gpu
def test_auto_on_a_new_gpu_is_bf16_close_to_fp32(model: ESM) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tokens, segments = torch.randint(4, 24, (1200,)), Segments([500, 700])
    with torch.inference_mode():
        plain = model(tokens, segments)
        prepared, chosen = prepare(model, "auto", torch.device("cuda"))
        result = prepared(tokens.cuda(), segments).float().cpu()
    assert chosen == "bf16"
    assert torch.cosine_similarity(result, plain, dim=-1).min() > 0.999
