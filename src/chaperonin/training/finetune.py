"""Fine-tuning: from labelled sequences to a model directory, one split at a time."""

import gc
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.adapt.lora import require_gradients
from chaperonin.adapt.prepare import prepare
from chaperonin.data.batching import plan_batches
from chaperonin.data.splitting import Parts
from chaperonin.layers.language import LanguageModel
from chaperonin.parallel.data import Processes
from chaperonin.tasks import TASKS, Supervised
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.encoder import alphabet_of, read_encoder
from chaperonin.tasks.features import in_chunks
from chaperonin.tasks.folder import Base, Trained, read_trained, save_trained
from chaperonin.tasks.heads import build_head
from chaperonin.tasks.items import FeatureItem, Item
from chaperonin.tasks.predictor import Predictor
from chaperonin.training import state
from chaperonin.training.examples import Examples, cut
from chaperonin.training.features import cached_features
from chaperonin.training.finetune_settings import FineTuning, planned
from chaperonin.training.judged import JudgedTraining, check_measure
from chaperonin.training.loop import LoopSettings, Outcome, Training
from chaperonin.training.material import Material
from chaperonin.training.means import apply_means, base_dtype, trainable_parameters
from chaperonin.training.precision import autocast_dtype
from chaperonin.weights.hub import resolve

UNFINISHED = "checkpoints/model"
"""The trained model before it is calibrated."""
EVALUATION_TOKENS = 4096
"""Tokens of a batch that is only evaluated."""


@dataclass(frozen=True)
class Learned:
    """A model as it comes out of the loop."""

    predictor: Predictor
    outcome: Outcome
    trainable: int
    parameters: int
    features: list[NDArray[np.float32]] | None
    """What a frozen base says of each example, where it was cached."""


@dataclass(frozen=True)
class Fitted:
    """A model that was trained on one split, and what it says of every example."""

    trained: Trained
    outcome: Outcome
    trainable: int
    parameters: int
    outputs: list[NDArray[Any]]
    """Logits of each example, of the training part too."""
    embeddings: NDArray[np.float32]
    """Mean embedding of each example, `[examples, width]`."""


def fit(
    settings: FineTuning,
    material: Material,
    parts: Parts,
    folder: Path,
    device: torch.device,
    processes: Processes | None = None,
    cache: Path | None = None,
) -> Fitted:
    """Train on one split and run the result over all examples. The same call goes on where it stopped.

    `cache` is where the vectors of a frozen base are kept, if not in the folder: folds share them.
    """
    processes = processes or Processes()
    learned = learn(settings, material, parts, folder, device, processes, cache)
    trained = _unfinished(settings, learned.predictor, folder, processes)
    outcome, trainable, parameters = learned.outcome, learned.trainable, learned.parameters
    features = learned.features
    del learned  # the model that was trained makes room for the one that predicts
    gc.collect()
    if features is None or settings.head.pooling == "cls":
        model, _ = prepare(trained.backbone(), "fp32", device)
        said = in_chunks(model, material.sequences, EVALUATION_TOKENS)
    else:
        said = enumerate(map(_as_vectors, features))
    outputs, embeddings = _outputs(trained, said, len(material.sequences))
    return Fitted(trained, outcome, trainable, parameters, outputs, embeddings)


def learn(
    settings: FineTuning,
    material: Material,
    parts: Parts,
    folder: Path,
    device: torch.device,
    processes: Processes | None = None,
    cache: Path | None = None,
) -> Learned:
    """Train on one split, from the newest checkpoint in the folder if there is one."""
    processes = processes or Processes()
    loop = planned(settings, len(parts.training))
    predictor = new_predictor(settings, material, loop, device)
    parameters = sum(own.numel() for own in predictor.parameters())
    features = None
    if settings.means.method == "frozen":
        if not processes.is_first:  # the first one computes them; the others wait, and read
            processes.from_first(None)
        features = cached_features(predictor, material.sequences, cache or folder, device)
        if processes.is_first:
            processes.from_first(None)
    training = new_training(settings, material, parts, predictor, features, processes)
    prove_gradients(training)
    (folder / state.FOLDER).mkdir(parents=True, exist_ok=True)
    outcome = training.run(folder)
    return Learned(predictor, outcome, trainable_parameters(training.model), parameters, features)


def new_training(
    settings: FineTuning,
    material: Material,
    parts: Parts,
    predictor: Predictor,
    features: Sequence[NDArray[np.float32]] | None = None,
    processes: Processes | None = None,
) -> Training[Any]:
    """The run, before its first step; with the features of a frozen base, only the head is in it."""
    loop = planned(settings, len(parts.training))
    items: Sequence[Item | FeatureItem] = material.items
    if features is not None:
        items = [FeatureItem(own, item.target) for own, item in zip(features, material.items, strict=True)]
    task: Any = new_task(settings, material, parts)
    check_measure(loop.best, material.target)
    return JudgedTraining(
        predictor if features is None else predictor.head,
        task,
        training_examples(settings, items, parts, loop),
        evaluation_batches(settings, items, parts),
        loop,
        identity(settings, material, parts),
        processes=processes,
    )


