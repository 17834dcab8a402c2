"""A small ProtST on disk, in the layout of the published one: random weights and a vocabulary."""

import json
import string
from pathlib import Path

import torch
from safetensors.torch import save_file
from tests.models.published_protst import Published, published

WORDS = """a protein located locating in at the mitochondrion nucleus membrane cell cytoplasm soluble subcellular
location function : . , ; enzyme reticulum ( ) endoplasmic golgi apparatus"""


def vocabulary() -> list[str]:
    """As BERT's: special tokens, words, letters and what words end with."""
    letters = string.ascii_lowercase + string.digits
    found = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS.split(),
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    return list(dict.fromkeys(found))


def write_protst(folder: Path, seed: int = 0) -> Published:
    """The model, which lies in the folder now."""
    model = published(seed=seed)
    folder.mkdir(parents=True)
    named = {name: value.contiguous().clone() for name, value in model.huggingface().items()}
    save_file(named, folder / "model.safetensors", {"format": "pt"})
    # Beside what is published, where the space always has 512 channels.
    (folder / "config.json").write_text(json.dumps(model.config() | {"projection_dim": 32}))
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    return model


def published_choice(model: Published, sequence: torch.Tensor, prompts: list[torch.Tensor]) -> torch.Tensor:
    """Logits as the published evaluation makes them: one protein, prompts behind `[CLS]` without `[SEP]`."""
    with torch.inference_mode():
        protein = model.protein(sequence)[0]
        texts = torch.cat([model.text(prompt[None])[0] for prompt in prompts])
        unit = [own / own.norm(dim=-1, keepdim=True) for own in (protein, texts)]
        return model.heads["logit_scale"].exp() * unit[0] @ unit[1].T
