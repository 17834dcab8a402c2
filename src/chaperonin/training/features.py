"""What a frozen backbone says of every example: computed once, kept in the run's folder, and then only the head learns.

The backbone does not change, so neither do its vectors: 100 epochs cost one pass (and the head's own, small, work).
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chaperonin.adapt.prepare import prepare
from chaperonin.files import atomic_file, write_atomically
from chaperonin.layers.language import LanguageModel
from chaperonin.tasks.features import in_chunks
from chaperonin.tasks.heads import SequenceHead
from chaperonin.tasks.predictor import Predictor

FOLDER = "features"
_TOKENS = 4096


def cached_features(
    predictor: Predictor, sequences: Sequence[str], folder: Path, device: torch.device
) -> list[NDArray[np.float32]]:
    """What the head sees of each sequence: `[width]`, or `[length, width]` where residues or pairs have labels.

    Read from the folder if it holds those of the same sequences and weights; residues stay on the disk and are mapped.
    The backbone is made ready to infer, in place.
    """
    pooling = predictor.head.pooling if isinstance(predictor.head, SequenceHead) else "residues"
    key = _key(predictor.backbone, sequences, pooling)
    place = folder / FOLDER
    if not (place / "key.json").is_file() or json.loads((place / "key.json").read_text())["key"] != key:
        place.mkdir(parents=True, exist_ok=True)
        (place / "key.json").unlink(missing_ok=True)
        _compute(predictor, sequences, place / "vectors.npy", pooling, device)
        write_atomically(place / "key.json", json.dumps({"key": key}) + "\n")
    vectors = np.load(place / "vectors.npy", mmap_mode=None if pooling != "residues" else "r")
    ends = _ends(sequences, pooling)
    if pooling != "residues":
        return list(vectors)
    return [vectors[start:stop] for start, stop in pairwise(ends)]


def _compute(
    predictor: Predictor, sequences: Sequence[str], path: Path, pooling: str, device: torch.device
) -> None:
    """Write the vectors of all sequences, one after the other, to one file."""
    model, _ = prepare(predictor.backbone, "fp32", device)
    assert isinstance(model, LanguageModel)
    width = model.config.width
    ends = _ends(sequences, pooling)
    with atomic_file(path) as temporary:
        vectors = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.float32, shape=(int(ends[-1]), width)
        )
        for number, own in in_chunks(model, sequences, _TOKENS):
            rows = {"cls": own[:1], "mean": own[1:].mean(axis=0)[None]}.get(pooling, own[1:])
            vectors[ends[number] : ends[number + 1]] = rows
        vectors.flush()
        del vectors


def _ends(sequences: Sequence[str], pooling: str) -> NDArray[np.int64]:
    """First row of each sequence, and the end of the last."""
    rows = [len(sequence) if pooling == "residues" else 1 for sequence in sequences]
    return np.concatenate(([0], np.cumsum(rows))).astype(np.int64)


def _key(backbone: nn.Module, sequences: Sequence[str], pooling: str) -> str:
    digest = sha256(pooling.encode())
    for parameter in backbone.parameters():
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    for sequence in sequences:
        digest.update(f"{sequence}\n".encode())
    return digest.hexdigest()
