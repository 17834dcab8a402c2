"""Threads that compute alone stay alone."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import torch

from chaperonin.kernels.cores import core_count, core_threads, on_cores


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_work_inside_work_does_not_wait_for_threads_that_wait_for_it() -> None:
    """All three are busy with the outer work: the inner one has nobody else to do it."""

    def inner(number: int) -> list[int]:
        return on_cores([number, number + 1, number + 2], lambda own: 10 * own)

    assert on_cores([0, 1, 2], inner) == [[0, 10, 20], [10, 20, 30], [20, 30, 40]]


def test_a_process_that_was_forked_has_threads_of_its_own() -> None:
    """The parent's are gone there: work would wait for them without end."""
    assert on_cores([1, 2], lambda own: own) == [1, 2]
    child = os.fork()
    if child == 0:
        os._exit(0 if on_cores([1, 2], lambda own: own) == [1, 2] else 1)
    end = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


def test_a_core_has_one_thread_whatever_others_set() -> None:
    with core_threads(1) as pool:
        pool.submit(int).result()  # it is there before the others change their number
        torch.set_num_threads(2)
        assert pool.submit(core_count).result() == 1
        assert pool.submit(torch.get_num_threads).result() == 1
    assert core_count() == 2
