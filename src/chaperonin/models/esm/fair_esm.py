"""What the `.pt` files of fair-esm, the published code of ESM-1b, ESM-1v and ESM-2, say of their model."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.models.esm.model import ESMConfig
from chaperonin.models.esm.weights import FAIR_ESM
from chaperonin.protein.alphabet import CLS, EOS, ESM_ALPHABET, MASK, PAD, UNK
from chaperonin.weights.convert import Checkpoint, Origin

_PUBLISHED_HEADS = {
    (320, 6): 20,
    (480, 12): 20,
    (640, 30): 20,
    (1280, 33): 20,
    (2560, 36): 40,
    (5120, 48): 40,
}
"""(width, depth) → heads of the published models, for files that say them nowhere."""
_WORD, _TIED, _POSITION = "embed_tokens.weight", "lm_head.weight", "embed_positions.weight"
_FIRST = "layers.0.fc1.weight"
_FREQUENCIES = "layers.0.self_attn.rot_emb.inv_freq"
_REGRESSION = "contact_head.regression.weight"


def describe(checkpoint: Checkpoint) -> ESMConfig:
    """Shape of the model in a `.pt` file; WeightsError when it is another model or contradicts itself."""
    where = str(checkpoint.path)
    tensors = {_bare(name): tensor for name, tensor in checkpoint.tensors.items()}
    noted = {name.removeprefix("encoder_"): value for name, value in checkpoint.arguments.items()}
    depth = _depth(tensors)
    if not depth or any(name not in tensors for name in (_WORD, _FIRST)):
        known = noted.get("arch", f"{len(tensors)} tensors, among them {', '.join(sorted(tensors)[:3])}")
        raise _refused(f"this is no ESM-1b, ESM-1v or ESM-2 ({known})", where)
    vocabulary, width = tensors[_WORD].shape
    if vocabulary != len(ESM_ALPHABET):
        raise _refused(f"the vocabulary has {vocabulary} tokens, that of ESM has {len(ESM_ALPHABET)}", where)
    for key, made in (("embed_dim", width), ("layers", depth)):
        if noted.get(key, made) != made:
            raise _refused(f"the file notes {key} = {noted[key]}, its tensors make {made}", where)
    learned = _POSITION in tensors
    return ESMConfig(
        width=width,
        depth=depth,
        heads=_heads(noted, tensors, width, depth, where),
        inner_width=tensors[_FIRST].shape[0],
        positions="learned" if learned else "rotary",
        max_positions=tensors[_POSITION].shape[0] if learned else ESMConfig.max_positions,
        norm_embedding="emb_layer_norm_before.weight" in tensors,
        # Where arguments are noted and this is not among them, fair-esm takes it as off.
        token_dropout=bool(noted.get("token_dropout", not noted)),
    )


def _depth(tensors: Mapping[str, Tensor]) -> int:
    """Number of layers, or 0 when they are not numbered from 0 without a gap."""
    layers = {int(found[1]) for name in tensors if (found := re.match(r"layers\.(\d+)\.", name))}
    return len(layers) if layers == set(range(len(layers))) else 0


def _heads(
    noted: Mapping[str, Any], tensors: Mapping[str, Tensor], width: int, depth: int, where: str
) -> int:
    """Attention heads, which no weight matrix shows."""
    found = set(_said_heads(noted, tensors, width, depth)) or {_PUBLISHED_HEADS.get((width, depth), 0)}
    heads = found.pop()
    if found:
        raise _refused(f"the file speaks of {heads} and of {found.pop()} attention heads", where)
    if heads < 1 or width % heads:
        raise _refused(f"width {width} and depth {depth}: the number of attention heads is not known", where)
    return heads


def _said_heads(
    noted: Mapping[str, Any], tensors: Mapping[str, Tensor], width: int, depth: int
) -> Iterator[int]:
    """What the arguments, the rotary frequencies and the contact regression say about the heads."""
    if "attention_heads" in noted:
        yield int(noted["attention_heads"])
    if _FREQUENCIES in tensors:
        yield width // (2 * len(tensors[_FREQUENCIES]))
    if _REGRESSION in tensors:
        yield tensors[_REGRESSION].shape[-1] // depth


def adjust(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors as fair-esm uses them: ESM-1b and ESM-1v lose the embedding of `<mask>` after loading.

    That embedding is also the last product of the masked-language head: it decides the logit of `<mask>`.
    """
    tensors = dict(checkpoint.tensors)
    if any(_bare(name) == _POSITION for name in tensors):
        for name in [name for name in tensors if _bare(name) in (_WORD, _TIED)]:
            tensors[name] = tensors[name].clone()
            tensors[name][ESM_ALPHABET.mask] = 0
    return tensors


def _bare(name: str) -> str:
    return next((name.removeprefix(start) for start in FAIR_ESM.prefixes if name.startswith(start)), name)


def _refused(what: str, where: str) -> WeightsError:
    return WeightsError(
        what,
        where=where,
        advice="Give the .pt file of an ESM-1b, ESM-1v or ESM-2 and its own contact regression.",
    )


_SPECIAL = {"cls_token": CLS, "pad_token": PAD, "eos_token": EOS, "unk_token": UNK, "mask_token": MASK}

ORIGIN = Origin(
    model_type="esm",
    table="fair-esm",
    describe=describe,
    adjust=adjust,
    companions={
        "vocab.txt": "\n".join(ESM_ALPHABET.tokens) + "\n",
        "special_tokens_map.json": json.dumps(_SPECIAL, indent=2) + "\n",
        "tokenizer_config.json": json.dumps({"tokenizer_class": "EsmTokenizer", **_SPECIAL}, indent=2) + "\n",
    },
    head_suffix="-contact-regression.pt",
)
"""How `weights convert` reads a `.pt` file."""
