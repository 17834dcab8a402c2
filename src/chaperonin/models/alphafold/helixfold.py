"""Names of AlphaFold's parameters in HelixFold's `.pdparams`: haiku's with dots, one tensor per layer.

Where a sequence attends to itself, HelixFold holds query, key and value as one tensor `[3, heads, head_dim, inputs]`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.models.alphafold.weights import npz_table
from chaperonin.weights.pieces import Form, Piece, PieceTable

_ROOT = "alphafold/"
_STACKS = ("evoformer/extra_msa_stack/", "evoformer/evoformer_iteration/", "template_pair_stack/")
_PARTS = {"weights": "weight", "bias": "bias", "scale": "weight", "offset": "bias"}
"""haiku's word for a part of a layer → Paddle's."""


def helixfold_table(config: AlphaFoldConfig) -> PieceTable:
    """Names as HelixFold writes them with fused attention, which is how it is trained."""
    return PieceTable(tuple(_merged(npz_table(config).pieces)))


def _merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Keys and values of self-attention go into the piece of the query."""
    for piece in pieces:
        attends_to_itself = piece.ours.endswith(".project.weight") and piece.parts == 4
        if attends_to_itself and piece.theirs.endswith("//query_w"):
            name = f"{_name(piece).removesuffix('query_w')}qkv_w"
            yield replace(piece, theirs=name, form=Form(outputs=(3, *piece.form.outputs)), span=3)
        elif not attends_to_itself or piece.theirs.endswith("//gating_w"):
            yield replace(piece, theirs=_name(piece))


def _name(piece: Piece) -> str:
    layer, _, part = piece.theirs.removeprefix(_ROOT).replace("__layer_stack_no_state/", "").rpartition("//")
    for stack in _STACKS:
        layer = layer.replace(stack, f"{stack}{{}}/")
    return f"{layer}.{_PARTS.get(part, part)}".replace("/", ".")
