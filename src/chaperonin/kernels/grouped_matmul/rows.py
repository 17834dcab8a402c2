"""How many rows each group has, on the host."""

from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def row_counts(counts: Tensor, rows: int) -> list[int]:
    """The counts as numbers; of tensors that are shapes alone (a forecast of memory) an even share of the rows each."""
    if isinstance(counts, FakeTensor):
        share, more = divmod(rows, len(counts))
        return [share + (group < more) for group in range(len(counts))]
    return [int(count) for count in counts.tolist()]
