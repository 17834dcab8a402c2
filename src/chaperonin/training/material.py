"""What a fine-tuning learns from: labelled sequences, read, encoded and split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.labelled import Dataset, Example, LabelSettings, read_labelled
from chaperonin.data.leaks import Leak, leaks
from chaperonin.data.sources import Rejected
from chaperonin.data.splitting import Parts, SplitSettings, split_examples
from chaperonin.errors import InputError
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.tasks.items import Item
from chaperonin.tasks.labels import first_labels
from chaperonin.tasks.target import Kind, Level, Target, infer_target
from chaperonin.training.examples import cut
from chaperonin.training.finetune_settings import FineTuning


@dataclass(frozen=True)
class Material:
    """Examples whose labels can be read, and which of them train."""

    dataset: Dataset
    """The examples that are used, and all that was rejected."""
    target: Target
    items: list[Item]
    """Tokens and encoded label of each example, in the dataset's order."""
    splits: list[Parts]
    """One, or one per fold."""

    @property
    def sequences(self) -> list[str]:
        """Residues of each example."""
        return [example.sequence for example in self.dataset.examples]

    def choose(self, numbers: NDArray[np.int64]) -> list[Item]:
        """Items of some examples."""
        return [self.items[int(number)] for number in numbers]

    @cached_property
    def leaks(self) -> list[Leak]:
        """Pairs of nearly identical sequences on two sides of a split, of every fold."""
        return leaks(self.sequences, self.splits)

    @property
    def warnings(self) -> list[str]:
        """What a reader should know before trusting a figure: leaks, odd splits, records that were left out."""
        found = [*self.dataset.notes]
        if note := self.splits[0].note:
            found.append(note)
        if self.leaks:
            first = self.leaks[0]
            count = len({leak.second for leak in self.leaks})
            ids = [self.dataset.examples[number].id for number in (first.first, first.second)]
            found.append(
                f"warning: {count:,} held-out sequences are nearly identical to one in another part "
                f"({ids[1]} to {ids[0]}, {first.identity:.0%} identical): figures will be too good. "
                "Use split.method=cluster."
            )
        return found


def material_of(settings: FineTuning) -> Material:
    """What the settings of a fine-tuning read."""
    own = settings
    return read_material(own.data, own.split, own.task, own.kind, own.classes, own.truncate)


def read_material(
    data: LabelSettings,
    split: SplitSettings,
    level: Level,
    kind: Kind | Literal["auto"] = "auto",
    classes: Sequence[str] = (),
    truncate: int = 0,
) -> Material:
    """Read, encode and split. A label that cannot be read rejects its record; InputError when nothing is left.

    Values of a regression are standardised by the first training part. truncate: residues that are kept of a longer
    sequence, 0 for all.
    """
    if split.group_column and not data.group_column:
        data = replace(data, group_column=split.group_column)
    dataset = read_labelled(data)
    target = infer_target([example.label for example in dataset.examples], level, kind, classes)
    examples, items, rejected = _encode(dataset, target)
    if not examples:
        raise rejected[0].error
    notes = dataset.notes
    if truncate and (longer := sum(len(item) > truncate for item in items)):
        notes = [*notes, f"{longer:,} sequences cut after {truncate:,} residues (truncate)"]
        both = [_truncated(*own, truncate, level) for own in zip(examples, items, strict=True)]
        examples, items = [example for example, _ in both], [item for _, item in both]
    kept = replace(dataset, examples=examples, rejected=[*dataset.rejected, *rejected], notes=notes)
    splits = split_examples(kept, split)
    if target.kind == "regression":
        known = [np.atleast_1d(items[int(number)].target) for number in splits[0].training]
        target = target.fitted(np.concatenate(known))
    return Material(kept, target, items, splits)


def _encode(dataset: Dataset, target: Target) -> tuple[list[Example], list[Item], list[Rejected]]:
    examples: list[Example] = []
    items: list[Item] = []
    rejected: list[Rejected] = []
    for example in dataset.examples:
        try:
            label = target.encode(example.label, len(example.sequence), example.where)
        except InputError as error:
            rejected.append(Rejected(example.number, example.id, example.where, error))
            continue
        tokens = ESM_ALPHABET.indices(example.sequence).astype(np.uint8)
        examples.append(example)
        items.append(Item(tokens, label))
    return examples, items, rejected


def _truncated(example: Example, item: Item, residues: int, level: Level) -> tuple[Example, Item]:
    """The first residues of an example, and what is known of them."""
    if len(item) <= residues:
        return example, item
    label = first_labels(example.label, level, residues)
    return replace(example, sequence=example.sequence[:residues], label=label), cut(item, 0, residues, level)
