import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from chaperonin.errors import UnavailableError
from chaperonin.kernels import attention
from chaperonin.kernels.linear import linear, onednn
from chaperonin.kernels.registry import OPERATIONS, Operation, use
from chaperonin.kernels.segments import Segments


def arguments() -> tuple[object, ...]:
    streams = [torch.randn(9, 2, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    return (*streams, Segments([4, 5]), 0.5)


def body(name: str, answer: object, supports: bool = True, lacks: str = "") -> ModuleType:
    module = ModuleType(name)
    module.NAME, module.NOTE = name, f"the {name} one"
    module.lacks = lambda: lacks
    module.supports = lambda *arguments: supports
    module.square = lambda *arguments: answer
    return module


@pytest.fixture
def square() -> Iterator[Operation]:
    operation = Operation("square", order=("fast", "reference"))
    yield operation
    del OPERATIONS["square"]


def test_the_first_body_that_supports_the_arguments_runs(square: Operation) -> None:
    square.register(body("fast", "fast"))
    square.register(body("reference", "plain"))
    assert square(3) == "fast"


def test_a_body_that_does_not_support_the_arguments_is_passed_over(square: Operation) -> None:
    square.register(body("fast", "fast", supports=False))
    square.register(body("reference", "plain"))
    assert square(3) == "plain"


def test_a_body_that_was_asked_for_and_does_not_support_the_arguments_raises(square: Operation) -> None:
    square.register(body("fast", "fast", supports=False))
    square.register(body("reference", "plain"))
    with use(square="fast"), pytest.raises(UnavailableError, match="fast"):
        square(3)


def test_a_body_that_the_machine_lacks_cannot_be_asked_for(square: Operation) -> None:
    square.register(body("fast", "fast", lacks="no such engine"))
    square.register(body("reference", "plain"))
    with pytest.raises(UnavailableError, match="no such engine"), use(square="fast"):
        pass


def test_a_name_outside_the_order_cannot_be_registered(square: Operation) -> None:
    with pytest.raises(ValueError, match="not in the order"):
        square.register(body("other", "other"))


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UnavailableError, match="packed_cpu"), use(attention="flash"):
        pass
    with pytest.raises(UnavailableError, match="attention"), use(convolution="reference"):
        pass


def test_asking_ends_with_the_block_also_after_an_error() -> None:
    operation = attention.operation
    fastest = "packed_cpu" if attention.native.lacks() else "native"
    with torch.inference_mode():
        assert operation.choose(*arguments()).name == fastest
        with pytest.raises(ZeroDivisionError), use(attention="reference"):
            assert operation.choose(*arguments()).name == "reference"
            raise ZeroDivisionError
        assert operation.choose(*arguments()).name == fastest


def test_a_gradient_chooses_a_body_that_has_one() -> None:
    query, *rest = arguments()
    query.requires_grad_()
    assert attention.operation.choose(query, *rest).name == "sdpa"


def test_prepared_weights_refuse_gradients_and_say_what_to_do() -> None:
    weight = onednn.prepare(torch.randn(4, 8))
    x = torch.randn(3, 8, requires_grad=True)
    with pytest.raises(UnavailableError, match="inference_mode"):
        linear(x, weight)


COMPILE = """
import torch
from chaperonin.kernels.registry import use
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm.model import ESM, ESMConfig

torch.manual_seed(0)
model = ESM(ESMConfig(width=32, depth=1, heads=2, inner_width=64))
tokens, segments = torch.randint(4, 24, (12,)), Segments([5, 7])
parameters = list(model.layers.parameters())

def loss(model):
    return model.lm_head(model(tokens, segments)).square().mean()

for name in ("sdpa", "reference"):
    with use(attention=name, linear="reference"):
        plain = torch.autograd.grad(loss(model), parameters)
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        traced = torch.autograd.grad(compiled(model), parameters)
    for expected, result in zip(plain, traced, strict=True):
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-4)
print("equal")
"""


@pytest.mark.slow
def test_training_compiles_in_one_graph_with_equal_gradients() -> None:
    """In a process of its own: the shape checks that tests put into every function cannot be traced."""
    command = [sys.executable, "-W", "ignore", "-c", COMPILE]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "equal\n"
