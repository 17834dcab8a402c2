"""Names of AlphaFold's parameters in the published `params_model_*.npz`: haiku's `scope//name`, layers stacked."""

from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.weights.pieces import Form, Piece, PieceTable

_ROOT = "alphafold/alphafold_iteration"
_EVOFORMER = f"{_ROOT}/evoformer"
_FOLD = f"{_ROOT}/structure_module/fold_iteration"


def _linear(theirs: str, ours: str, part: int = 0, parts: int = 1) -> list[Piece]:
    return [
        Piece(f"{theirs}//weights", f"{ours}.weight", Form(turned=True), part, parts),
        Piece(f"{theirs}//bias", f"{ours}.bias", Form(), part, parts),
    ]


def _norm(theirs: str, ours: str) -> list[Piece]:
    return [Piece(f"{theirs}//scale", f"{ours}.weight"), Piece(f"{theirs}//offset", f"{ours}.bias")]


def _attention(theirs: str, ours: str, heads: int) -> list[Piece]:
    """Query, key, value and gate lie one below the other in ours."""
    names = ("query_w", "key_w", "value_w", "gating_w")
    return [
        *(
            Piece(f"{theirs}//{name}", f"{ours}.project.weight", Form(turned=True, outputs=(heads,)), part, 4)
            for part, name in enumerate(names)
        ),
        Piece(f"{theirs}//gating_b", f"{ours}.gate_bias"),
        Piece(f"{theirs}//output_w", f"{ours}.out.weight", Form(turned=True, inputs=(heads,))),
        Piece(f"{theirs}//output_b", f"{ours}.out.bias"),
    ]


def _global_attention(theirs: str, ours: str, heads: int) -> list[Piece]:
    return [
        Piece(f"{theirs}//query_w", f"{ours}.query.weight", Form(turned=True, outputs=(heads,))),
        Piece(f"{theirs}//key_w", f"{ours}.key_value.weight", Form(turned=True), 0, 2),
        Piece(f"{theirs}//value_w", f"{ours}.key_value.weight", Form(turned=True), 1, 2),
        Piece(f"{theirs}//gating_w", f"{ours}.gate.weight", Form(turned=True, outputs=(heads,))),
        Piece(f"{theirs}//gating_b", f"{ours}.gate.bias", Form(outputs=(heads,))),
        Piece(f"{theirs}//output_w", f"{ours}.out.weight", Form(turned=True, inputs=(heads,))),
        Piece(f"{theirs}//output_b", f"{ours}.out.bias"),
    ]


def _transition(theirs: str, ours: str) -> list[Piece]:
    return [
        *_norm(f"{theirs}/input_layer_norm", f"{ours}.norm"),
        *_linear(f"{theirs}/transition1", f"{ours}.up"),
        *_linear(f"{theirs}/transition2", f"{ours}.down"),
    ]


def _triangle_multiplication(theirs: str, ours: str, fused: bool) -> list[Piece]:
    """Fused: as alphafold-colabfold joins left and right at load."""
    out = [
        *_linear(f"{theirs}/output_projection", f"{ours}.out"),
        *_linear(f"{theirs}/gating_linear", f"{ours}.out_gate"),
    ]
    if fused:
        return [
            *_norm(f"{theirs}/left_norm_input", f"{ours}.norm"),
            *_linear(f"{theirs}/projection", f"{ours}.project"),
            *_linear(f"{theirs}/gate", f"{ours}.gate"),
            *_norm(f"{theirs}/center_norm", f"{ours}.product_norm"),
            *out,
        ]
    sides = enumerate(("left", "right"))
    return [
        *_norm(f"{theirs}/layer_norm_input", f"{ours}.norm"),
        *_norm(f"{theirs}/center_layer_norm", f"{ours}.product_norm"),
        *(
            piece
            for part, side in sides
            for kind, layer in (("projection", "project"), ("gate", "gate"))
            for piece in _linear(f"{theirs}/{side}_{kind}", f"{ours}.{layer}", part, 2)
        ),
        *out,
    ]


