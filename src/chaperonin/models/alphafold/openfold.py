"""Names of AlphaFold's parameters in OpenFold's `.pt` files: one tensor per layer, `[outputs, inputs]` as in ours."""

import re
from collections.abc import Mapping

from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.weights.pieces import Form, Piece, PieceTable

_PREFIX = re.compile(r"^(module\.|model\.)+")
"""What wrappers for training put before every name."""
_RENAMED = (
    (re.compile(r"\.core\.(msa_transition|outer_product_mean)\."), r".\1."),
    (re.compile(r"\.core\.(tri_|pair_transition\.)"), r".pair_stack.\1"),
    (re.compile(r"\.(linear_(?:q|kv)_points)\.(weight|bias)$"), r".\1.linear.\2"),
    (re.compile(r"^template_angle_embedder\."), "template_single_embedder."),
    (re.compile(r"^template_(?!embedder\.)"), "template_embedder.template_"),
)
"""Names of the files of 2022 → those of OpenFold 2, in this order."""


def openfold_table(config: AlphaFoldConfig) -> PieceTable:
    """Names as OpenFold 2 writes them."""
    return PieceTable(
        (
            *_embeddings(),
            *_templates(config.pair_heads),
            *_block("extra_msa_stack.blocks.{}", "extra_blocks.{}", config, extra=True),
            *_block("evoformer.blocks.{}", "blocks.{}", config, extra=False),
            *_structure(),
            *_heads(),
        )
    )


