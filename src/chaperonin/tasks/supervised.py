"""What the tasks with labels have in common: batches, loss and outputs. A level adds how its labels lie."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from chaperonin.errors import UsageError
from chaperonin.kernels.segments import Segments
from chaperonin.protein.alphabet import ESM_ALPHABET, Alphabet
from chaperonin.tasks.items import FeatureBatch, FeatureItem, Item, LabelledBatch, Truth
from chaperonin.tasks.predictor import Logits, Predictor, run_head
from chaperonin.tasks.target import Level, Target
from chaperonin.tasks.weights import ClassWeights, class_weights


class Supervised(ABC):
    """A task with labels.

    Sums, not means: with class weights, `targets` is the sum of the labels' weights, as torch's CrossEntropyLoss
    divides, so that a batch cut in two adds up. For multi-label it is the number of labels, as torch's
    BCEWithLogitsLoss divides.
    """

    level: ClassVar[Level]

    def __init__(
        self, target: Target, class_weights: Tensor | None = None, alphabet: Alphabet = ESM_ALPHABET
    ) -> None:
        if target.level != self.level:
            raise UsageError(
                f"{type(self).__name__} predicts for {self.level}, the target is for {target.level}"
            )
        self.target = target
        self.class_weights = None if class_weights is None else class_weights.numpy()
        self.alphabet = alphabet
        """The model's; the tokens of Items are ESM's, whatever the model."""

    @classmethod
    def weighted(
        cls,
        target: Target,
        records: Iterable[Item | FeatureItem],
        given: ClassWeights = "none",
        alphabet: Alphabet = ESM_ALPHABET,
    ) -> Self:
        """The task with class weights that follow from the records of the training part."""
        plain = cls(target)
        labels = (plain.labels(record) for record in records)
        return cls(target, class_weights(target.kind, labels, given, target.classes), alphabet)

    @abstractmethod
    def labels(self, record: Item | FeatureItem) -> NDArray[Any]:
        """Labels of one record in the order of its logits, `[rows]` or `[rows, classes]`; -1 or nan: not known."""

    @abstractmethod
    def rows(self, logits: Logits) -> Tensor:
        """Logits of a batch in the order of `labels`: `[rows, outputs]`, or `[rows]` for pairs."""

    @abstractmethod
    def parts(self, logits: Logits, lengths: Sequence[int]) -> Sequence[Tensor]:
        """Logits of each record."""

    def collate(
        self, records: Sequence[Any], generator: np.random.Generator | None = None
    ) -> LabelledBatch | FeatureBatch:
        """A batch of Items, or of FeatureItems; nothing in it is random."""
        if isinstance(records[0], FeatureItem):
            return self.collate_features(records)
        numbers = self.alphabet.translation(ESM_ALPHABET)
        sequences = [self.alphabet.framed(numbers[record.tokens]) for record in records]
        segments = Segments([len(own) for own in sequences])
        stream = torch.from_numpy(np.concatenate(sequences))
        return LabelledBatch(stream, segments, self.truth(records), self.alphabet.added)

    def collate_features(self, records: Sequence[FeatureItem]) -> FeatureBatch:
        """A batch for the head alone."""
        features = np.concatenate([np.atleast_2d(record.features) for record in records])
        return FeatureBatch(
            torch.from_numpy(features), [len(record) for record in records], self.truth(records)
        )

    def truth(self, records: Sequence[Item | FeatureItem]) -> Truth:
        """Labels of a batch with their weights."""
        labels = np.concatenate([self.labels(record) for record in records])
        if self.target.kind == "regression":
            is_known = np.isfinite(labels)
            labels = self.target.standardised(labels)
        else:
            is_known = labels >= 0
        labels = np.where(is_known, labels, 0)
        weights = is_known.astype(np.float32)
        targets = float(weights.sum(dtype=np.float64))
        if self.class_weights is not None and self.target.kind == "multilabel":
            weights *= np.where(labels == 1, self.class_weights, 1)
        elif self.class_weights is not None:
            weights *= self.class_weights[labels]
            targets = float(weights.sum(dtype=np.float64))
        return Truth(torch.from_numpy(labels), torch.from_numpy(weights), targets)

    def loss(self, model: nn.Module, batch: LabelledBatch | FeatureBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sums of cross-entropy (nats) or squared error (deviations), and of right answers or error.

        model: a Predictor; for a FeatureBatch also a head alone.
        """
        logits = self.rows(self.logits(model, batch))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.target.outputs == 1 and logits.ndim == 2:
            logits = logits[:, 0]
        values, weights = batch.truth.values, batch.truth.weights
        loss = (self._terms(logits, values) * weights).sum()
        return loss, self._metrics(logits.detach(), values, weights)

    def logits(self, model: nn.Module, batch: LabelledBatch | FeatureBatch) -> Logits:
        """Logits as the predictor gives them."""
        if isinstance(batch, FeatureBatch):
            head = model.head if isinstance(model, Predictor) else model
            return run_head(head, batch.features, self.target, batch.lengths)
        return model(batch.tokens, batch.segments)

    @torch.no_grad()
    def outputs(self, model: nn.Module, batch: LabelledBatch | FeatureBatch) -> list[NDArray[Any]]:
        """Logits of each record: `[outputs]`, `[length, outputs]` or `[length, length]`. The caller sets `eval()`."""
        parts = self.parts(self.logits(model, batch), batch.lengths)
        return [part.to(torch.promote_types(part.dtype, torch.float32)).cpu().numpy() for part in parts]

    def _terms(self, logits: Tensor, values: Tensor) -> Tensor:
        """Loss of each label."""
        if self.target.kind == "regression":
            return (logits - values).square()
        if self.target.kind == "multiclass":
            return cross_entropy(logits, values, reduction="none")
        return binary_cross_entropy_with_logits(logits, values.to(logits.dtype), reduction="none")

    def _metrics(self, logits: Tensor, values: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Right answers, weighted as the loss is; absolute error in the user's unit."""
        if self.target.kind == "regression":
            return {"absolute_error": ((logits - values).abs() * weights).sum() * self.target.deviation}
        if self.target.kind == "multilabel":
            weights = (weights > 0).to(weights.dtype)  # counted as `targets` counts them
        said = logits.argmax(dim=-1) if self.target.kind == "multiclass" else (logits > 0).long()
        return {"accuracy": ((said == values) * weights).sum()}
