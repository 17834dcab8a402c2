"""Both sides of the ProtST measurements: ours through the package, theirs as the published evaluation runs it.

Each function builds what is timed: `build(**arguments)` returns a function without arguments.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import finetune_sides

if TYPE_CHECKING:
    import torch

PLACES = (
    "Cell membrane", "Cytoplasm", "Endoplasmic reticulum", "Golgi apparatus", "Lysosome", "Mitochondrion", "Nucleus",
    "Peroxisome", "Plastid", "Extracellular",
)  # fmt: skip
PROMPTS = [f"SUBCELLULAR LOCATION: {place}." for place in PLACES]
"""In the wording of the published template."""
RATE = 5e-5
"""Learning rate of the published fine-tuning, the same at every step."""
LONGEST_GRADIENT = 1.0
"""What transformers' Trainer shortens gradients to, if it is not told otherwise."""


def random_protst(protein: dict[str, int], text: dict[str, int], vocabulary: int, seed: int = 0) -> Any:
    """A ProtST on ESM-1b and BERT with random weights and so many word pieces."""
    import torch

    from chaperonin.models.esm.model import ESMConfig
    from chaperonin.models.protst import ProtSTConfig
    from chaperonin.models.protst.weights import LAYOUT

    width = protein["width"]
    config = ProtSTConfig(
        ESMConfig(
            width, protein["depth"], protein["heads"], 4 * width, positions="learned", norm_embedding=True
        ),
        {
            "hidden_size": text["width"],
            "num_hidden_layers": text["depth"],
            "num_attention_heads": text["heads"],
            "intermediate_size": 4 * text["width"],
            "vocab_size": vocabulary,
            "max_position_embeddings": 512,
        },
    )
    torch.manual_seed(seed)
    model = LAYOUT.build(config)
    for name, parameter in model.named_parameters():
        is_norm = "norm" in name.lower() and name.endswith("weight")
        if parameter.ndim:
            parameter.data.normal_(mean=1.0 if is_norm else 0.0, std=0.02)
    return model


