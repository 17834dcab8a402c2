"""Pre-training of a ProtST from settings: a protein model and a new text model learn to agree."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.config import as_dict
from chaperonin.data.clusters import Split, split
from chaperonin.data.pairs import Described, Pair, PairStream, make_vocabulary, read_described
from chaperonin.data.stream import Sequences
from chaperonin.data.words import LONGEST, VOCABULARY, WordPieces
from chaperonin.errors import UsageError
from chaperonin.files import write_atomically
from chaperonin.models.protst import ProtST, ProtSTConfig
from chaperonin.models.protst.weights import LAYOUT
from chaperonin.parallel.data import Processes
from chaperonin.tasks.encoder import read_encoder
from chaperonin.tasks.protein_text import PairBatch, ProteinText
from chaperonin.training import state
from chaperonin.training.loop import LoopSettings, Outcome, Training
from chaperonin.weights.hub import resolve
from chaperonin.weights.pretrained import save_folder

TASK: Literal["protein-text"] = "protein-text"
MODEL_FOLDER, RETRIEVAL = "model", "retrieval.json"
RECALLS = (1, 10)


@dataclass(frozen=True)
class TextTower:
    """Shape of the new text model, a BERT."""

    width: int = 128
    depth: int = 2
    heads: int = 2
    vocabulary: int = 4000
    """Word pieces, made from the texts that train."""


@dataclass(frozen=True)
class PairSettings:
    """What is learned from."""

    input: str = ""
    """CSV, TSV or Parquet file with the columns `sequence` and those of the texts."""
    columns: tuple[str, ...] = ("text",)
    """Columns that describe a protein; empty cells are left out, the others joined."""
    window: int = 450
    """Residues of a crop of a longer sequence."""
    batch_pairs: int = 32
    """Pairs of a batch: what each protein is told apart from."""
    holdout_share: float = 0.05
    """Share of pairs that never train: whole clusters of similar sequences."""
    evaluation_pairs: int = 512
    """Held-out pairs of the evaluations during training, and of the retrieval at the end."""


@dataclass(frozen=True)
class Alignment:
    """A pre-training of a ProtST."""

    task: Literal["protein-text"] = TASK
    """What makes a YAML file one of these."""
    model: str = "chaperonin/esm2-tiny"
    """The protein model to begin with."""
    text: TextTower = field(default_factory=TextTower)
    """The text model."""
    space: int = 512
    """Channels of the common space."""
    residue_weight: float = 1.0
    """How much hidden residues count beside the contrast."""
    fusion_weight: float = 1.0
    """How much residues and words that are told from both together count."""
    data: PairSettings = field(default_factory=PairSettings)
    """What is learned from."""
    training: LoopSettings = field(default_factory=LoopSettings)
    """How long and how."""

    def __post_init__(self) -> None:
        if not self.data.input:
            raise UsageError("no pairs to learn from", where="data.input", advice="Name a table.")
        for name, width, heads in (
            ("text.width", self.text.width, self.text.heads),
            ("space", self.space, ProtSTConfig.fusion_heads),
        ):
            if heads < 1 or width % heads:
                raise UsageError(f"{width} channels cannot be shared by {heads} heads", where=name)


@dataclass(frozen=True)
class Pairs:
    """All pairs, and which of them train."""

    described: Described
    sequences: Sequences
    training: NDArray[np.int64]
    holdout: NDArray[np.int64]
    words: WordPieces
    """Made from the texts that train."""
    pieces: list[NDArray[np.int64]]
    """What is read of each text."""

    @property
    def sha256(self) -> str:
        """Hash of all residues and texts."""
        digest = sha256(self.sequences.residues.tobytes())
        digest.update("\n".join(self.described.texts).encode())
        return digest.hexdigest()


def read_pairs(settings: Alignment) -> Pairs:
    """Read the input, choose the hold-out and make the vocabulary: all the same for the same input and settings."""
    described = read_described(Path(settings.data.input), settings.data.columns)
    sequences = Sequences.gather(described.sequences)
    parts = Split(np.arange(len(sequences)), np.empty(0, dtype=np.int64))
    if settings.data.holdout_share:
        parts = split(sequences, settings.data.holdout_share, settings.training.seed)
    with TemporaryDirectory() as folder:
        texts = (described.texts[int(number)] for number in parts.training)
        words = WordPieces(make_vocabulary(texts, settings.text.vocabulary, Path(folder)))
    pieces = [np.array(words.pieces(text)[:LONGEST]) for text in described.texts]
    return Pairs(described, sequences, parts.training, parts.holdout, words, pieces)


class Aligning(Training[PairBatch]):
    """The loss is a sum of three kinds: what it is the logarithm of means nothing."""

    def evaluate(self) -> dict[str, float]:
        """Without a perplexity."""
        return {name: value for name, value in super().evaluate().items() if name != "perplexity"}


def align(
    settings: Alignment, pairs: Pairs, folder: Path, device: torch.device, processes: Processes | None = None
) -> tuple[Outcome, dict[str, float]]:
    """Train, leave the model in `folder`/model and what it finds of the hold-out in retrieval.json; returns both."""
    training = new_training(settings, pairs, device, processes)
    (folder / state.FOLDER).mkdir(parents=True, exist_ok=True)
    outcome = training.run(folder)
    model, held_out = training.model.eval(), training.holdout
    assert isinstance(model, ProtST)
    found = retrieval(model, pairs.words, held_out) if held_out else {}
    if training.processes.is_first:
        save_folder(LAYOUT, model, folder / MODEL_FOLDER)
        (folder / MODEL_FOLDER / VOCABULARY).write_bytes(pairs.words.content)
        write_atomically(folder / RETRIEVAL, json.dumps(found, indent=2) + "\n")
    return outcome, found


def new_training(
    settings: Alignment, pairs: Pairs, device: torch.device, processes: Processes | None = None
) -> Training[PairBatch]:
    """The run, before its first step."""
    processes = processes or Processes()
    data = settings.data
    judged = [
        Pair(pairs.sequences[int(number)][: data.window], pairs.pieces[int(number)])
        for number in pairs.holdout[: data.evaluation_pairs]
    ]
    return Aligning(
        new_model(settings, pairs.words, device),
        ProteinText(pairs.words, settings.residue_weight, settings.fusion_weight),
        training_stream(settings, pairs),
        [judged[start : start + data.batch_pairs] for start in range(0, len(judged), data.batch_pairs)],
        settings.training,
        # What a protein is told apart from are the pairs of all processes.
        {**identity(settings, pairs), "the number of processes": processes.world},
        processes,
    )


def training_stream(settings: Alignment, pairs: Pairs) -> PairStream:
    """The pairs that train."""
    return PairStream(
        pairs.sequences.choose(pairs.training),
        [pairs.pieces[int(number)] for number in pairs.training],
        settings.training.seed,
        settings.data.window,
        settings.data.batch_pairs,
    )


def new_model(settings: Alignment, words: WordPieces, device: torch.device) -> ProtST:
    """The protein model as it is, beside a text model, projections and fusion with fresh weights."""
    protein = read_encoder(resolve(settings.model)).float()
    tower = settings.text
    config = ProtSTConfig(
        protein.config,
        {
            "hidden_size": tower.width,
            "num_hidden_layers": tower.depth,
            "num_attention_heads": tower.heads,
            "intermediate_size": 4 * tower.width,
            "vocab_size": words.size,
            "max_position_embeddings": LONGEST + 2,
        },
        width=settings.space,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        model = LAYOUT.build(config)
    assert isinstance(model, ProtST)
    model.protein = protein
    train_what_is_used(model, settings.residue_weight, settings.fusion_weight)
    return model.to(device)


def train_what_is_used(model: ProtST, residue_weight: float = 1.0, fusion_weight: float = 1.0) -> None:
    """Leave out of training what no loss of these weights sees."""
    # Running figures of batch norm have no gradient, but belong into checkpoints like everything that changes.
    model.requires_grad_(True)
    unused = ["protein.contact.", "protein.masked_language.", "protein.rotary_frequencies"]
    unused += ["masked_residue."] * (not residue_weight)
    unused += ["fusion.", "fused_residue.", "masked_word.", "word_projection."] * (not fusion_weight)
    unused += ["residue_projection."] * (not residue_weight and not fusion_weight)
    for name, parameter in model.named_parameters():
        if name.startswith(tuple(unused)):
            parameter.requires_grad_(False)


@torch.no_grad()
def retrieval(model: ProtST, words: WordPieces, batches: Sequence[Sequence[Pair]]) -> dict[str, float]:
    """Recall at 1 and 10 among all held-out pairs, both ways; a hit is any partner with an equal text."""
    plain = ProteinText(words, residue_weight=0, fusion_weight=0)
    device = next(model.parameters()).device
    proteins, texts, kinds = [], [], []
    for pairs in batches:
        batch = plain.collate(pairs, np.random.default_rng(0)).to(device)
        hidden = model.protein(batch.tokens, batch.segments)
        proteins.append(model.protein_features(hidden, batch.segments))
        texts.append(model.text_features(batch.texts))
        kinds.append(batch.kinds)
    scores = model.agreement(torch.cat(proteins), torch.cat(texts))
    is_same = torch.cat(kinds)[:, None] == torch.cat(kinds)
    found: dict[str, float] = {"pairs": float(len(scores))}
    for name, own in (("protein_to_text", scores), ("text_to_protein", scores.T)):
        for most in RECALLS:
            found[f"{name}_recall@{most}"] = _recall(own, is_same, most)
            found[f"{name}_chance@{most}"] = _chance(is_same, most)
    return found


def _recall(scores: Tensor, is_same: Tensor, most: int) -> float:
    best = scores.topk(min(most, len(scores)), dim=1).indices
    return float(is_same.gather(1, best).any(1).double().mean())


def _chance(is_same: Tensor, most: int) -> float:
    """Recall of partners in random order."""
    others, count = (~is_same).double().sum(1), is_same.shape[1]
    missed = torch.ones_like(others)
    for drawn in range(min(most, count)):
        missed *= (others - drawn).clamp(min=0) / (count - drawn)
    return float((1 - missed).mean())


def identity(settings: Alignment, pairs: Pairs) -> dict[str, Any]:
    """What must be equal for a run to go on, besides the loop's own settings."""
    plain = as_dict(settings)
    own = {name: plain[name] for name in ("model", "text", "space", "residue_weight", "fusion_weight")}
    data = ("columns", "window", "batch_pairs", "holdout_share")
    return {
        **own,
        **{f"data.{name}": plain["data"][name] for name in data},
        "the pairs": pairs.sha256,
    }
