"""Names of AIDO.Protein's tensors in the published checkpoints, and what their `config.json` says."""

from collections.abc import Mapping
from typing import Any

from chaperonin.errors import WeightsError
from chaperonin.kernels.grouped_matmul.gates import GATES
from chaperonin.models.aido.config import AIDOConfig
from chaperonin.models.aido.model import AIDO
from chaperonin.protein.alphabet import AIDO_ALPHABET
from chaperonin.weights.pretrained import Layout
from chaperonin.weights.rules import Drop, Rename, Rule, Stacked, Table, Tied


def _both(theirs: str, ours: str) -> list[Rule]:
    return [Rename(f"{theirs}.{part}", f"{ours}.{part}") for part in ("weight", "bias")]


def _experts(theirs: str, ours: str) -> list[Rule]:
    return [Stacked(f"{theirs}_{{}}.{part}", f"{ours}.{part}") for part in ("weight", "bias")]


_LAYER = "bert.encoder.layer.{}"

HUGGING_FACE = Table(
    rules=(
        Rename("bert.embeddings.word_embeddings.weight", "embedding.word.weight"),
        Rename("bert.embeddings.position_embeddings.weight", "embedding.position.weight"),
        Rename("bert.embeddings.str_embeddings.weight", "embedding.structure.weight"),
        *_both(f"{_LAYER}.attention.ln", "layers.{}.attention_norm"),
        *_both(f"{_LAYER}.attention.self.query", "layers.{}.attention.project.query"),
        *_both(f"{_LAYER}.attention.self.key", "layers.{}.attention.project.key"),
        *_both(f"{_LAYER}.attention.self.value", "layers.{}.attention.project.value"),
        *_both(f"{_LAYER}.attention.output.dense", "layers.{}.attention.out"),
        *_both(f"{_LAYER}.ln", "layers.{}.feed_forward_norm"),
        Rename(f"{_LAYER}.mlp.router.weight", "layers.{}.feed_forward.router.weight"),
        *_experts(f"{_LAYER}.mlp.dense_h_to_4h", "layers.{}.feed_forward.experts.up"),
        *_experts(f"{_LAYER}.mlp.dense_4h_to_h", "layers.{}.feed_forward.experts.down"),
        *_both(f"{_LAYER}.mlp.dense_h_to_4h", "layers.{}.feed_forward.up"),
        *_both(f"{_LAYER}.mlp.dense_4h_to_h", "layers.{}.feed_forward.down"),
        *_both("bert.encoder.ln", "norm"),
        Rename("output_embed.weight", "masked_language.output.weight", is_spare=True),
        Rename("cls.predictions.decoder.weight", "masked_language.decoder.weight", is_spare=True),
        *_both("cls.predictions.transform.dense", "masked_language.dense"),
        *_both("cls.predictions.transform.LayerNorm", "masked_language.norm"),
        Rename("cls.predictions.bias", "masked_language.bias"),
        Tied("cls.predictions.decoder.bias", "masked_language.bias"),
        Drop("bert.embeddings.position_ids", why="0, 1, 2 …"),
    ),
    optional=("masked_language.",),
    prefixes=("bert.",),  # absent where only the encoder was saved (FM4BioModel)
)
"""`FM4BioForMaskedLM` of ModelGenerator."""

_POSITIONS = {"rope": "rotary", "rope_2d": "rotary_2d", "absolute": "learned"}
_NORMS = {"RMSNorm": "rms", "LayerNorm": "layer"}
_SIZES = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner_width": "intermediate_size",
}


def config_from_huggingface(config: Mapping[str, Any], where: str) -> AIDOConfig:
    """Shape of the model that a published `config.json` describes; what it leaves out is as published."""

    def choose(key: str, known: Mapping[str, str], default: str) -> Any:
        value = config.get(key, default)
        if value not in known:
            raise WeightsError(
                f"{key} {value!r} is not known", where=where, advice=f"Known: {', '.join(known)}."
            )
        return known[value]

    missing = [name for name in _SIZES.values() if name not in config]
    if missing:
        raise WeightsError(f"config.json lacks {missing[0]}", where=where)
    is_mixture = bool(config.get("moe"))
    own = AIDOConfig(
        **{ours: int(config[theirs]) for ours, theirs in _SIZES.items()},
        experts=int(config.get("num_experts", 0)) if is_mixture else 0,
        experts_per_token=int(config.get("experts_per_token", 0)),
        gate=choose("hidden_act", {gate: gate for gate in GATES}, "swiglu"),
        norm=choose("normalization_type", _NORMS, "RMSNorm"),
        norm_epsilon=float(config.get("layer_norm_eps", 1e-5)),
        bias=bool(config.get("add_linear_bias", True)),
        post_norm_residual=bool(config.get("apply_residual_connection_post_layernorm", False)),
        positions=choose("position_embedding_type", _POSITIONS, "rope"),
        rotary_share=float(config.get("rotary_percent", 1.0)),
        max_positions=int(config.get("max_position_embeddings", 2048)),
        vocabulary=int(config.get("vocab_size", 128)),
        output_vocabulary=int(config.get("output_vocab_size") or 0),
        transform=bool(config.get("use_lm_head", True)),
        tied=bool(config.get("tie_word_embeddings", True)),
        structure_width=_structure_width(config.get("str_embedding_in")),
    )
    _check(own, where)
    return own


def _structure_width(value: object) -> int:
    """Published as a number, as its text, or as a text that says there is none."""
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else 0


def _check(config: AIDOConfig, where: str) -> None:
    if config.width % config.heads:
        raise WeightsError(f"{config.heads} heads do not divide a width of {config.width}", where=where)
    if config.experts and not 1 <= config.experts_per_token <= config.experts:
        raise WeightsError(
            f"a token cannot go through {config.experts_per_token} of {config.experts} experts", where=where
        )
    if config.vocabulary < len(AIDO_ALPHABET):
        raise WeightsError(
            f"vocab_size is {config.vocabulary}, and the alphabet has {len(AIDO_ALPHABET)} tokens",
            where=where,
        )


def config_to_huggingface(config: AIDOConfig) -> dict[str, Any]:
    """The `config.json` that ModelGenerator reads as the same model."""
    positions = {ours: theirs for theirs, ours in _POSITIONS.items()}
    norms = {ours: theirs for theirs, ours in _NORMS.items()}
    return {
        "architectures": ["FM4BioForMaskedLM"],
        "model_type": "fm4bio",
        **{theirs: getattr(config, ours) for ours, theirs in _SIZES.items()},
        "moe": config.experts > 0,
        "num_experts": config.experts,
        "experts_per_token": config.experts_per_token,
        "hidden_act": config.gate,
        "normalization_type": norms[config.norm],
        "layer_norm_eps": config.norm_epsilon,
        "add_linear_bias": config.bias,
        "apply_residual_connection_post_layernorm": config.post_norm_residual,
        "position_embedding_type": positions[config.positions],
        "rotary_percent": config.rotary_share,
        "max_position_embeddings": config.max_positions,
        "vocab_size": config.vocabulary,
        "output_vocab_size": config.output_vocabulary or None,
        "use_lm_head": config.transform,
        "tie_word_embeddings": config.tied,
        "str_embedding_in": config.structure_width or None,
        "pad_token_id": AIDO_ALPHABET.pad,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
    }


LAYOUT = Layout(
    build=AIDO,
    read_config=config_from_huggingface,
    write_config=config_to_huggingface,
    tables={"huggingface": HUGGING_FACE},
    defaults=lambda config: {},
    heads={"masked_language.": "masked_language"},
)
