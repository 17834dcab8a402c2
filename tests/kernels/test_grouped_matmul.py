"""PyTorch's grouped product as it is called on a GPU, tried where PyTorch runs it on a CPU; gates; shapes alone."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from chaperonin.kernels.grouped_matmul import grouped_matmul, reference, torch_grouped
from chaperonin.kernels.grouped_matmul.gates import GATES, Gate, gated


def arguments(dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((20, 16), (4, 32, 16), (4, 32))
    tensors = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    return (*tensors, torch.tensor([3, 0, 10, 7]))


@pytest.mark.parametrize("gate", [None, *GATES])
def test_pytorchs_grouped_product_with_bias_and_gate_equals_the_loop(gate: Gate | None) -> None:
    own = arguments()
    found, expected = (module.grouped_matmul(*own, gate) for module in (torch_grouped, reference))
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(expected)
    for ours, theirs in zip(*(torch.autograd.grad(own_result, own[:3], direction) for own_result in (found, expected)),
                            strict=True):  # fmt: skip
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("gate", GATES)
def test_a_gates_gradient_is_that_of_its_formula(gate: Gate) -> None:
    x = torch.randn(5, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda own: gated(own, gate), (x,))
    with torch.inference_mode():
        torch.testing.assert_close(gated(x, gate), reference.grouped_matmul(x, torch.eye(12, dtype=x.dtype)[None], None,
                                                                            torch.tensor([5]), gate))  # fmt: skip


def test_autocast_narrows_the_product_as_pytorchs_own() -> None:
    own = arguments()
    with torch.autocast("cpu", torch.bfloat16):
        found = grouped_matmul(*own)
    assert found.dtype == torch.bfloat16
    exact: Tensor = reference.grouped_matmul(*own, None)
    assert (found.float() - exact).abs().max() < 0.1
    found.float().sum().backward()
    assert own[1].grad.dtype == torch.float32


def test_shapes_alone_have_their_way_there_and_back() -> None:
    with FakeTensorMode() as mode:
        own = [mode.from_tensor(tensor) for tensor in arguments()]
        result = grouped_matmul(*own, "swiglu")
        assert result.shape == (20, 16)
        gradients = torch.autograd.grad(result.sum(), own[:3])
        assert [gradient.shape for gradient in gradients] == [(20, 16), (4, 32, 16), (4, 32)]
