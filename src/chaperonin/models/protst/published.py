"""The authors' own `.pth` files of ProtST (written with torchdrug) to model folders."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.models.protst.model import ProtSTConfig
from chaperonin.models.protst.weights import LAYOUT
from chaperonin.weights.convert import Checkpoint, Origin, new_folder, read_checkpoint, record
from chaperonin.weights.manifest import sha256_of
from chaperonin.weights.pretrained import assemble, save_folder

_log = logging.getLogger(__name__)

_ENDINGS = (".pth", ".pt")
_PROTEIN, _BERT = "protein_model.model.", "text_model.model.bert."
_BERT_HEAD = 64
"""Channels of an attention head, in every published BERT."""
VOCABULARY = "vocab.txt"


def knows(source: Path) -> bool:
    """Whether the file is a ProtST of its authors."""
    if source.suffix not in _ENDINGS or not source.is_file():
        return False
    return any(name.startswith(_PROTEIN) for name in read_checkpoint(source).tensors)


def convert(source: Path, out: Path, encoder: Origin) -> Path:
    """Write the checkpoint as a model folder; returns it. `encoder` knows the protein tower's program.

    The file holds no vocabulary: a vocab.txt that lies beside it goes into the folder too.
    """
    checkpoint = read_checkpoint(source)
    config = describe(checkpoint, encoder)
    model = assemble(LAYOUT, config, checkpoint.tensors, "torchdrug", str(source))
    vocabulary = source.with_name(VOCABULARY)
    files = [source, vocabulary] if vocabulary.is_file() else [source]
    with new_folder(out) as partial:
        save_folder(LAYOUT, model, partial)
        if vocabulary.is_file():
            shutil.copyfile(vocabulary, partial / VOCABULARY)
        else:
            _log.warning("No %s: put that of the text tower into %s.", vocabulary, out)
        record(partial, ", ".join(f"{path.name} sha256:{sha256_of(path)}" for path in files))
    return out


def describe(checkpoint: Checkpoint, encoder: Origin) -> ProtSTConfig:
    """Sizes of the model, from its tensors; WeightsError where they are not those of a ProtST."""
    tensors = checkpoint.tensors
    tower = {
        name.removeprefix(_PROTEIN): tensor for name, tensor in tensors.items() if name.startswith(_PROTEIN)
    }
    protein = encoder.describe(Checkpoint(checkpoint.path, {}, tower))
    # torchdrug's ESM always rescales the embedding for masked tokens; nothing in the file says so.
    protein = replace(protein, token_dropout=True)
    projection = tensors.get("protein_model.graph_mlp.layers.1.weight")
    if projection is None:
        raise WeightsError(
            "there is no protein_model.graph_mlp in the file",
            where=str(checkpoint.path),
            advice="Give a protst_esm1b.pth or protst_esm2.pth.",
        )
    fusion = sum(name.endswith(".query1.weight") for name in tensors)
    return ProtSTConfig(
        protein=protein, text=_bert(tensors), width=projection.shape[0], fusion_depth=max(fusion, 1)
    )


def _bert(tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """BERT's configuration as its tensors show it; None where there is no text tower."""
    words = tensors.get(f"{_BERT}embeddings.word_embeddings.weight")
    if words is None:
        return None
    width = words.shape[1]
    layers = sum(name.endswith(".intermediate.dense.weight") for name in tensors)
    return {
        "vocab_size": words.shape[0],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // _BERT_HEAD),
        "intermediate_size": tensors[f"{_BERT}encoder.layer.0.intermediate.dense.weight"].shape[0],
        "max_position_embeddings": tensors[f"{_BERT}embeddings.position_embeddings.weight"].shape[0],
        "type_vocab_size": tensors[f"{_BERT}embeddings.token_type_embeddings.weight"].shape[0],
    }
