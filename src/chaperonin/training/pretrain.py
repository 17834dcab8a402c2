"""Pre-training of a masked language model from settings: what `chaperonin train` runs."""

import glob
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chaperonin.config import as_dict
from chaperonin.data.clusters import Split, split
from chaperonin.data.sources import Rejected, read_records
from chaperonin.data.stream import ENDS, Sequences, Stream
from chaperonin.errors import UsageError
from chaperonin.layers.language import LanguageModel
from chaperonin.models.aido import AIDOConfig
from chaperonin.models.esm import ESM
from chaperonin.parallel.data import Processes
from chaperonin.parallel.expert import put_together
from chaperonin.tasks.masked_language import MaskedLanguage
from chaperonin.training.architecture import (
    AIDOModel,
    ESMModel,
    check_shape,
    check_sharing,
    fresh_model,
    initial_model,
    layout,
    shared_model,
)
from chaperonin.training.contacts import calibrate_contacts
from chaperonin.training.loop import LoopSettings, Outcome, train
from chaperonin.weights.pretrained import build_empty, save_folder

MODEL_FOLDER = "model"
"""Where in a run's folder the trained model lies, as `load` opens it."""

_CONTACT_SEQUENCES = 100


@dataclass(frozen=True)
class DataSettings:
    """What is learned from."""

    input: str = "sequences"
    """FASTA, CSV or TSV file, a folder of them, or a pattern such as `sequences/*.fasta.gz`."""
    window: int = 254
    """Residues of a crop of a longer sequence."""
    batch_tokens: int = 8192
    """Tokens of a batch at most, ends included."""
    holdout_share: float = 0.01
    """Share of sequences that never train: whole clusters of similar ones. 0 holds out none."""
    evaluation_sequences: int = 400
    """Held-out sequences of the evaluations during training."""


@dataclass(frozen=True)
class Pretraining:
    """A pre-training run."""

    model: ESMModel | AIDOModel = field(default_factory=ESMModel)
    """Shape of the model; `type: aido` makes it an AIDO.Protein."""
    initial: str | None = None
    """Folder or hub name of the weights to begin with, of a model of the same shape; None begins with fresh ones."""
    neighbour_layers: int = 0
    """First layers whose heads begin by looking at the residues around: head 1 at the next, head 2 at the one before,
    head 3 at the next but one … 0 begins without, as published; with little data, it is found late."""
    balance_weight: float = 0.01
    """How much the even use of experts counts in the loss of a mixture (Switch Transformer's weight); 0: not at all."""
    router_z_weight: float = 0.001
    """How much the size of the routers' logits counts (ST-MoE's weight); 0: not at all."""
    expert_processes: int = 1
    """Processes that hold the experts of one model between them; torchrun starts as many, or a multiple of it."""
    data: DataSettings = field(default_factory=DataSettings)
    """What is learned from."""
    training: LoopSettings = field(default_factory=LoopSettings)
    """How long and how."""

    def __post_init__(self) -> None:
        check_shape(self.model)
        for name in ("balance_weight", "router_z_weight"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"a weight cannot be {getattr(self, name):g}", where=name, advice="0 is off."
                )
        check_sharing(self.model, self.expert_processes)
        if self.neighbour_layers and isinstance(self.model, AIDOConfig):
            raise UsageError("an AIDO.Protein has none", where="neighbour_layers", advice="Leave it out.")
        if self.neighbour_layers and self.initial is not None:
            raise UsageError(
                "weights that are given already look somewhere",
                where="neighbour_layers",
                advice="Leave it out, or leave initial out.",
            )

    @property
    def is_mixture(self) -> bool:
        """Whether the model has experts."""
        return isinstance(self.model, AIDOConfig) and self.model.experts > 0


@dataclass(frozen=True)
class Corpus:
    """What the input held, and which of it trains."""

    sequences: Sequences
    rejected: list[Rejected]
    parts: Split

    @property
    def sha256(self) -> str:
        """Hash of all residues and lengths."""
        digest = sha256(self.sequences.residues.tobytes())
        digest.update(self.sequences.offsets.tobytes())
        return digest.hexdigest()