def write_random_protst(folder: Path, protein: dict[str, int], text: dict[str, int]) -> None:
    """A random ProtST in a folder, with a vocabulary of letters and of the prompts' words.

    The published vocabulary was made from biomedical texts and holds common words of biology whole.
    """
    from chaperonin.models.protst.weights import LAYOUT
    from chaperonin.weights.pretrained import save_folder

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = sorted(set(re.findall("[a-z]{2,}", " ".join(PROMPTS).lower())))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", ".", *letters, *words]
    vocabulary += [f"##{letter}" for letter in letters]
    save_folder(LAYOUT, random_protst(protein, text, len(vocabulary)), folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")


def choose_ours(folder: str, sequences: list[str], precision: str) -> Callable[[], NDArray[np.float32]]:
    """Cosines `[proteins, prompts]`, as `predict --prompts --set compat=published` computes them."""
    from chaperonin.inference.memory import batch_tokens
    from chaperonin.inference.protst import load_protst

    model = load_protst(folder, precision, "cpu")  # type: ignore[arg-type]
    budget = batch_tokens(model.tower, None)

    def run() -> NDArray[np.float32]:
        return model.protein_vectors(sequences, budget) @ model.text_vectors(PROMPTS, "published").T

    return run


def choose_theirs(folder: str, sequences: list[str], filled: int) -> Callable[[], NDArray[np.float32]]:
    """The same by transformers' ESM and BERT, in the published order of things; prompts are read once too."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from chaperonin.protein.alphabet import ESM_ALPHABET

    tower = their_tower(folder, filled)
    config, named = _checkpoint(folder)
    bert = BertModel(BertConfig(**config["text_config"]), add_pooling_layer=False).eval()
    _fill(bert, named, "text_model.bert.")
    words = BertTokenizerFast(str(Path(folder) / "vocab.txt"), do_lower_case=True)

    def projected(x: torch.Tensor, name: str) -> NDArray[np.float32]:
        for part in ("dense", "out_proj"):
            x = torch.nn.functional.linear(x, named[f"{name}.{part}.weight"], named[f"{name}.{part}.bias"])
            x = x.relu() if part == "dense" else x
        return torch.nn.functional.normalize(x, dim=-1).numpy()

    def texts() -> NDArray[np.float32]:
        ids = words(PROMPTS, add_special_tokens=False, padding="max_length", max_length=128)["input_ids"]
        tokens = torch.tensor([[words.cls_token_id, *own] for own in ids])
        hidden = bert(tokens, attention_mask=(tokens != words.pad_token_id).long()).last_hidden_state
        is_word = ((tokens != words.cls_token_id) & (tokens != words.pad_token_id)).float()[..., None]
        return projected((hidden * is_word).sum(1) / (is_word.sum(1) + 1e-6), "text_model.text_mlp")

    def protein(sequence: str) -> NDArray[np.float32]:
        return projected(tower([ESM_ALPHABET.encode(sequence)]), "protein_model.protein_mlp")

    def run() -> NDArray[np.float32]:
        with torch.inference_mode():
            described = texts()
            return np.concatenate([protein(sequence) for sequence in sequences]) @ described.T

    return run


def their_tower(folder: str, filled: int) -> Callable[[Sequence[NDArray[Any]]], "torch.Tensor"]:
    """The protein tower by transformers' ESM: tokens of proteins, each filled up, to means over residues."""
    import torch
    from transformers import EsmConfig, EsmModel

    from chaperonin.protein.alphabet import ESM_ALPHABET

    config, named = _checkpoint(folder)
    esm = EsmModel(EsmConfig(**config["protein_config"]), add_pooling_layer=False).eval()
    _fill(esm, named, "protein_model.esm.")

    @torch.no_grad()
    def tower(proteins: Sequence[NDArray[Any]]) -> torch.Tensor:
        tokens = torch.full((len(proteins), filled), ESM_ALPHABET.pad)
        for row, own in zip(tokens, proteins, strict=True):
            row[: len(own)] = torch.from_numpy(own)
        hidden = esm(tokens, attention_mask=(tokens != ESM_ALPHABET.pad).long()).last_hidden_state
        return torch.stack([row[1 : len(own) - 1].mean(0) for row, own in zip(hidden, proteins, strict=True)])

    return tower


def train_theirs(overrides: list[str], folder: str, filled: int, epochs: int) -> Callable[[], dict[str, Any]]:
    """Epochs of the head as the published script runs them: the tower anew on every batch, each protein filled up.

    Batches, their order and the first weights of the head are those of `finetune_sides.cached_epochs`.
    """
    import torch
    from torch import nn

    from chaperonin.data.stream import Place
    from chaperonin.protein.alphabet import ESM_ALPHABET

    training = finetune_sides.our_training(overrides, "frozen")
    stream, holdout, steps = training.stream, training.holdout, training.settings.evaluate_every
    first = list(training.model.head.state_dict().values())
    del training  # our tower makes room for theirs
    width, outputs = first[0].shape[0], first[2].shape[0]
    begin, start, end = stream.place, [ESM_ALPHABET.cls], [ESM_ALPHABET.eos]
    tower = their_tower(folder, filled)

    def loss(head: nn.Module, items: Sequence[Any]) -> torch.Tensor:
        vectors = tower([np.concatenate((start, item.tokens, end)) for item in items])
        labels = torch.tensor([int(item.target) for item in items])
        return nn.functional.cross_entropy(head(vectors), labels)

    def run() -> dict[str, Any]:
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))
        head.load_state_dict(dict(zip(head.state_dict(), first, strict=True)))
        optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.0)
        stream.place = Place(*begin)
        losses = []
        for step in range(1, epochs * steps + 1):
            own = loss(head, next(stream))
            optimizer.zero_grad()
            own.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(head.parameters(), LONGEST_GRADIENT)
            optimizer.step()
            losses.append(own.item())
            if step % steps == 0:
                with torch.no_grad():
                    for items in holdout:
                        loss(head, items)
        return {"losses": losses}

    return run


def _checkpoint(folder: str) -> tuple[dict[str, Any], dict[str, "torch.Tensor"]]:
    """The configuration and every tensor."""
    from safetensors.torch import load_file

    config = json.loads((Path(folder) / "config.json").read_text())
    return config, load_file(Path(folder) / "model.safetensors")


def _fill(model: Any, named: dict[str, Any], prefix: str) -> None:
    """A part of the checkpoint into transformers' model; RuntimeError for a tensor left over or missing."""
    own = {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
    found = model.load_state_dict(own, strict=False)
    missing = [name for name in found.missing_keys if "inv_freq" not in name and "position_ids" not in name]
    if missing or found.unexpected_keys:
        raise RuntimeError(f"missing {missing[:3]}, left over {found.unexpected_keys[:3]}")
