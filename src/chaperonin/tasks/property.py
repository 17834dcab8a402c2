"""A property of a whole protein: where it is, what it does, how stable it is."""

from collections.abc import Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from chaperonin.tasks.items import FeatureItem, Item
from chaperonin.tasks.predictor import Logits
from chaperonin.tasks.supervised import Supervised
from chaperonin.tasks.target import Level


class SequenceProperty(Supervised):
    """One label for each protein."""

    level: ClassVar[Level] = "sequence"

    def labels(self, record: Item | FeatureItem) -> NDArray[Any]:
        """The label as one row."""
        return record.target[None]

    def rows(self, logits: Logits) -> Tensor:
        """As they are: one row a protein."""
        assert isinstance(logits, Tensor)
        return logits

    def parts(self, logits: Logits, lengths: Sequence[int]) -> Sequence[Tensor]:
        """`[outputs]` of each protein."""
        return self.rows(logits).unbind()