def _triangle_attention(theirs: str, ours: str, heads: int) -> list[Piece]:
    return [
        *_norm(f"{theirs}/query_norm", f"{ours}.norm"),
        Piece(f"{theirs}//feat_2d_weights", f"{ours}.pair_bias.weight", Form(turned=True)),
        *_attention(f"{theirs}/attention", f"{ours}.attention", heads),
    ]


def _pair_updates(theirs: str, ours: str, heads: int, fused: bool) -> list[Piece]:
    edges = ("outgoing", "incoming")
    nodes = ("starting", "ending")
    multiplications = [
        piece
        for edge in edges
        for piece in _triangle_multiplication(
            f"{theirs}/triangle_multiplication_{edge}", f"{ours}.multiplication_{edge}", fused
        )
    ]
    attentions = [
        piece
        for node in nodes
        for piece in _triangle_attention(
            f"{theirs}/triangle_attention_{node}_node", f"{ours}.attention_{node}", heads
        )
    ]
    return [*multiplications, *attentions, *_transition(f"{theirs}/pair_transition", f"{ours}.transition")]


def _block(theirs: str, ours: str, config: AlphaFoldConfig, fused: bool, extra: bool) -> list[Piece]:
    row, heads, channels = (
        f"{theirs}/msa_row_attention_with_pair_bias",
        config.msa_heads,
        config.outer_product_width,
    )
    column = f"{theirs}/msa_column_{'global_' * extra}attention"
    product = f"{theirs}/outer_product_mean"
    attend = _global_attention if extra else _attention
    column_ours = f"{ours}.column_attention" + ("" if extra else ".attention")
    return [
        *_norm(f"{row}/query_norm", f"{ours}.row_attention.norm"),
        *_norm(f"{row}/feat_2d_norm", f"{ours}.row_attention.pair_norm"),
        Piece(f"{row}//feat_2d_weights", f"{ours}.row_attention.pair_bias.weight", Form(turned=True)),
        *_attention(f"{row}/attention", f"{ours}.row_attention.attention", heads),
        *_norm(f"{column}/query_norm", f"{ours}.column_attention.norm"),
        *attend(f"{column}/attention", column_ours, heads),
        *_transition(f"{theirs}/msa_transition", f"{ours}.msa_transition"),
        *_norm(f"{product}/layer_norm_input", f"{ours}.outer_product_mean.norm"),
        *_linear(f"{product}/left_projection", f"{ours}.outer_product_mean.project", 0, 2),
        *_linear(f"{product}/right_projection", f"{ours}.outer_product_mean.project", 1, 2),
        Piece(
            f"{product}//output_w",
            f"{ours}.outer_product_mean.out.weight",
            Form(turned=True, inputs=(channels,)),
        ),
        Piece(f"{product}//output_b", f"{ours}.outer_product_mean.out.bias"),
        *_pair_updates(theirs, f"{ours}.pair_updates", config.pair_heads, fused),
    ]


def _embeddings() -> list[Piece]:
    names = {
        "preprocess_1d": "embedding.target",
        "preprocess_msa": "embedding.msa",
        "left_single": "embedding.left",
        "right_single": "embedding.right",
        "pair_activiations": "embedding.relative_position",
        "prev_pos_linear": "recycling.distances",
        "extra_msa_activations": "extra_embedding.embed",
        "single_activations": "single",
        "template_single_embedding": "template_rows.up",
        "template_projection": "template_rows.down",
    }
    return [
        *(piece for theirs, ours in names.items() for piece in _linear(f"{_EVOFORMER}/{theirs}", ours)),
        *_norm(f"{_EVOFORMER}/prev_pair_norm", "recycling.pair_norm"),
        *_norm(f"{_EVOFORMER}/prev_msa_first_row_norm", "recycling.msa_norm"),
    ]


