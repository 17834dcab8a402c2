"""Every body of every operation equals its reference, or says why it cannot run here.

The suite walks the registry: a new body is tested by being registered. What an operation's arguments look like
stands once, in CASES.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from chaperonin.errors import UnavailableError
from chaperonin.kernels import (
    attention,
    gated_attention,
    grouped_matmul,
    linear,
    outer_product_mean,
    pair_scores,
    registry,
    transition,
    triangle_multiplication,
)
from chaperonin.kernels.attention import packed_cuda
from chaperonin.kernels.gated_attention import AttentionWeights
from chaperonin.kernels.grouped_matmul import PackedGroups
from chaperonin.kernels.host_memory import resident_bytes, return_free_memory
from chaperonin.kernels.linear import int8, int8_native, onednn
from chaperonin.kernels.linear.rounding import RoundedWeight, round_weight
from chaperonin.kernels.pair_scores import ScoreWeights
from chaperonin.kernels.registry import OPERATIONS, Body, Operation
from chaperonin.kernels.segments import Segments
from chaperonin.kernels.transition import TransitionWeights
from chaperonin.kernels.triangle_multiplication import TriangleWeights

DEVICES = [
    pytest.param(torch.device("cpu"), id="cpu"),
    pytest.param(torch.device("cuda"), id="cuda", marks=pytest.mark.gpu),
]
BODIES = [
    pytest.param(operation, body, id=f"{operation.name}-{body.name}")
    for operation in OPERATIONS.values()
    for body in operation.bodies.values()
]
LENGTHS = [(1,), (2,), (3, 1), (7, 7, 7), (1, 2, 1, 33), (129, 64, 64, 5), (257, 1)]
HEADS = [(1, 8), (4, 16), (20, 24), (3, 64)]
ROWS = [(1, 8, 8), (5, 33, 17), (257, 64, 192), (300, 480, 96), (1025, 24, 40)]
"""(rows, inputs, outputs): sizes that blocks divide and sizes that none does."""

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}
"""Relative to the largest value of the reference: a few roundings of the dtype, sums in another order."""
INT8_TOLERANCE = 3e-2
"""Two roundings to 1/255 of a row's and 1/127 of a channel's range."""
HALF = {"packed_cuda", "half_cpu"}
"""Bodies for half precision alone."""

WEIGHTS = (AttentionWeights, TransitionWeights, ScoreWeights, TriangleWeights)

Case = tuple[tuple[Any, ...], tuple[Any, ...]]
"""Arguments of a body, and those of the reference."""


def attention_cases(body: Body, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    for lengths in LENGTHS:
        for heads, head_dim in HEADS:
            segments = Segments(lengths)
            streams = [
                random_tensor(segments.total, heads, head_dim, device=device, dtype=dtype, seed=number)
                for number in range(3)
            ]
            arguments = (*streams, segments, head_dim**-0.5)
            yield arguments, arguments


def linear_cases(body: Body, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    for rows, inputs, outputs in ROWS:
        x = random_tensor(rows, inputs, device=device, dtype=dtype)
        weight = random_tensor(outputs, inputs, device=device, dtype=dtype) / inputs**0.5
        bias = random_tensor(outputs, device=device, dtype=dtype)
        residual = random_tensor(rows, outputs, device=device, dtype=dtype)
        for options in ((None, None, None), (bias, None, None), (bias, "gelu", None), (bias, None, residual)):
            prepared = PREPARE.get(body.name, plain)(weight)
            # Gradients go through the weight that the bytes stand for, so that is what the reference gets.
            right = prepared.plain() if isinstance(prepared, RoundedWeight) else weight
            yield (x, prepared, *options), (x, right.to(dtype), *options)


def gated_attention_cases(body: Body, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    for rows, length in ((1, 1), (3, 7), (5, 33), (2, 130)):
        for heads, head_dim in ((1, 8), (4, 16), (8, 32), (3, 5)):
            width = heads * head_dim
            shapes = ((width,), (width,), (4 * width, width), (heads, head_dim), (width, width), (width,))
            weights = AttentionWeights(*random_weights(shapes, device, dtype))
            x = random_tensor(rows, length, width, device=device, dtype=dtype)
            bias = random_tensor(heads, length, length, device=device, dtype=dtype)
            everything = torch.ones(rows, length, device=device, dtype=dtype)
            some = everything.clone()
            some[0], some[-1, 1:] = 0, 0  # no key at all; one key
            for mask in (everything, some):
                for pair_bias in (None, bias):
                    # Without gradient a body may overwrite its input.
                    yield (x.clone(), mask, pair_bias, weights), (x.clone(), mask, pair_bias, weights)
            turned = random_tensor(length, rows, width, device=device, dtype=dtype)
            arguments = (everything.T.contiguous().T, bias, weights)
            yield (turned.clone().transpose(0, 1), *arguments), (turned.clone().transpose(0, 1), *arguments)


def transition_cases(body: Body, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    for rows, length, width, hidden in ((1, 1, 8, 32), (3, 7, 24, 40), (5, 33, 64, 256), (2, 130, 33, 70)):
        shapes = ((width,), (width,), (hidden, width), (hidden,), (width, hidden), (width,))
        weights = TransitionWeights(*random_weights(shapes, device, dtype))
        x = random_tensor(rows, length, width, device=device, dtype=dtype)
        yield (x.clone(), weights), (x.clone(), weights)


def pair_scores_cases(body: Body, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    for length, width, heads in ((1, 8, 4), (7, 24, 3), (33, 64, 8), (130, 16, 20)):
        weights = ScoreWeights(*random_weights(((width,), (width,), (heads, width)), device, dtype))
        pair = random_tensor(length, length, width, device=device, dtype=dtype)
        for own in (pair, pair.transpose(0, 1)):
            yield (own, weights), (own, weights)


def triangle_multiplication_cases(body: Body, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    for length in (1, 7, 33):
        for width, channels in ((8, 8), (16, 24)):
            pair = random_tensor(length, length, width, device=device, dtype=dtype)
            mask = (random_tensor(length, length, device=device, dtype=dtype) > -1).to(dtype)
            shapes = ((width,), (2 * channels, width), (2 * channels, width))
            shapes += ((channels,), (width, channels), (width, width))
            weights = TriangleWeights(
                *random_weights([own for shape in shapes for own in (shape, shape[:1])], device, dtype)
            )
            for outgoing in (True, False):
                # Without gradient a body may overwrite the pairs.
                yield (pair.clone(), mask, weights, outgoing), (pair.clone(), mask, weights, outgoing)


def outer_product_mean_cases(body: Body, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    for sequences, length, channels, width in (
        (1, 5, 8, 16),
        (3, 33, 8, 16),
        (70, 21, 8, 16),
        (2, 1, 32, 128),
    ):
        mask = torch.ones(sequences, length, device=device, dtype=dtype)
        mask[-1, 1::2] = (
            0 if sequences > 1 else 1
        )  # every pair is seen once: the bias over next to nothing is huge
        left = random_tensor(sequences, length, channels, device=device, dtype=dtype) * mask[..., None]
        right = (
            random_tensor(sequences, length, channels + 1, device=device, dtype=dtype)[..., 1:]
            * mask[..., None]
        )
        out = random_tensor(width, channels * channels, device=device, dtype=dtype) / channels
        rest = (left, right, mask, out, random_tensor(width, device=device, dtype=dtype))
        pair = random_tensor(length, length, width, device=device, dtype=dtype)
        yield (pair.clone(), *rest), (pair.clone(), *rest)


def grouped_matmul_cases(body: Body, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    for counts, inputs, outputs in (((1,), 8, 16), ((3, 0, 130, 1), 24, 32), ((0, 65, 0), 48, 16)):
        x = random_tensor(sum(counts), inputs, device=device, dtype=dtype)
        shapes = [(len(counts), outputs, inputs), (len(counts), outputs)]
        weight, bias = random_weights(shapes, device, dtype)
        make = {"packed_cpu": onednn.prepare, "int8_native": int8_native.prepare}.get(body.name)
        prepared = weight if make is None else PackedGroups(tuple(map(make, weight)))
        rows = torch.tensor(counts, device=device)
        for add, gate in ((None, None), (bias, None), (bias, "swiglu"), (None, "geglu")):
            yield (x, prepared, add, rows, gate), (x, weight, add, rows, gate)


def random_weights(
    shapes: Iterable[tuple[int, ...]], device: torch.device, dtype: torch.dtype
) -> list[Tensor]:
    """So large that numbers keep their size."""
    return [
        random_tensor(*shape, device=device, dtype=dtype, seed=number) / shape[-1] ** 0.5
        for number, shape in enumerate(shapes)
    ]


def plain(weight: Tensor) -> Tensor:
    return weight


PREPARE: dict[str, Callable[[Tensor], Any]] = {
    "onednn": onednn.prepare,
    "int8": int8.prepare,
    "int8_frozen": round_weight,
    "int8_native": int8_native.prepare,
}
CASES: dict[str, Callable[[Body, torch.device, torch.dtype], Iterator[Case]]] = {
    "attention": attention_cases,
    "linear": linear_cases,
    "gated_attention": gated_attention_cases,
    "transition": transition_cases,
    "pair_scores": pair_scores_cases,
    "triangle_multiplication": triangle_multiplication_cases,
    "outer_product_mean": outer_product_mean_cases,
    "grouped_matmul": grouped_matmul_cases,
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("operation", "body"), BODIES)
def test_a_body_equals_the_reference_or_refuses(
    operation: Operation, body: Body, device: torch.device, dtype: torch.dtype
) -> None:
    reference = operation.bodies["reference"]
    require(device)
    if missing := body.lacks():
        with (
            pytest.raises(UnavailableError, match="cannot run here"),
            registry.use(**{operation.name: body.name}),
        ):
            pass
        pytest.skip(f"{body.name}: {missing}")
    for ours, theirs in CASES[operation.name](body, device, dtype):
        with torch.inference_mode():
            if not body.supports(*ours):
                with pytest.raises(UnavailableError), registry.use(**{operation.name: body.name}):
                    operation(*ours)
                continue
            with registry.use(**{operation.name: body.name}):
                result = operation(*ours)
            expected = reference.run(*theirs)
        assert result.shape == expected.shape and result.dtype == expected.dtype
        tolerance = max(TOLERANCE[dtype], INT8_TOLERANCE if "int8" in body.name else 0.0)
        assert relative_difference(result, expected) < tolerance


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("operation", "body"), BODIES)
def test_gradients_equal_the_reference_or_are_refused(
    operation: Operation, body: Body, device: torch.device
) -> None:
    require(device)
    if missing := body.lacks():
        pytest.skip(f"{body.name}: {missing}")
    dtype = torch.bfloat16 if body.name in HALF else torch.float32
    for ours, theirs in CASES[operation.name](body, device, dtype):
        # What a prepared body got as weight is no tensor; the input alone asks for a gradient then.
        for leaf in (*leaves(ours), *leaves(theirs)):
            leaf.requires_grad_()
        if not body.supports(*ours):
            with pytest.raises(UnavailableError), registry.use(**{operation.name: body.name}):
                operation(*ours)
            continue
        asked = [number for number, argument in enumerate(ours) if leaves([argument])]
        result = body.run(*ours)
        expected = operation.bodies["reference"].run(*theirs)
        direction = torch.randn_like(expected)
        wanted = [leaves(arguments[number] for number in asked) for arguments in (ours, theirs)]
        own = torch.autograd.grad(result, wanted[0], direction, materialize_grads=True)
        right = torch.autograd.grad(expected, wanted[1], direction, materialize_grads=True)
        if body.name in HALF:  # what cancels in one gradient was rounded at the size of the others
            own, right = [join(own)], [join(right)]
        for gradient, reference in zip(own, right, strict=True):
            # Fewer digits than forward: fused attention recomputes its weights with a faster exponential.
            digits = TOLERANCE[dtype] if body.name in HALF else 10 * TOLERANCE[dtype]
            tolerance = INT8_TOLERANCE if "int8" in body.name else digits
            assert relative_difference(gradient, reference) < tolerance


@pytest.mark.parametrize(("operation", "body"), BODIES)
def test_a_body_can_be_asked_for_by_name(operation: Operation, body: Body) -> None:
    if missing := body.lacks():
        pytest.skip(f"{body.name}: {missing}")
    device = torch.device("cuda" if "cuda" in body.name else "cpu")
    dtype = torch.bfloat16 if body.name in HALF else torch.float32
    ours, _ = next(CASES[operation.name](body, device, dtype))
    with torch.inference_mode(), registry.use(**{operation.name: body.name}):
        assert operation.choose(*ours).name == body.name


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.name)
def test_the_reference_takes_what_every_other_body_takes_and_comes_last(operation: Operation) -> None:
    assert operation.order[-1] == "reference"
    assert set(operation.order) == set(operation.bodies)
    assert operation.bodies["reference"].lacks() == ""


def test_every_operation_has_cases() -> None:
    assert set(CASES) == set(OPERATIONS)
    found = (attention, linear, gated_attention, transition, pair_scores)
    found += (triangle_multiplication, outer_product_mean, grouped_matmul)
    assert {module.operation.name for module in found} == set(OPERATIONS)


def require(device: torch.device) -> None:
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def random_tensor(*shape: int, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """The same numbers each time; of one shape, other ones with another seed."""
    generator = torch.Generator().manual_seed(sum(shape) + 1_000_003 * seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)


def leaves(arguments: Iterable[Any]) -> list[Tensor]:
    """All tensors among arguments, those in tuples too."""
    found: list[Tensor] = []
    for own in arguments:
        if isinstance(own, Tensor):
            if own.is_floating_point():
                found.append(own)
        elif isinstance(own, WEIGHTS):
            found += own
    return found


def join(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def relative_difference(result: Tensor, expected: Tensor) -> float:
    difference = (result.double() - expected.double()).abs().max()
    return float(difference / expected.double().abs().max().clamp_min(1e-2))


def test_a_length_that_is_new_costs_the_backward_pass_in_half_precision_no_memory() -> None:
    """Once the filled lengths were met; PyTorch's own pass keeps 3 MB for each (90 MB for these thirty)."""
    for length in (*range(64, 1025, 64), *range(33, 1000, 33)):
        half_attention(length)
    before = settled_bytes()
    for length in range(35, 1000, 33):
        half_attention(length)
    assert settled_bytes() - before < 10e6


def half_attention(length: int) -> None:
    streams = [torch.randn(length, 2, 32, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    attention.attention(*streams, Segments([length]), 1.0).sum().backward()


def settled_bytes() -> int:
    return_free_memory()
    return resident_bytes()


def test_pytorchs_kernel_for_packed_attention_on_a_gpu_takes_our_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a GPU: its shapes and types alone, by tensors that hold nothing. The `gpu` tests compare numbers."""
    monkeypatch.setattr(packed_cuda, "varlen_attn", import_module("torch.nn.attention.varlen").varlen_attn)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        streams = [torch.empty(20, 4, 32, dtype=torch.bfloat16, device="cuda") for _ in range(3)]
        attended = packed_cuda.attention(*streams, Segments([7, 13]), 0.5)
    assert attended.shape == (20, 4, 32)
    assert attended.dtype == torch.bfloat16 and attended.device.type == "cuda"
