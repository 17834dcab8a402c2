"""The head a second time, under the names of transformers, where it has such a head.

`AutoModelForSequenceClassification` reads `<cls>` through a dense layer and tanh, `AutoModelForTokenClassification`
reads each residue through one linear layer. A binary head has one logit here and two there: 0 and ours, the same
probabilities. A regression there gives the user's unit: mean and deviation are part of its last layer. So full
fine-tunings and adapters open with their head where labels are of residues and it is linear, or with `pooling: cls,
hidden: tanh` as wide as the model. All other heads (by default, a mean over residues) have no class there: the backbone
opens as `AutoModelForMaskedLM` with the same hidden states, and the model card has the lines of torch that make logits
of them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chaperonin.files import write_atomically
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.tasks.target import Target
from chaperonin.weights.files import read_config, tensors, weight_files, write_tensors

PREFIX = "classifier."
_PROBLEMS = {
    "binary": "single_label_classification",
    "multiclass": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}
PEFT_TASKS = {"sequence": "SEQ_CLS", "residue": "TOKEN_CLS", "pairs": None}
"""What PEFT calls a level."""


def auto_class(target: Target, head: Mapping[str, Any]) -> str:
    """The class of transformers that opens the model, with its head where there is such a head.

    head: as task.json describes it.
    """
    if target.level == "sequence" and head == {"pooling": "cls", "hidden": "tanh"}:
        return "AutoModelForSequenceClassification"
    is_linear = target.level == "residue" and head["hidden"] == "none"
    return "AutoModelForTokenClassification" if is_linear else "AutoModelForMaskedLM"


def head_tensors(target: Target, head: Mapping[str, Any], named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The head under transformers' names; empty where transformers has no such head."""
    opens_as = auto_class(target, head)
    if opens_as == "AutoModelForSequenceClassification":
        last = "out_proj."
        kept = {f"{PREFIX}{name}": tensor for name, tensor in named.items() if name.startswith("dense.")}
    elif opens_as == "AutoModelForTokenClassification":
        last, kept = "classifier.", {}
    else:
        return {}
    weight, bias = named[f"{last}weight"], named[f"{last}bias"]
    if target.kind == "regression":
        weight, bias = weight * target.deviation, bias * target.deviation + target.mean
    if target.kind == "binary":
        weight, bias = (torch.cat([torch.zeros_like(part), part]) for part in (weight, bias))
    name = PREFIX + last if target.level == "sequence" else PREFIX
    return kept | {f"{name}weight": weight, f"{name}bias": bias}


def head_config(target: Target) -> dict[str, Any]:
    """What `config.json` says of the head."""
    names = target.classes or ("value",)
    architecture = "Sequence" if target.level == "sequence" else "Token"
    return {
        "architectures": [f"EsmFor{architecture}Classification"],
        "num_labels": len(names),
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": _PROBLEMS[target.kind],
        "classifier_dropout": 0.0,
    }


def add_to_model(folder: Path, target: Target, head: Mapping[str, Any], named: Mapping[str, Tensor]) -> None:
    """Put the head and the vocabulary into a folder that holds a whole model."""
    write_vocabulary(folder)
    if extra := head_tensors(target, head, named):
        write_tensors(folder, dict(tensors(weight_files(folder))) | extra)
        config = read_config(folder) | head_config(target)
        write_atomically(folder / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_vocabulary(folder: Path) -> None:
    """The tokens, so that transformers' pipelines read sequences."""
    write_atomically(folder / "vocab.txt", "\n".join(ESM_ALPHABET.tokens) + "\n")
    settings = {"tokenizer_class": "EsmTokenizer", "model_max_length": 1024}
    write_atomically(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
