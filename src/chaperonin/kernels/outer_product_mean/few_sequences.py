"""Outer product mean of few sequences: projected before it is summed, which is 32 times less work for one sequence."""

from torch import Tensor

from chaperonin.kernels.outer_product_mean.reference import EPSILON
from chaperonin.kernels.slices import add

NAME = "few_sequences"
NOTE = "projects one side first, where there are few sequences; any device, with gradient"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor) -> bool:
    """Fewer multiplications than outer products first: sequences · width < sequences · channels + width · channels."""
    return are_few(len(left), left.shape[-1], len(out))


def are_few(sequences: int, channels: int, width: int) -> bool:
    """Whether to project first takes less."""
    return sequences * width < channels * (sequences + width)


def outer_product_mean(
    pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor
) -> Tensor:
    """The sum over d of right[s, j, d] out[f, c, d] first; then one product over sequences and c."""
    sequences, length, channels = left.shape
    by_channel = out.unflatten(1, (channels, channels)).permute(2, 1, 0)  # d, c, f
    projected = (right.reshape(-1, channels) @ by_channel.flatten(1)).view(
        sequences, length, channels, len(out)
    )
    projected = projected.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)  # (s, c), (j, f)

    def update(own: Tensor, left: Tensor, seen: Tensor) -> Tensor:
        summed = (left.flatten(1) @ projected).view_as(own)
        return summed.add_(out_bias).div_((EPSILON + seen @ mask)[..., None])

    return add(pair, update, 2 * pair[0].numel(), left.transpose(0, 1), mask.T)
