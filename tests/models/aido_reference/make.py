"""Run the published AIDO.Protein on made-up parameters and keep what it says, for the tests of ours.

Needs, in an environment of its own: torch transformers==4.38.2 "numpy<2", and the folder `fm4bio` of ModelGenerator's
`modelgenerator/huggingface_models`, whose parent is the first argument:

    python -m tests.models.aido_reference.make FOLDER tests/models/aido_reference/goldens.npz
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.models.aido_reference import made_up

LONGEST = max(made_up.LENGTHS) + 1


def logits(published: Any, case: str) -> np.ndarray:
    """Of every token, protein after protein: computed as one padded batch."""
    config = made_up.config(case)
    model = published.modeling_fm4bio.FM4BioForMaskedLM(published.configuration_fm4bio.FM4BioConfig(**config))
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(made_up.parameter(name, tuple(shapes[name]))))
        found = model.eval()(**_inputs(config)).logits
    rows = [own[: length + 1] for own, length in zip(found, made_up.LENGTHS, strict=True)]
    return torch.cat(rows).numpy()


def _inputs(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    own = made_up.tokens()
    inputs = {
        "input_ids": _padded(own),
        "attention_mask": _padded([np.ones_like(tokens) for tokens in own]).float(),
    }
    if width := config.get("str_embedding_in"):
        inputs["inputs_str_embeds"] = _padded(made_up.structure(width))
    if config["position_embedding_type"] == "rope_2d":
        inputs["position_ids"] = _padded(made_up.places()).transpose(1, 2)
    return inputs


def _padded(arrays: list[np.ndarray]) -> torch.Tensor:
    rest = [(LONGEST - len(own), *[0] * (own.ndim - 1)) for own in arrays]
    filled = [
        np.pad(own, [(0, more), *[(0, 0)] * (own.ndim - 1)])
        for own, (more, *_) in zip(arrays, rest, strict=True)
    ]
    return torch.from_numpy(np.stack(filled))


def main(folder: str, out: str) -> None:
    """Write the goldens."""
    sys.path.insert(0, folder)
    import fm4bio.configuration_fm4bio
    import fm4bio.modeling_fm4bio
    import fm4bio.tokenization_fm4bio

    vocabulary = Path(folder) / "fm4bio" / "vocab_protein.txt"
    tokenizer = fm4bio.tokenization_fm4bio.FM4BioTokenizer(str(vocabulary))
    kept = {f"tokens of {own}": np.array(tokenizer(own)["input_ids"]) for own in made_up.SEQUENCES}
    for case in made_up.CASES:
        kept[case] = logits(fm4bio, case)
        print(case, kept[case].shape, float(np.abs(kept[case]).max()), flush=True)
    np.savez_compressed(out, **kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
