"""Cores that run sequences of their own give what one pass gives."""

import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chaperonin.adapt.prepare import prepare
from chaperonin.kernels.hardware import lacks_bf16
from chaperonin.kernels.linear import lacks_int8
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.parallel.cores import CORE_TOKENS, run_on_cores, split

CPU = torch.device("cpu")
LENGTHS = [90, 300, 12, 410, 55, 230, 160, 77, 340, 120, 64, 250]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("precision", "bound"),
    [
        ("fp32", 1e-5),
        pytest.param(
            "bf16", 0.05, marks=pytest.mark.skipif(bool(lacks_bf16(CPU)), reason="needs native bf16")
        ),
        pytest.param(
            "int8", 1e-5, marks=pytest.mark.skipif(bool(lacks_int8()), reason="needs 8-bit products")
        ),
    ],
)
def test_cores_give_what_one_pass_gives(precision: str, bound: float) -> None:
    torch.manual_seed(0)
    plain = ESM(ESMConfig(width=64, depth=3, heads=4, inner_width=256))
    for parameter in plain.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    model, _ = prepare(plain, precision, CPU)  # type: ignore[arg-type]
    segments = Segments(LENGTHS)
    tokens = torch.randint(4, 24, (segments.total,))
    with torch.inference_mode():
        expected = model(tokens, segments)
    threads: set[str] = set()

    def watched(tokens: Tensor, segments: Segments) -> Tensor:
        threads.add(threading.current_thread().name)
        return model(tokens, segments)

    found = run_on_cores(watched, tokens, segments)
    assert len(threads) == 2 and all(name.startswith("core") for name in threads)
    assert torch.get_num_threads() == 2
    scale = expected.abs().max()
    assert ((found - expected).abs().max() / scale).item() < bound  # sums in another order


@given(lengths=st.lists(st.integers(1, 900), min_size=1, max_size=40), count=st.integers(1, 6))
def test_parts_cover_everything_in_order_and_are_about_equal(lengths: list[int], count: int) -> None:
    segments = Segments(lengths)
    parts = split(segments, count)
    assert [number for own in parts for number in range(len(lengths))[own]] == list(range(len(lengths)))
    assert len(parts) in (1, count)
    sizes = [sum(lengths[own]) for own in parts]
    assert len(parts) == 1 or (min(sizes) > 0 and max(sizes) <= 1.25 * segments.total / count)
    assert len(parts) == 1 or segments.total >= count * CORE_TOKENS


def test_a_usual_batch_is_split_and_a_long_sequence_is_not() -> None:
    assert len(split(Segments([128] * 32), 2)) == 2
    assert len(split(Segments([4000, 90]), 2)) == 1
    assert len(split(Segments([400, 500]), 2)) == 1


@pytest.mark.parametrize(("policy", "parts"), [("passive", 1), ("PASSIVE", 1), ("active", 2), ("", 2)])
def test_uneven_shares_are_made_only_where_other_threads_do_not_sleep(
    policy: str, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    assert len(split(Segments([800, 700, 600]), 2)) == parts
    assert len(split(Segments([700, 680]), 2)) == 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_comes_out_after_all_have_ended() -> None:
    ended = []
    begun = threading.Event()

    def fail(tokens: Tensor, segments: Segments) -> Tensor:
        if segments.lengths[0] == 600:
            assert begun.wait(30)  # what has not begun by then never does
            raise MemoryError
        begun.set()
        time.sleep(0.1)
        ended.append(segments)
        return tokens

    with pytest.raises(MemoryError):
        run_on_cores(fail, torch.zeros(1210), Segments([600, 610]))
    assert len(ended) == 1
