"""When the heap is kept to what tensors need."""

import gc

import pytest

from chaperonin.kernels import host_memory
from chaperonin.kernels.host_memory import (
    free_host_bytes,
    importing,
    peak_resident_bytes,
    resident_bytes,
    settle_heap,
)


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Calls of `bound_heap`, which is for the whole process and is left alone here."""
    calls: list[bool] = []
    monkeypatch.setattr(host_memory, "bound_heap", lambda: calls.append(True))
    return calls


def test_the_heap_is_bound_where_that_is_wanted_or_needed(bounded: list[bool]) -> None:
    assert not settle_heap(None, 1_000_000) and not settle_heap(False, 1 << 60) and not bounded
    assert settle_heap(True, 0) and len(bounded) == 1
    assert settle_heap(None, free_host_bytes()) and len(bounded) == 2


def test_a_process_holds_less_than_it_ever_held() -> None:
    assert 0 < resident_bytes() <= peak_resident_bytes()


def test_garbage_is_looked_for_again_after_an_import_that_failed() -> None:
    with pytest.raises(ImportError), importing():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
