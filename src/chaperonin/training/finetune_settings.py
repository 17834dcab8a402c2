"""Every setting of a fine-tuning, and what follows from those that are left to the data."""

from dataclasses import dataclass, field, replace
from math import ceil
from typing import Literal

from chaperonin.data.labelled import LabelSettings
from chaperonin.data.splitting import SplitSettings
from chaperonin.data.windows import WINDOW
from chaperonin.errors import UsageError
from chaperonin.tasks.target import Kind, Level
from chaperonin.training.loop import LoopSettings
from chaperonin.training.means import Means, Method
from chaperonin.training.schedule import Schedule

PEAK: dict[Method, float] = {"full": 1e-4, "lora": 5e-4, "frozen": 3e-3}
"""Highest learning rate where none is given: what is trained from scratch bears more than what is only adjusted."""


@dataclass(frozen=True)
class HeadSettings:
    """What stands on the language model."""

    pooling: Literal["mean", "cls"] = "mean"
    """One vector of a protein: the mean over its residues, or the token in front."""
    hidden: Literal["none", "tanh", "relu"] = "none"
    """`tanh` is one layer more, as Hugging Face's classification head has it; with `cls` its classes open the model.
    `relu` is one layer more, as ProtST's head has it."""
    width: int = 0
    """Channels of that layer; 0: as many as the model has. Over pairs it is always there, with relu: 0 is 128."""
    dropout: float = 0.0
    """Share of what the head reads, and of its hidden layer, that training drops; not for pairs."""


@dataclass(frozen=True)
class FineTuneSchedule(Schedule):
    """Warm-up and fall; what is 0 follows from method and length of the run."""

    peak: float = 0.0
    """Highest learning rate; 0: 1e-4 for full, 5e-4 for LoRA, 3e-3 for a head alone."""
    warmup_steps: int = 0
    """Steps of linear rise; 0: `warmup_share` of all."""
    warmup_share: float = 0.06
    """Share of all steps, where `warmup_steps` does not say how many."""


@dataclass(frozen=True)
class FineTuneLoop(LoopSettings):
    """The loop, with lengths that follow from the epochs where they are 0."""

    steps: int = 0
    """Optimizer steps in all; 0: as many as the epochs have."""
    evaluate_every: int = 0
    """Steps between two evaluations; 0: once an epoch."""
    checkpoint_every: int = 0
    """Steps between two checkpoints; 0: once an epoch."""
    log_every: int = 10
    """Steps between two lines of training metrics."""
    keep_checkpoints: int = 1
    """Newest checkpoints that stay; the best stays too."""
    patience: int = 5
    """Evaluations without a better one after which the run ends. 0 never ends early."""
    schedule: FineTuneSchedule = field(default_factory=FineTuneSchedule)
    """The learning rate over the steps."""


@dataclass(frozen=True)
class Sweep:
    """What `--sweep` tries, each rate with each rank, by the best evaluation on the validation part (of each fold)."""

    learning_rates: tuple[float, ...] = ()
    """Peaks of the learning rate; by default a third, once and three times the usual one."""
    ranks: tuple[int, ...] = ()
    """Ranks of the adapters; by default only the one that is set."""
    epochs: float = 0.0
    """Passes of each trial; by default as many as the run itself."""


@dataclass(frozen=True)
class FineTuning:
    """A fine-tuning run."""

    task: Level = "sequence"
    """What has a label: each `sequence`, each `residue`, or `pairs` of residues."""
    kind: Kind | Literal["auto"] = "auto"
    """binary, multiclass, multilabel or regression; `auto` sees it from the labels."""
    classes: tuple[str, ...] = ()
    """Names of the classes in their order; by default those of the labels, sorted."""
    model: str = "chaperonin/esm2-tiny"
    """Hub name, folder, or the bundled model."""
    data: LabelSettings = field(default_factory=LabelSettings)
    """The labelled sequences."""
    split: SplitSettings = field(default_factory=SplitSettings)
    """Which of them train, choose the best weights, and test."""
    head: HeadSettings = field(default_factory=HeadSettings)
    """What stands on the language model."""
    class_weights: Literal["none", "balanced"] | dict[str, float] = "none"
    """`balanced`: a rare class counts as much as a common one; or a number per class."""
    means: Means = field(default_factory=Means)
    """How the model is fine-tuned, and what is spared."""
    epochs: float = 10.0
    """Passes over the training part."""
    batch_size: int = 32
    """Sequences of one optimizer step, in all `training.accumulate` batches and all processes together."""
    window: int = WINDOW
    """Residues of a crop of a longer training sequence. Predictions always read the whole sequence."""
    truncate: int = 0
    """Residues that are kept of a longer sequence, from its first one, with their labels: for protocols with a maximum
    length. Validation and test part too; a note says how many were cut. 0 keeps all."""
    training: FineTuneLoop = field(default_factory=FineTuneLoop)
    """How long and how."""
    sweep: Sweep = field(default_factory=Sweep)
    """What `--sweep` tries."""


def planned(settings: FineTuning, examples: int) -> LoopSettings:
    """The loop for so many training examples, with nothing left open. UsageError for what does not go together."""
    loop = settings.training
    _check(settings)
    per_epoch = max(1, ceil(examples / settings.batch_size))
    steps = loop.steps or max(1, round(settings.epochs * examples / settings.batch_size))
    schedule = replace(
        loop.schedule,
        peak=loop.schedule.peak or PEAK[settings.means.method],
        warmup_steps=loop.schedule.warmup_steps or max(1, round(loop.schedule.warmup_share * steps)),
    )
    return replace(
        loop,
        steps=steps,
        evaluate_every=loop.evaluate_every or per_epoch,
        checkpoint_every=loop.checkpoint_every or per_epoch,
        schedule=schedule,
    )


def _check(settings: FineTuning) -> None:
    accumulate = settings.training.accumulate
    if settings.batch_size < 1 or accumulate < 1 or settings.batch_size % accumulate:
        raise UsageError(
            f"{settings.batch_size} sequences a step cannot be cut into {accumulate} equal batches",
            where="batch_size, training.accumulate",
            advice="Make batch_size a multiple of training.accumulate.",
        )
    if settings.window < 1 or settings.epochs <= 0:
        raise UsageError("window and epochs must be above 0", where="window, epochs")
    if settings.split.validation_share <= 0 and settings.training.patience:
        raise UsageError(
            "without a validation part nothing says when to end early",
            where="split.validation_share",
            advice="Give it a share, or set training.patience=0.",
        )
