"""Which items go into which batch."""

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of the items of each batch, longest items first, so that equal lengths meet.

    Every index appears once. A batch holds at most `token_budget` tokens, or one item that is longer. The
    same arguments always give the same plan.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    tokens = 0
    for index in order:
        if batches and tokens + lengths[index] <= token_budget:
            batches[-1].append(index)
            tokens += lengths[index]
        else:
            batches.append([index])
            tokens = lengths[index]
    return batches
