"""Slices cover every row once, fit their budget, and give on two cores what one call gives."""

import threading
import time

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from chaperonin.kernels.slices import add, change, each_slice, fill, most_bytes, slice_bytes, slices


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@given(
    rows=st.integers(0, 300),
    row_bytes=st.integers(1, 5000),
    budget=st.integers(1, 100_000),
    cores=st.integers(1, 5),
    least=st.integers(1, 40),
)
@example(
    rows=11, row_bytes=1, budget=3, cores=5, least=1
)  # three rows in each would leave nothing for the fifth
def test_slices_are_all_rows_and_fit(rows: int, row_bytes: int, budget: int, cores: int, least: int) -> None:
    with slice_bytes(budget):
        parts = list(slices(rows, row_bytes, "cpu", cores, least))
    assert [row for part in parts for row in range(rows)[part]] == list(range(rows))
    sizes = [len(range(rows)[part]) for part in parts]
    assert max(sizes, default=0) * row_bytes <= max(budget, least * row_bytes)
    if rows >= cores * least:
        assert len(parts) >= cores  # none of them idles
    assert not sizes or sizes[0] == max(sizes) <= min(sizes) + 1  # the forecast of memory asks the first


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("budget", [1, 3000, 1 << 30])
def test_in_slices_on_two_cores_as_at_once_with_gradient(budget: int) -> None:
    x, along = torch.randn(37, 5), torch.randn(37, 5)
    used: set[str] = set()

    def update(own: Tensor, other: Tensor) -> Tensor:
        used.add(threading.current_thread().name)
        return own.sin() * other

    expected = [add(x, update, 5, along), change(x, update, 5, along), fill((37, 5), update, 5, x, along)]
    assert not any(name.startswith("core") for name in used)
    with torch.inference_mode(), slice_bytes(budget):
        one = x.clone()
        found = [add(one, update, 5, along), change(x.clone(), update, 5, along)]
        found.append(fill((37, 5), update, 5, x, along))
        assert found[0] is one  # in place
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.clone(), theirs)
    assert any(name.startswith("core") for name in used)


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_slice_comes_out_and_later_slices_are_left() -> None:
    done = []

    def work(rows: slice) -> None:
        done.append(rows.start)
        if rows.start == 0:
            raise MemoryError("no memory")
        time.sleep(0.001)  # as if it computed

    with pytest.raises(MemoryError), torch.inference_mode(), slice_bytes(4):
        each_slice(torch.zeros(5000), 1, work)
    assert len(done) < 5000


@pytest.mark.usefixtures("two_threads")
def test_what_is_held_is_a_slice_for_each_core() -> None:
    with slice_bytes(1000):
        assert most_bytes(1000, 25) == 2 * 10 * 100
        assert most_bytes(3, 25) == 3 * 100  # two slices of two and one row
    assert most_bytes(0, 25) == 0
