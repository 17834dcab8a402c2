"""Our ESM is the published one: same numbers, however the sequences are batched."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import EsmConfig, EsmForMaskedLM
from transformers.initialization import no_init_weights

from chaperonin.kernels.segments import Segments
from chaperonin.layers.padding import run_padded
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT, config_from_huggingface
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.weights.pretrained import assemble

# name: width, depth to test, heads. True widths; all layers where that is quick.
SHAPES = {
    "esm2_t6_8M": (320, 6, 20),
    "esm2_t12_35M": (480, 12, 20),
    "esm2_t30_150M": (640, 2, 20),
    "esm2_t33_650M": (1280, 2, 20),
    "esm2_t36_3B": (2560, 2, 40),
    "esm2_t48_15B": (5120, 2, 40),
    "esm1b_t33_650M": (1280, 2, 20),
}
GPU = 1e-4
"""Absolute, fp32 without TF32: sums come in another order."""
LOGITS, EMBEDDING, CONTACT, PACKING = (
    1e-4,
    1e-5,
    1e-5,
    1e-5,
)  # absolute, fp32: the project's stated equalities


def published(width: int, depth: int, heads: int, learned: bool = False) -> EsmForMaskedLM:
    """The transformers model with every tensor random, also those that start at zero or one."""
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=4 * width,
        position_embedding_type="absolute" if learned else "rotary", max_position_embeddings=1026,
        emb_layer_norm_before=learned, token_dropout=True, layer_norm_eps=1e-5, attn_implementation="eager",
    )  # fmt: skip
    with no_init_weights():
        model = EsmForMaskedLM(config).eval()
    model.tie_weights()
    # A prime number of normals, repeated: as good as fresh ones here, and quick at fifteen billion's width.
    pool = torch.randn(999_983, generator=torch.Generator().manual_seed(width + depth))
    for name, parameter in model.named_parameters():
        norm = parameter.ndim == 1 and name.endswith("weight")
        values = 1 + 0.1 * pool if norm else pool * (0.5 * parameter.shape[-1] ** -0.5)
        repeated = values.repeat(-(-parameter.numel() // len(pool)))
        parameter.data = repeated[: parameter.numel()].view(parameter.shape)
    return model


def ours(model: EsmForMaskedLM) -> ESM:
    """The same weights in our model."""
    config = config_from_huggingface(model.config.to_dict(), "test")
    built = assemble(LAYOUT, config, model.state_dict(), "huggingface", "test").eval()
    assert isinstance(built, ESM)
    return built


def random_tokens(length: int, masks: int = 0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + length)
    tokens = torch.randint(4, 31, (length + 2,), generator=generator)
    tokens[torch.randperm(length, generator=generator)[:masks] + 1] = ESM_ALPHABET.mask
    tokens[0], tokens[-1] = ESM_ALPHABET.cls, ESM_ALPHABET.eos
    return tokens


def run(model: ESM, sequences: list[torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.cat(sequences), Segments([len(tokens) for tokens in sequences]))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "esm2_t48_15B" else name for name in SHAPES],
)
def test_every_published_shape_equals_transformers(name: str) -> None:
    reference = published(*SHAPES[name], learned="esm1b" in name)
    model = ours(reference)
    longest = 90 if model.config.width < 2000 else 20  # the widest take seconds for each token
    sequences = [random_tokens(17, masks=5), random_tokens(1), random_tokens(longest)]
    theirs: list[torch.Tensor] = []
    reference.lm_head.register_forward_pre_hook(lambda _, inputs: theirs.append(inputs[0][0]))
    with torch.inference_mode():
        hidden = run(model, sequences)
        logits = [reference(tokens[None]).logits[0] for tokens in sequences]
        torch.testing.assert_close(hidden, torch.cat(theirs), atol=EMBEDDING, rtol=0)
        torch.testing.assert_close(model.lm_head(hidden), torch.cat(logits), atol=LOGITS, rtol=0)
        maps = model.contacts(torch.cat(sequences), Segments([len(tokens) for tokens in sequences]))
        for tokens, contacts in zip(sequences, maps, strict=True):
            map_of_one = reference.predict_contacts(tokens[None], torch.ones_like(tokens[None]))[0]
            torch.testing.assert_close(contacts, map_of_one, atol=CONTACT, rtol=0)


@pytest.fixture(scope="module", params=["rotary", "learned"])
def small(request: pytest.FixtureRequest) -> tuple[EsmForMaskedLM, ESM]:
    reference = published(32, 3, 4, learned=request.param == "learned")
    return reference, ours(reference)


def mixed(model: ESM, lengths: list[int], seed: int) -> list[torch.Tensor]:
    """Sequences of these lengths, as far as the model has positions, a seventh of each masked."""
    longest = 1022 if model.config.positions == "learned" else 2000
    cut = [min(length, longest) for length in lengths]
    return [random_tokens(length, masks=length // 7, seed=seed) for length in cut]


@given(lengths=st.lists(st.integers(1, 2000), min_size=1, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_packed_equals_single(small: tuple[EsmForMaskedLM, ESM], lengths: list[int], seed: int) -> None:
    _, model = small
    sequences = mixed(model, lengths, seed)
    together, alone = run(model, sequences), torch.cat([run(model, [tokens]) for tokens in sequences])
    torch.testing.assert_close(together, alone, atol=PACKING, rtol=0)
    with torch.inference_mode():
        torch.testing.assert_close(model.lm_head(together), model.lm_head(alone), atol=PACKING, rtol=0)


@given(lengths=st.lists(st.integers(1, 2000), min_size=2, max_size=3), seed=st.integers(0, 99))
@settings(max_examples=6, deadline=None)
def test_contacts_of_packed_equal_those_of_single(
    small: tuple[EsmForMaskedLM, ESM], lengths: list[int], seed: int
) -> None:
    _, model = small
    sequences = mixed(model, lengths, seed)
    with torch.inference_mode():
        together = model.contacts(torch.cat(sequences), Segments([len(tokens) for tokens in sequences]))
        for tokens, contacts in zip(sequences, together, strict=True):
            (alone,) = model.contacts(tokens, Segments([len(tokens)]))
            torch.testing.assert_close(contacts, alone, atol=CONTACT, rtol=0)


@given(lengths=st.lists(st.integers(1, 2000), min_size=2, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_packed_equals_padded(small: tuple[EsmForMaskedLM, ESM], lengths: list[int], seed: int) -> None:
    reference, model = small
    sequences = mixed(model, lengths, seed)
    padded = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=ESM_ALPHABET.pad)
    mask = padded != ESM_ALPHABET.pad
    with torch.inference_mode():
        theirs = reference.esm(padded, attention_mask=mask.long()).last_hidden_state[mask]
        mine = run_padded(model, padded, mask)
    torch.testing.assert_close(run(model, sequences), theirs, atol=PACKING, rtol=0)
    torch.testing.assert_close(mine[mask], theirs, atol=PACKING, rtol=0)
    assert not mine[~mask].any()
    with torch.inference_mode():
        torch.testing.assert_close(model.lm_head(mine[mask]), reference.lm_head(theirs), atol=LOGITS, rtol=0)


def test_stored_rotary_frequencies_are_used_when_a_checkpoint_has_them() -> None:
    reference = published(32, 2, 4)
    rounded = reference.esm.rotary_embeddings.inv_freq.half().float() * 1.01
    reference.esm.rotary_embeddings.inv_freq.copy_(rounded)
    tokens = random_tokens(60)
    with torch.inference_mode():
        theirs = reference.esm(tokens[None]).last_hidden_state[0]
    torch.testing.assert_close(run(ours(reference), [tokens]), theirs, atol=EMBEDDING, rtol=0)


def test_too_long_for_learned_positions_is_refused_before_the_device_is() -> None:
    model = ESM(ESMConfig(width=16, depth=1, heads=2, inner_width=32, positions="learned")).eval()
    run(model, [random_tokens(1022)])
    with pytest.raises(ValueError, match="1025 tokens"):
        run(model, [random_tokens(1023)])


def test_every_parameter_but_the_frequencies_gets_a_gradient() -> None:
    model = ESM(ESMConfig(width=32, depth=2, heads=4, inner_width=64))
    tokens, segments = torch.cat([random_tokens(9), random_tokens(12)]), Segments([11, 14])
    loss = model.lm_head(model(tokens, segments)).square().sum()
    loss = loss + sum(contacts.sum() for contacts in model.contacts(tokens, segments))
    loss.backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {"rotary_frequencies"}


@pytest.mark.gpu
def test_a_gpu_gives_the_numbers_of_the_cpu(small: tuple[EsmForMaskedLM, ESM]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    _, model = small
    sequences = mixed(model, [500, 1, 700], seed=0)
    stream, segments = torch.cat(sequences), Segments([len(tokens) for tokens in sequences])
    there = deepcopy(model).cuda()
    with torch.inference_mode():
        here, hidden = model(stream, segments), there(stream.cuda(), segments)
        torch.testing.assert_close(hidden.cpu(), here, atol=GPU, rtol=0)
        torch.testing.assert_close(there.lm_head(hidden).cpu(), model.lm_head(here), atol=GPU, rtol=0)
        maps = zip(there.contacts(stream.cuda(), segments), model.contacts(stream, segments), strict=True)
        for on_gpu, on_cpu in maps:
            torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=GPU, rtol=0)