def current_names(named: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The same tensors without prefixes and by today's names; WeightsError when two come to the same name."""
    current: dict[str, Tensor] = {}
    for name, tensor in named.items():
        new = _PREFIX.sub("", name)
        for old, replacement in _RENAMED:
            new = old.sub(replacement, new)
        if new in current:
            raise WeightsError(f"{name} is there twice, once by another name", where=where)
        current[new] = tensor
    return current


def _linear(theirs: str, ours: str, part: int = 0, parts: int = 1) -> list[Piece]:
    return [Piece(f"{theirs}.{kind}", f"{ours}.{kind}", Form(), part, parts) for kind in ("weight", "bias")]


def _norm(theirs: str, ours: str) -> list[Piece]:
    return _linear(theirs, ours)


def _attention(theirs: str, ours: str, heads: int) -> list[Piece]:
    return [
        *(
            Piece(f"{theirs}.linear_{letter}.weight", f"{ours}.project.weight", Form(), part, 4)
            for part, letter in enumerate("qkvg")
        ),
        Piece(f"{theirs}.linear_g.bias", f"{ours}.gate_bias", Form(rows=heads)),
        *_linear(f"{theirs}.linear_o", f"{ours}.out"),
    ]


def _global_attention(theirs: str, ours: str) -> list[Piece]:
    return [
        Piece(f"{theirs}.linear_q.weight", f"{ours}.query.weight"),
        *_key_value(theirs, ours),
        *_linear(f"{theirs}.linear_g", f"{ours}.gate"),
        *_linear(f"{theirs}.linear_o", f"{ours}.out"),
    ]


def _key_value(theirs: str, ours: str) -> list[Piece]:
    return [
        Piece(f"{theirs}.linear_{letter}.weight", f"{ours}.key_value.weight", Form(), part, 2)
        for part, letter in enumerate("kv")
    ]


def _transition(theirs: str, ours: str) -> list[Piece]:
    return [
        *_norm(f"{theirs}.layer_norm", f"{ours}.norm"),
        *_linear(f"{theirs}.linear_1", f"{ours}.up"),
        *_linear(f"{theirs}.linear_2", f"{ours}.down"),
    ]


def _triangle_multiplication(theirs: str, ours: str, sides: str) -> list[Piece]:
    """`sides`: which of their a and b is left, then right."""
    return [
        *_norm(f"{theirs}.layer_norm_in", f"{ours}.norm"),
        *_norm(f"{theirs}.layer_norm_out", f"{ours}.product_norm"),
        *(
            piece
            for part, side in enumerate(sides)
            for kind, layer in (("p", "project"), ("g", "gate"))
            for piece in _linear(f"{theirs}.linear_{side}_{kind}", f"{ours}.{layer}", part, 2)
        ),
        *_linear(f"{theirs}.linear_z", f"{ours}.out"),
        *_linear(f"{theirs}.linear_g", f"{ours}.out_gate"),
    ]


def _triangle_attention(theirs: str, ours: str, heads: int) -> list[Piece]:
    return [
        *_norm(f"{theirs}.layer_norm", f"{ours}.norm"),
        Piece(f"{theirs}.linear.weight", f"{ours}.pair_bias.weight"),
        *_attention(f"{theirs}.mha", f"{ours}.attention", heads),
    ]


def _pair_updates(theirs: str, ours: str, heads: int) -> list[Piece]:
    """Their a and b follow the paper: for incoming edges AlphaFold's own code has left and right the other way."""
    return [
        *_triangle_multiplication(f"{theirs}.tri_mul_out", f"{ours}.multiplication_outgoing", "ab"),
        *_triangle_multiplication(f"{theirs}.tri_mul_in", f"{ours}.multiplication_incoming", "ba"),
        *_triangle_attention(f"{theirs}.tri_att_start", f"{ours}.attention_starting", heads),
        *_triangle_attention(f"{theirs}.tri_att_end", f"{ours}.attention_ending", heads),
        *_transition(f"{theirs}.pair_transition", f"{ours}.transition"),
    ]


def _block(theirs: str, ours: str, config: AlphaFoldConfig, extra: bool) -> list[Piece]:
    row, column = f"{theirs}.msa_att_row", f"{theirs}.msa_att_col"
    product = f"{theirs}.outer_product_mean"
    if extra:
        columns = [
            *_norm(f"{column}.layer_norm_m", f"{ours}.column_attention.norm"),
            *_global_attention(f"{column}.global_attention", f"{ours}.column_attention"),
        ]
    else:
        columns = [
            *_norm(f"{column}._msa_att.layer_norm_m", f"{ours}.column_attention.norm"),
            *_attention(f"{column}._msa_att.mha", f"{ours}.column_attention.attention", config.msa_heads),
        ]
    return [
        *_norm(f"{row}.layer_norm_m", f"{ours}.row_attention.norm"),
        *_norm(f"{row}.layer_norm_z", f"{ours}.row_attention.pair_norm"),
        Piece(f"{row}.linear_z.weight", f"{ours}.row_attention.pair_bias.weight"),
        *_attention(f"{row}.mha", f"{ours}.row_attention.attention", config.msa_heads),
        *columns,
        *_transition(f"{theirs}.msa_transition", f"{ours}.msa_transition"),
        *_norm(f"{product}.layer_norm", f"{ours}.outer_product_mean.norm"),
        *_linear(f"{product}.linear_1", f"{ours}.outer_product_mean.project", 0, 2),
        *_linear(f"{product}.linear_2", f"{ours}.outer_product_mean.project", 1, 2),
        *_linear(f"{product}.linear_out", f"{ours}.outer_product_mean.out"),
        *_pair_updates(f"{theirs}.pair_stack", f"{ours}.pair_updates", config.pair_heads),
    ]


def _templates(heads: int) -> list[Piece]:
    whole = "template_embedder"
    attention = f"{whole}.template_pointwise_att.mha"
    return [
        *_linear(f"{whole}.template_single_embedder.linear_1", "template_rows.up"),
        *_linear(f"{whole}.template_single_embedder.linear_2", "template_rows.down"),
        *_linear(f"{whole}.template_pair_embedder.linear", "templates.embed"),
        *_pair_updates(f"{whole}.template_pair_stack.blocks.{{}}", "templates.blocks.{}", heads),
        *_norm(f"{whole}.template_pair_stack.layer_norm", "templates.norm"),
        Piece(f"{attention}.linear_q.weight", "templates.attention.query.weight"),
        *_key_value(attention, "templates.attention"),
        *_linear(f"{attention}.linear_o", "templates.attention.out"),
    ]


def _embeddings() -> list[Piece]:
    layers = {
        "input_embedder.linear_tf_m": "embedding.target",
        "input_embedder.linear_msa_m": "embedding.msa",
        "input_embedder.linear_tf_z_i": "embedding.left",
        "input_embedder.linear_tf_z_j": "embedding.right",
        "input_embedder.linear_relpos": "embedding.relative_position",
        "recycling_embedder.linear": "recycling.distances",
        "recycling_embedder.layer_norm_z": "recycling.pair_norm",
        "recycling_embedder.layer_norm_m": "recycling.msa_norm",
        "extra_msa_embedder.linear": "extra_embedding.embed",
        "evoformer.linear": "single",
    }
    return [piece for theirs, ours in layers.items() for piece in _linear(theirs, ours)]


def _structure() -> list[Piece]:
    layers = {
        "layer_norm_s": "single_norm",
        "linear_in": "project",
        "layer_norm_z": "pair_norm",
        "ipa.linear_q": "attention.query",
        "ipa.linear_kv": "attention.key_value",
        "ipa.linear_q_points.linear": "attention.query_points",
        "ipa.linear_kv_points.linear": "attention.key_value_points",
        "ipa.linear_b": "attention.pair_bias",
        "ipa.linear_out": "attention.out",
        "layer_norm_ipa": "attention_norm",
        "transition.layers.0.linear_1": "transition.0",
        "transition.layers.0.linear_2": "transition.1",
        "transition.layers.0.linear_3": "transition.2",
        "transition.layer_norm": "transition_norm",
        "bb_update.linear": "update",
        "angle_resnet.linear_in": "angles.embed",
        "angle_resnet.linear_initial": "angles.embed_initial",
        "angle_resnet.layers.0.linear_1": "angles.blocks.0.0",
        "angle_resnet.layers.0.linear_2": "angles.blocks.0.1",
        "angle_resnet.layers.1.linear_1": "angles.blocks.1.0",
        "angle_resnet.layers.1.linear_2": "angles.blocks.1.1",
        "angle_resnet.linear_out": "angles.out",
    }
    module = "structure_module"
    return [
        *(
            piece
            for theirs, ours in layers.items()
            for piece in _linear(f"{module}.{theirs}", f"structure.{ours}")
        ),
        Piece(f"{module}.ipa.head_weights", "structure.attention.point_weights"),
    ]


def _heads() -> list[Piece]:
    layers = {
        "distogram.linear": "distogram",
        "masked_msa.linear": "masked_msa",
        "experimentally_resolved.linear": "resolved",
        "tm.linear": "aligned_error",
        "plddt.layer_norm": "lddt.norm",
        "plddt.linear_1": "lddt.first",
        "plddt.linear_2": "lddt.second",
        "plddt.linear_3": "lddt.out",
    }
    return [
        piece for theirs, ours in layers.items() for piece in _linear(f"aux_heads.{theirs}", f"heads.{ours}")
    ]
