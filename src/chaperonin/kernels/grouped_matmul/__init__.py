"""One linear product per group of rows: the experts of a mixture.

Contract: `grouped_matmul(x, weight, bias, counts, gate)` with x `[rows, inputs]`, of which the first `counts[0]` rows
belong to group 0, the next `counts[1]` to group 1 and so on, returns `[rows, outputs]`: each row times the weight of
its group `[groups, outputs, inputs]`, transposed, plus its bias `[groups, outputs]`. With a gate, one half of that
times the activation of the other: `[rows, outputs / 2]`. `counts` is a tensor on x's device: no body but the reference
waits for a GPU to learn it. `weight` is a plain tensor or `PackedGroups`, one prepared weight per group.
"""

from typing import cast

import torch
from torch import Tensor

from chaperonin.kernels.grouped_matmul import int8_native, loop_cpu, packed_cpu, reference, torch_grouped
from chaperonin.kernels.grouped_matmul.gates import Gate
from chaperonin.kernels.grouped_matmul.packed_cpu import PackedGroups
from chaperonin.kernels.registry import Operation
from chaperonin.shapes import Float, Int

operation = Operation(
    "grouped_matmul", order=("int8_native", "packed_cpu", "loop_cpu", "torch_grouped", "reference")
)
for _module in (int8_native, packed_cpu, loop_cpu, torch_grouped, reference):
    operation.register(_module)


def grouped_matmul(
    x: Float[Tensor, "rows inputs"],
    weight: Tensor | PackedGroups,
    bias: Float[Tensor, "groups outputs"] | None,
    counts: Int[Tensor, " groups"],
    gate: Gate | None = None,
) -> Float[Tensor, "rows channels"]:
    """gate(x weightᵀ + bias) with each row's own weight and bias; the fastest body that takes this weight."""
    if torch.is_autocast_enabled(x.device.type):  # as PyTorch does of its own products
        dtype = torch.get_autocast_dtype(x.device.type)
        x, bias = x.to(dtype), None if bias is None else bias.to(dtype)
        weight = weight.to(dtype) if isinstance(weight, Tensor) else weight
    return cast(Tensor, operation(x, weight, bias, counts, gate))
