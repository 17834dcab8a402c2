"""Configurations, parameters and inputs that both sides of the comparison make from the same seeds. NumPy alone."""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

SMALL = {
    "vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 36, "num_attention_heads": 4, "intermediate_size": 96,
    "hidden_act": "swiglu", "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "pad_token_id": 0,
    "add_linear_bias": True, "position_embedding_type": "rope", "normalization_type": "RMSNorm",
    "rotary_percent": 1.0, "moe": True, "num_experts": 8, "experts_per_token": 2, "use_lm_head": False,
    "tie_word_embeddings": False, "apply_residual_connection_post_layernorm": False,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
DENSE = {"moe": False, "num_experts": 0, "experts_per_token": 0}
TRUE_WIDTH = {
    "hidden_size": 2304, "num_attention_heads": 36, "intermediate_size": 7680, "max_position_embeddings": 2048,
    "num_hidden_layers": 2,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "16B": {},
    "3B": DENSE | {"apply_residual_connection_post_layernorm": True},
    "mixture, residual after the norm": {
        "apply_residual_connection_post_layernorm": True,
        "num_hidden_layers": 3,
    },
    "dense": DENSE | {"num_hidden_layers": 3},
    "geglu": {"hidden_act": "geglu", "num_hidden_layers": 3},
    "layer norm": {"normalization_type": "LayerNorm", "num_hidden_layers": 3},
    "no bias": {"add_linear_bias": False, "num_hidden_layers": 3},
    "one of three experts": {"num_experts": 3, "experts_per_token": 1, "num_hidden_layers": 3},
    "all of three experts": {"num_experts": 3, "experts_per_token": 3, "num_hidden_layers": 3},
    "language head": {"use_lm_head": True, "num_hidden_layers": 3},
    "tied language head": {"use_lm_head": True, "tie_word_embeddings": True, "num_hidden_layers": 3},
    "tied": {"tie_word_embeddings": True, "num_hidden_layers": 3},
    "structure tokens out": {"output_vocab_size": 512, "num_hidden_layers": 3},
    "structure in": {"str_embedding_in": 24, "num_hidden_layers": 3},
    "half rotary": {"rotary_percent": 0.5, "num_hidden_layers": 3},
    "rows and columns": {"position_embedding_type": "rope_2d", "num_hidden_layers": 3},
    "rows and columns, half rotary": {
        "position_embedding_type": "rope_2d",
        "rotary_percent": 0.5,
        "num_hidden_layers": 3,
    },
    "learned positions": {"position_embedding_type": "absolute", "num_hidden_layers": 3},
    "true width": TRUE_WIDTH,
}
"""Name → what differs from SMALL."""

LENGTHS = (19, 12, 1)
"""Residues of the proteins; each is followed by [SEP]."""
SEP = 34

Array = NDArray[np.float32]


def config(case: str) -> dict[str, Any]:
    """What config.json says."""
    return SMALL | CASES[case]


def parameters(shapes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Every tensor random, also those that training begins at zero or one: a wrong block cannot hide behind zeros."""
    return {name: parameter(name, tuple(shape)) for name, shape in shapes.items()}


def parameter(name: str, shape: tuple[int, ...]) -> Array:
    """The tensor of a published name."""
    noise = normal(name, *shape)
    if name.endswith(("ln.weight", "LayerNorm.weight")):
        return 1 + 0.1 * noise
    if len(shape) == 1:
        return 0.1 * noise
    return noise if "embeddings" in name else noise * np.float32(shape[-1] ** -0.5)


def normal(name: str, *shape: int) -> Array:
    """Gaussian noise that belongs to a name."""
    return np.random.default_rng(crc32(name.encode())).standard_normal(shape, dtype=np.float32)


def tokens() -> list[NDArray[np.int64]]:
    """The proteins: any of the letters and [MASK], then [SEP]."""
    generator = np.random.default_rng(7)
    return [np.append(generator.integers(1, 29, length), SEP) for length in LENGTHS]


def structure(width: int) -> list[Array]:
    """A vector of each token."""
    return [normal(f"structure {number}", len(own), width) for number, own in enumerate(tokens())]


def places() -> list[NDArray[np.int64]]:
    """Residue and alignment row of each token, `[tokens, 2]`: below the length, which the published table ends at."""
    return [np.stack([np.arange(len(own)) // 2, np.arange(len(own)) % 2], axis=1) for own in tokens()]


SEQUENCES = ("MKTAYIAKQR", "ACDEFGHIKLMNPQRSTVWY", "BUZOX.-", "MK|TAY", "M*AJR")
