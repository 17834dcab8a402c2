"""AIDO.Protein says what the published module says, of made-up parameters in the published layout.

The published module's logits lie in aido_reference/goldens.npz; make.py beside it says how they came about.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.aido_reference import made_up

from chaperonin.kernels.registry import use
from chaperonin.kernels.segments import Segments
from chaperonin.models import layout_of
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.models.aido.weights import HUGGING_FACE, LAYOUT
from chaperonin.protein.alphabet import AIDO_ALPHABET
from chaperonin.weights.pretrained import assemble

GOLDENS = Path(__file__).parent / "aido_reference" / "goldens.npz"
LOGITS_TOLERANCE = 1e-4
"""Of logits of some units, after up to 36 layers in fp32 whose sums have another order."""
MADE_UP = [
    pytest.param(case, marks=[pytest.mark.slow] if case == "true width" else [], id=case)
    for case in made_up.CASES
]


def published(config: dict) -> dict[str, torch.Tensor]:
    """Made-up parameters by the published names, which the rules write."""
    with torch.device("meta"):
        shapes = HUGGING_FACE.write(dict(AIDO(LAYOUT.read_config(config, "test")).named_parameters()))
    return {name: torch.from_numpy(made_up.parameter(name, tuple(own.shape))) for name, own in shapes.items()}


def model_of(config: dict) -> AIDO:
    model = assemble(LAYOUT, LAYOUT.read_config(config, "test"), published(config), "huggingface", "test")
    assert isinstance(model, AIDO)
    return model.eval()


def logits(model: AIDO) -> torch.Tensor:
    """Of every token, protein after protein, packed."""
    own = made_up.tokens()
    width = model.config.structure_width
    structure = torch.from_numpy(np.concatenate(made_up.structure(width))) if width else None
    places = None
    if model.config.positions == "rotary_2d":
        places = torch.from_numpy(np.concatenate(made_up.places()))
    stream = torch.from_numpy(np.concatenate(own))
    return model.lm_head(model(stream, Segments([len(tokens) for tokens in own]), places, structure))


@pytest.mark.parametrize("case", MADE_UP)
def test_logits_equal_the_published_ones(case: str) -> None:
    expected = torch.from_numpy(np.load(GOLDENS)[case])
    with torch.inference_mode():
        found = logits(model_of(made_up.config(case)))
    torch.testing.assert_close(found, expected, atol=LOGITS_TOLERANCE, rtol=0)


def test_tokens_equal_the_published_ones() -> None:
    goldens = np.load(GOLDENS)
    for sequence in made_up.SEQUENCES:
        chains = [AIDO_ALPHABET.encode(chain) for chain in sequence.split("|")]
        assert np.concatenate(chains).tolist() == goldens[f"tokens of {sequence}"].tolist(), sequence
    assert len(AIDO_ALPHABET) == 44


def test_configurations_survive_the_way_there_and_back() -> None:
    for case in made_up.CASES:
        config = LAYOUT.read_config(made_up.config(case), "test")
        assert LAYOUT.read_config(LAYOUT.write_config(config), "test") == config, case
    assert layout_of("fm4bio") is LAYOUT


def test_the_default_is_the_16b() -> None:
    with torch.device("meta"):
        model = AIDO(AIDOConfig())
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert round(sum(sizes.values()) / 1e6) == 16_059
    resting = sum(size * 6 // 8 for name, size in sizes.items() if ".experts." in name)
    assert round((sum(sizes.values()) - resting) / 1e6) == 4_589  # active for one token


def test_packed_equals_single() -> None:
    model = model_of(made_up.config("mixture, residual after the norm"))
    own = [torch.from_numpy(tokens) for tokens in made_up.tokens()]
    with torch.inference_mode():
        together = logits(model)
        apart = torch.cat([model.lm_head(model(tokens, Segments([len(tokens)]))) for tokens in own])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def test_gradients_equal_those_of_the_loop_over_experts() -> None:
    model = model_of(made_up.config("geglu")).train()
    found = gradients(model)
    with use(grouped_matmul="reference"):
        expected = gradients(model)
    assert all(gradient.any() for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name, atol=1e-5, rtol=1e-4)


def gradients(model: AIDO) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logits(model).square().mean().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_experts_without_a_token_get_no_gradient_and_change_nothing() -> None:
    config = AIDOConfig(width=16, depth=1, heads=2, inner_width=24, experts=6, experts_per_token=2)
    model = AIDO(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    router = model.layers[0].feed_forward.router
    norm = model.layers[0].feed_forward_norm
    with torch.no_grad():
        # Every token's normalised input has a large first channel, which only the first two experts look at.
        norm.weight.zero_()[0] = 1.0
        model.embedding.word.weight[:, 0] = 50.0
        router.weight.zero_()[:2, 0] = torch.tensor([2.0, 1.0])
    found = gradients(model)
    up = found["layers.0.feed_forward.experts.up.weight"]
    assert up[:2].any() and not up[2:].any()
    with use(grouped_matmul="reference"):
        torch.testing.assert_close(up, gradients(model)["layers.0.feed_forward.experts.up.weight"])
