"""Names of ESM's tensors in published checkpoints, and what their `config.json` says."""

from collections.abc import Mapping
from typing import Any

from chaperonin.errors import WeightsError
from chaperonin.layers.rotary import inverse_frequencies
from chaperonin.models.esm.model import ESM, ESMConfig
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.weights.pretrained import Layout
from chaperonin.weights.rules import Drop, Rename, Rule, Shared, Table, Tied


def _linear(theirs: str, ours: str) -> list[Rule]:
    return [Rename(f"{theirs}.{part}", f"{ours}.{part}") for part in ("weight", "bias")]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [
        Rename(f"{theirs}.weight", f"{ours}.weight", also=(f"{theirs}.gamma",)),
        Rename(f"{theirs}.bias", f"{ours}.bias", also=(f"{theirs}.beta",)),
    ]


_OPTIONAL = ("contact.", "masked_language.", "rotary_frequencies")

HUGGING_FACE = Table(
    rules=(
        Rename("esm.embeddings.word_embeddings.weight", "embedding.word.weight"),
        # The published ESM-2 files hold a table that rotary positions do not use.
        Rename("esm.embeddings.position_embeddings.weight", "embedding.position.weight", is_spare=True),
        *_norm("esm.embeddings.layer_norm", "embedding.norm"),
        *_norm("esm.encoder.layer.{}.attention.LayerNorm", "layers.{}.attention_norm"),
        *_linear("esm.encoder.layer.{}.attention.self.query", "layers.{}.attention.project.query"),
        *_linear("esm.encoder.layer.{}.attention.self.key", "layers.{}.attention.project.key"),
        *_linear("esm.encoder.layer.{}.attention.self.value", "layers.{}.attention.project.value"),
        *_linear("esm.encoder.layer.{}.attention.output.dense", "layers.{}.attention.out"),
        *_norm("esm.encoder.layer.{}.LayerNorm", "layers.{}.feed_forward_norm"),
        *_linear("esm.encoder.layer.{}.intermediate.dense", "layers.{}.feed_forward.up"),
        *_linear("esm.encoder.layer.{}.output.dense", "layers.{}.feed_forward.down"),
        *_norm("esm.encoder.emb_layer_norm_after", "norm"),
        *_linear("lm_head.dense", "masked_language.dense"),
        *_norm("lm_head.layer_norm", "masked_language.norm"),
        Rename("lm_head.bias", "masked_language.bias"),
        Tied("lm_head.decoder.weight", "embedding.word.weight"),
        Tied("lm_head.decoder.bias", "masked_language.bias"),
        *_linear("esm.contact_head.regression", "contact.regression"),
        # transformers 5 writes a literal `*` where a layer number should stand, and reads both.
        Shared(
            "esm.encoder.layer.{}.attention.self.rotary_embeddings.inv_freq",
            "rotary_frequencies",
            also=(
                "esm.encoder.layer.*.attention.self.rotary_embeddings.inv_freq",
                "esm.rotary_embeddings.inv_freq",
            ),
        ),
        Drop("esm.embeddings.position_ids", why="0, 1, 2 …"),
        *(Drop(f"esm.pooler.dense.{part}", why="untrained in every release") for part in ("weight", "bias")),
    ),
    optional=_OPTIONAL,
    prefixes=("esm.",),  # absent where only the encoder was saved (EsmModel)
)
"""`EsmForMaskedLM` of transformers, old and new spellings."""

FAIR_ESM = Table(
    rules=(
        Rename("embed_tokens.weight", "embedding.word.weight"),
        Rename("embed_positions.weight", "embedding.position.weight"),
        *_norm("emb_layer_norm_before", "embedding.norm"),
        *_norm("layers.{}.self_attn_layer_norm", "layers.{}.attention_norm"),
        *_linear("layers.{}.self_attn.q_proj", "layers.{}.attention.project.query"),
        *_linear("layers.{}.self_attn.k_proj", "layers.{}.attention.project.key"),
        *_linear("layers.{}.self_attn.v_proj", "layers.{}.attention.project.value"),
        *_linear("layers.{}.self_attn.out_proj", "layers.{}.attention.out"),
        *_norm("layers.{}.final_layer_norm", "layers.{}.feed_forward_norm"),
        *_linear("layers.{}.fc1", "layers.{}.feed_forward.up"),
        *_linear("layers.{}.fc2", "layers.{}.feed_forward.down"),
        *_norm("emb_layer_norm_after", "norm"),
        *_linear("lm_head.dense", "masked_language.dense"),
        *_norm("lm_head.layer_norm", "masked_language.norm"),
        Rename("lm_head.bias", "masked_language.bias"),
        Tied("lm_head.weight", "embedding.word.weight"),
        *_linear("contact_head.regression", "contact.regression"),
        Shared("layers.{}.self_attn.rot_emb.inv_freq", "rotary_frequencies"),
    ),
    optional=_OPTIONAL,
    prefixes=("encoder.sentence_encoder.", "sentence_encoder.", "encoder."),
)
"""The `.pt` files of fair-esm; the contact head is in a file of its own."""


def config_from_huggingface(config: Mapping[str, Any], where: str) -> ESMConfig:
    """Shape of the model that a Hugging Face `config.json` describes."""
    positions = {"rotary": "rotary", "absolute": "learned"}.get(
        config.get("position_embedding_type", "absolute")
    )
    if positions is None:
        raise WeightsError(
            f"position_embedding_type {config['position_embedding_type']!r} is no ESM", where=where
        )
    if config.get("is_folding_model") or config.get("vocab_size", len(ESM_ALPHABET)) != len(ESM_ALPHABET):
        raise WeightsError("this is an ESMFold or another vocabulary, not an ESM-1b or ESM-2", where=where)
    try:
        return ESMConfig(
            width=config["hidden_size"],
            depth=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            inner_width=config["intermediate_size"],
            positions=positions,  # type: ignore[arg-type]
            max_positions=config.get("max_position_embeddings", 1026),
            norm_embedding=bool(config.get("emb_layer_norm_before")),
            token_dropout=bool(config.get("token_dropout")),
            norm_epsilon=config.get("layer_norm_eps", 1e-12),
        )
    except KeyError as missing:
        raise WeightsError(f"config.json lacks {missing}", where=where) from missing


def config_to_huggingface(config: ESMConfig) -> dict[str, Any]:
    """The `config.json` that transformers reads as the same model."""
    return {
        "architectures": ["EsmForMaskedLM"],
        "model_type": "esm",
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.inner_width,
        "position_embedding_type": "rotary" if config.positions == "rotary" else "absolute",
        "max_position_embeddings": config.max_positions,
        "emb_layer_norm_before": config.norm_embedding,
        "token_dropout": config.token_dropout,
        "layer_norm_eps": config.norm_epsilon,
        "vocab_size": len(ESM_ALPHABET),
        "pad_token_id": ESM_ALPHABET.pad,
        "mask_token_id": ESM_ALPHABET.mask,
        "bos_token_id": ESM_ALPHABET.cls,
        "eos_token_id": ESM_ALPHABET.eos,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "is_folding_model": False,
        "tie_word_embeddings": True,
        "use_cache": True,
        "rope_theta": 10000.0,
    }


LAYOUT = Layout(
    build=ESM,
    read_config=config_from_huggingface,
    write_config=config_to_huggingface,
    tables={"huggingface": HUGGING_FACE, "fair-esm": FAIR_ESM},
    defaults=lambda config: (
        {"rotary_frequencies": inverse_frequencies(config.head_dim)} if config.positions == "rotary" else {}
    ),
    heads={"contact.": "contact", "masked_language.": "masked_language"},
)