def _templates(heads: int, fused: bool) -> list[Piece]:
    whole, one = (
        f"{_EVOFORMER}/template_embedding",
        f"{_EVOFORMER}/template_embedding/single_template_embedding",
    )
    inward = Form(turned=True, outputs=(heads,))
    return [
        *_linear(f"{one}/embedding2d", "templates.embed"),
        *_pair_updates(
            f"{one}/template_pair_stack/__layer_stack_no_state", "templates.blocks.{}", heads, fused
        ),
        *_norm(f"{one}/output_layer_norm", "templates.norm"),
        Piece(f"{whole}/attention//query_w", "templates.attention.query.weight", inward),
        Piece(f"{whole}/attention//key_w", "templates.attention.key_value.weight", inward, 0, 2),
        Piece(f"{whole}/attention//value_w", "templates.attention.key_value.weight", inward, 1, 2),
        Piece(
            f"{whole}/attention//output_w",
            "templates.attention.out.weight",
            Form(turned=True, inputs=(heads,)),
        ),
        Piece(f"{whole}/attention//output_b", "templates.attention.out.bias"),
    ]


def _structure() -> list[Piece]:
    point_attention = {
        "q_scalar": "query",
        "kv_scalar": "key_value",
        "q_point_local": "query_points",
        "kv_point_local": "key_value_points",
        "attention_2d": "pair_bias",
        "output_projection": "out",
    }
    layers = {
        "transition": "transition.0",
        "transition_1": "transition.1",
        "transition_2": "transition.2",
        "affine_update": "update",
        "rigid_sidechain/input_projection": "angles.embed",
        "rigid_sidechain/input_projection_1": "angles.embed_initial",
        "rigid_sidechain/resblock1": "angles.blocks.0.0",
        "rigid_sidechain/resblock2": "angles.blocks.0.1",
        "rigid_sidechain/resblock1_1": "angles.blocks.1.0",
        "rigid_sidechain/resblock2_1": "angles.blocks.1.1",
        "rigid_sidechain/unnormalized_angles": "angles.out",
    }
    layers |= {
        f"invariant_point_attention/{theirs}": f"attention.{ours}" for theirs, ours in point_attention.items()
    }
    module = f"{_ROOT}/structure_module"
    return [
        *_norm(f"{module}/single_layer_norm", "structure.single_norm"),
        *_linear(f"{module}/initial_projection", "structure.project"),
        *_norm(f"{module}/pair_layer_norm", "structure.pair_norm"),
        *(
            piece
            for theirs, ours in layers.items()
            for piece in _linear(f"{_FOLD}/{theirs}", f"structure.{ours}")
        ),
        Piece(
            f"{_FOLD}/invariant_point_attention//trainable_point_weights", "structure.attention.point_weights"
        ),
        *_norm(f"{_FOLD}/attention_layer_norm", "structure.attention_norm"),
        *_norm(f"{_FOLD}/transition_layer_norm", "structure.transition_norm"),
    ]


def _heads() -> list[Piece]:
    names = {
        "distogram_head/half_logits": "distogram",
        "masked_msa_head/logits": "masked_msa",
        "experimentally_resolved_head/logits": "resolved",
        "predicted_aligned_error_head/logits": "aligned_error",
        "predicted_lddt_head/act_0": "lddt.first",
        "predicted_lddt_head/act_1": "lddt.second",
        "predicted_lddt_head/logits": "lddt.out",
    }
    return [
        *(piece for theirs, ours in names.items() for piece in _linear(f"{_ROOT}/{theirs}", f"heads.{ours}")),
        *_norm(f"{_ROOT}/predicted_lddt_head/input_layer_norm", "heads.lddt.norm"),
    ]


def npz_table(config: AlphaFoldConfig, fused: bool = False) -> PieceTable:
    """The published parameters, or with `fused` those of alphafold-colabfold's joined projections."""
    return PieceTable(
        (
            *_embeddings(),
            *_templates(config.pair_heads, fused),
            *_block(f"{_EVOFORMER}/extra_msa_stack", "extra_blocks.{}", config, fused, extra=True),
            *_block(f"{_EVOFORMER}/evoformer_iteration", "blocks.{}", config, fused, extra=False),
            *_structure(),
            *_heads(),
        )
    )
