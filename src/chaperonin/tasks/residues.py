"""A property of every residue: secondary structure, disorder, binding."""

from collections.abc import Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from chaperonin.errors import InputError
from chaperonin.tasks.items import FeatureItem, Item
from chaperonin.tasks.predictor import Logits
from chaperonin.tasks.supervised import Supervised
from chaperonin.tasks.target import Level


class ResidueProperty(Supervised):
    """One label for each residue."""

    level: ClassVar[Level] = "residue"

    def labels(self, record: Item | FeatureItem) -> NDArray[Any]:
        """As they are; InputError where there is not one for each residue."""
        # In a batch, too many of one record and too few of the next would not be noticed.
        if len(record.target) != len(record):
            raise InputError(f"{len(record.target)} labels for {len(record)} residues")
        return record.target

    def rows(self, logits: Logits) -> Tensor:
        """As they are: one row a residue."""
        assert isinstance(logits, Tensor)
        return logits

    def parts(self, logits: Logits, lengths: Sequence[int]) -> Sequence[Tensor]:
        """`[length, outputs]` of each protein."""
        return self.rows(logits).split(list(lengths))