def pretrain(
    settings: Pretraining,
    corpus: Corpus,
    folder: Path,
    device: torch.device,
    processes: Processes | None = None,
) -> Outcome:
    """Train a new model, and leave it in the layout of Hugging Face in `folder`/model.

    Several processes take the steps of one; the first writes.
    """
    processes = processes or Processes()
    model = new_model(settings, device, processes)
    outcome = train(
        model,
        new_task(settings, model),
        training_stream(corpus, settings),
        evaluation_batches(corpus, settings.data),
        settings.training,
        folder,
        identity(settings, corpus),
        processes,
    )
    weights = put_together(model, {name: own.detach() for name, own in model.named_parameters()})
    if processes.is_first:
        if isinstance(model, ESM):
            calibrate_contacts(model, contact_sequences(corpus, settings.data), settings.neighbour_layers)
        whole: nn.Module = model
        if settings.expert_processes > 1:
            whole = build_empty(layout(settings.model), settings.model)
            whole.load_state_dict(weights, assign=True)
        save_folder(layout(settings.model), whole, folder / MODEL_FOLDER)
    return outcome


def contact_sequences(corpus: Corpus, data: DataSettings) -> list[NDArray[np.uint8]]:
    """What the scale of the contact head is taken from: some training sequences, cut to one window each."""
    return [
        corpus.sequences[int(number)][: data.window] for number in corpus.parts.training[:_CONTACT_SEQUENCES]
    ]


def read_corpus(settings: Pretraining) -> Corpus:
    """Read the input and choose the hold-out: the same for the same sequences, seed and share."""
    texts: list[str] = []
    rejected: list[Rejected] = []
    for path in _inputs(settings.data.input):
        for record in read_records(path):
            if isinstance(record, Rejected):
                rejected.append(record)
            else:
                texts.append(record.sequence)
    if not texts:
        raise UsageError("holds no sequence that can be used", where=settings.data.input)
    sequences = Sequences.gather(texts)
    return Corpus(sequences, rejected, _hold_out(sequences, settings))


def new_model(
    settings: Pretraining, device: torch.device, processes: Processes | None = None
) -> LanguageModel:
    """The model before its first step, of its experts those of this process alone.

    A contact head adds up attention as it is, and is not trained.
    """
    generator = torch.Generator().manual_seed(settings.training.seed)
    model: LanguageModel
    if settings.expert_processes > 1:
        assert isinstance(settings.model, AIDOConfig)
        sharing = settings.expert_processes
        model = shared_model(settings.model, settings.initial, generator, processes or Processes(), sharing)
    elif settings.initial is not None:
        model = initial_model(settings.model, settings.initial)
    else:
        model = fresh_model(settings.model, settings.neighbour_layers, generator)
    if model.contact is not None:
        model.contact.requires_grad_(False)
    return model.to(device)


def new_task(settings: Pretraining, model: LanguageModel) -> MaskedLanguage:
    """Hidden residues in the model's alphabet, and the losses of its routers."""
    return MaskedLanguage(model.alphabet, settings.balance_weight, settings.router_z_weight)


def training_stream(corpus: Corpus, settings: Pretraining) -> Stream:
    """Crops of the training sequences."""
    sequences = corpus.sequences.choose(corpus.parts.training)
    return Stream(sequences, settings.training.seed, settings.data.window, settings.data.batch_tokens)


def evaluation_batches(corpus: Corpus, data: DataSettings) -> list[list[NDArray[np.uint8]]]:
    """The first held-out sequences, cut to one window each, in batches."""
    batches: list[list[NDArray[np.uint8]]] = []
    room = 0
    for number in corpus.parts.holdout[: data.evaluation_sequences]:
        residues = corpus.sequences[int(number)][: data.window]
        if len(residues) + ENDS > room:
            batches.append([])
            room = data.batch_tokens
        batches[-1].append(residues)
        room -= len(residues) + ENDS
    return batches


def identity(settings: Pretraining, corpus: Corpus) -> dict[str, object]:
    """What must be equal for a run to go on, besides the loop's own settings."""
    plain = as_dict(settings)
    shape = {name: value for name, value in plain["model"].items() if name != "type"}
    # What was added later is None where it does not count, which is what a run that began before has: it goes on.
    later = {
        name: plain[name] if settings.is_mixture else None for name in ("balance_weight", "router_z_weight")
    }
    return {
        **{f"model.{name}": value for name, value in shape.items()},
        **later,
        "initial": settings.initial,
        "neighbour_layers": settings.neighbour_layers,
        **{f"data.{name}": plain["data"][name] for name in ("window", "batch_tokens", "holdout_share")},
        "the sequences": corpus.sha256,
    }


def _inputs(pattern: str) -> list[Path]:
    if not glob.has_magic(pattern):
        return [Path(pattern)]
    paths = sorted(Path(path) for path in glob.glob(pattern))
    if not paths:
        raise UsageError("no file fits this pattern", where=pattern)
    return paths


def _hold_out(sequences: Sequences, settings: Pretraining) -> Split:
    share = settings.data.holdout_share
    if share == 0:
        return Split(np.arange(len(sequences)), np.empty(0, dtype=np.int64))
    return split(sequences, share, settings.training.seed)