def new_task(settings: FineTuning, material: Material, parts: Parts) -> Supervised:
    """The task, with class weights of the training part."""
    training = material.choose(parts.training)
    return TASKS[material.target.level].weighted(
        material.target, training, settings.class_weights, alphabet_of(resolve(settings.model))
    )


def new_predictor(
    settings: FineTuning, material: Material, loop: LoopSettings, device: torch.device
) -> Predictor:
    """The base with a fresh head, and the means applied; the same for the same seed."""
    dtype = autocast_dtype(loop.precision, device)
    backbone = load_base(settings.model, base_dtype(settings.means, dtype), settings.means.base)
    torch.manual_seed(loop.seed)
    shape = settings.head
    head = build_head(
        material.target, backbone.config.width, shape.pooling, shape.hidden, shape.width, shape.dropout
    )
    predictor = Predictor(backbone, head, material.target)
    apply_means(predictor, settings.means, dtype)
    return predictor.to(device)


def load_base(
    name: str, dtype: torch.dtype = torch.float32, base: Literal["auto", "fp32", "bf16", "int8"] = "auto"
) -> LanguageModel:
    """The plain model of a name on the CPU, of a ProtST its protein tower.

    The matrices of its layers are in `dtype`, all else in fp32. Those of a mixture of experts come as bytes already
    where `base` says so: it is too large to be rounded afterwards.
    """
    folder = resolve(name)

    def kept(name: str, tensor: Tensor) -> Tensor:
        return tensor.to(dtype if name.startswith("layers.") and tensor.ndim == 2 else torch.float32)

    stored = "int8" if base == "int8" else "bf16" if dtype == torch.bfloat16 else "fp32"
    return read_encoder(folder, kept, stored)


def training_examples(
    settings: FineTuning, items: Sequence[Item | FeatureItem], parts: Parts, loop: LoopSettings
) -> Examples:
    """The stream of the training part: batch_size / accumulate examples at a time."""
    chosen: Any = [items[int(number)] for number in parts.training]
    size = settings.batch_size // loop.accumulate
    return Examples(chosen, loop.seed, size, settings.window, settings.task)


def evaluation_batches(
    settings: FineTuning, items: Sequence[Item | FeatureItem], parts: Parts
) -> list[list[Any]]:
    """The validation part, each sequence cut to its first window, in batches of equal cost."""
    chosen = [items[int(number)] for number in parts.validation]
    first = [
        cut(item, 0, settings.window, settings.task) if isinstance(item, Item) else item for item in chosen
    ]
    plan = plan_batches([len(item) + 2 for item in first], EVALUATION_TOKENS)
    return [[first[index] for index in batch] for batch in plan]


def prove_gradients(training: Training[Any]) -> None:
    """One probe batch: ChaperoninError names every trained tensor that gets no gradient."""
    place = training.stream.place
    batch = training.collate(next(training.stream), 0, 0).to(training.device)
    training.stream.place = place
    training.model.train()
    with training.autocast():
        loss, _ = training.task.loss(training.model, batch)
    require_gradients(training.model, loss)


def identity(settings: FineTuning, material: Material, parts: Parts) -> dict[str, Any]:
    """What must be equal for a run to go on, besides the loop's own settings."""
    return {
        "model": Base.of(settings.model).sha256,
        "the examples": material.dataset.sha256,
        "the split": [int(parts.training.sum()), int(parts.validation.sum()), len(parts.training)],
        "target": json.dumps(material.target.as_json()),
        "head": asdict(settings.head),
        "class_weights": str(settings.class_weights),
        "means": json.dumps(asdict(settings.means), sort_keys=True),
        "batch_size": settings.batch_size,
        "window": settings.window,
    }


def _unfinished(settings: FineTuning, predictor: Predictor, folder: Path, processes: Processes) -> Trained:
    """The model as it will be loaded, not yet calibrated."""
    place = folder / UNFINISHED
    if processes.is_first:
        method = settings.means.method
        save_trained(place, predictor, Base.of(settings.model), Calibration(), None, method=method)
    processes.from_first(None)  # the others wait until it is there
    return read_trained(place)


def _as_vectors(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cached features as `represent` gives them, `[length + 1, width]`: the row in front is not looked at.

    A mean is its own mean, so one row of it stands for all residues.
    """
    rows = np.atleast_2d(features)
    return np.concatenate([rows[:1], rows])


def _outputs(
    trained: Trained, said: Iterable[tuple[int, NDArray[np.float32]]], count: int
) -> tuple[list[NDArray[Any]], NDArray[np.float32]]:
    """Logits and mean embedding of each sequence, whole, as `predict` computes them."""
    outputs: list[NDArray[Any]] = [np.empty(0)] * count
    embeddings: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * count
    for number, vectors in said:
        outputs[number] = trained.outputs([vectors])[0].logits
        embeddings[number] = vectors[1:].mean(axis=0)
    return outputs, np.stack(embeddings)
