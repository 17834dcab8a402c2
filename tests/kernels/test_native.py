"""Compiled kernels: made once, for any width of vectors, and where they cannot be made the reason is said."""

import os
import platform
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tests.contracts.test_kernels import CASES, leaves, relative_difference

from chaperonin.errors import UnavailableError
from chaperonin.kernels.hardware import processor_flags
from chaperonin.kernels.native import calls, library
from chaperonin.kernels.registry import OPERATIONS, Operation

COMPILED = [operation for operation in OPERATIONS.values() if "native" in operation.bodies]
CPU = torch.device("cpu")
TOLERANCE = 2e-5


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What was found out about this machine is forgotten before and after."""
    for begins in (True, False):
        library.library.cache_clear()
        library._missing.clear()
        if begins:
            yield


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names instruction sets of x86")
@pytest.mark.parametrize(
    ("lanes", "flags"), [(4, ()), (8, ("-march=x86-64-v3",)), (16, ("-march=x86-64-v4",))]
)
def test_kernels_for_every_width_of_vectors_equal_the_reference(
    lanes: int, flags: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lanes > 4 and {8: "avx2", 16: "avx512vl"}[lanes] not in processor_flags().split():
        pytest.skip(f"this processor has no vectors of {lanes} numbers")
    own = library.load(library.compile_sources(tmp_path, flags))
    assert own.chaperonin_lanes() == lanes
    monkeypatch.setattr(calls, "library", lambda: own)
    for operation in COMPILED:
        assert_equals_the_reference(operation)


def test_parts_for_several_cores_equal_the_whole() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for operation in COMPILED:
            assert_equals_the_reference(operation)
    finally:
        torch.set_num_threads(threads)


def test_what_several_threads_ask_for_at_once_is_done() -> None:
    """One of them gets the other cores, the rest work alone; again and again, as threads sleep between and wake."""
    x = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))

    def packed(number: int) -> bool:
        weight = x * number
        panels = calls.packed(weight).unflatten(0, (-1, 64, calls.panel()))
        return torch.equal(panels.transpose(1, 2).flatten(0, 1)[:200], weight)

    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(packed, range(400)))
    finally:
        torch.set_num_threads(threads)


def test_a_process_that_was_forked_has_cores_of_its_own() -> None:
    """The parent's are gone there, and what they held stays locked: work would wait, or nobody would help with it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        x = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
        expected = calls.packed(x)
        child = os.fork()
        if child == 0:
            is_right = all(torch.equal(calls.packed(x), expected) for _ in range(50))
            os._exit(0 if is_right and len(os.listdir("/proc/self/task")) > 1 else 1)
        end = time.monotonic() + 60
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
            time.sleep(0.01)
        if ended[0] == 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert ended == (child, 0)
    finally:
        torch.set_num_threads(threads)


def assert_equals_the_reference(operation: Operation) -> None:
    body, reference = operation.bodies["native"], operation.bodies["reference"]
    for ours, theirs in CASES[operation.name](body, CPU, torch.float32):
        with torch.inference_mode():
            if not body.supports(*ours):
                continue
            result, expected = body.run(*ours), reference.run(*theirs)
        assert relative_difference(result, expected) < TOLERANCE, operation.name


def test_they_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = library.compile_sources(tmp_path, ())
    monkeypatch.setattr(library.subprocess, "run", None)
    assert library.compile_sources(tmp_path, ()) == first
    assert list(tmp_path.iterdir()) == [first]


def test_other_sources_or_another_processor_are_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        library, "_compile", lambda command: Path(command[-1]).write_text(made.append("x") or "x")
    )
    library.compile_sources(tmp_path, ())
    monkeypatch.setattr(library, "processor_flags", lambda: "another")
    library.compile_sources(tmp_path, ())
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "kernels.cpp").write_text("// other")
    monkeypatch.setattr(library, "SOURCES", sources)
    library.compile_sources(tmp_path, ())
    assert len(made) == 3


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("compiler", "words"),
    [("no-such-compiler", "no C\\+\\+ compiler .no-such-compiler"), ("false", "cannot compile")],
)
def test_without_a_compiler_pytorchs_kernels_run_and_the_reason_is_said(
    compiler: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UnavailableError, match=words):
        library.library()
    assert library.lacks()
    operation = OPERATIONS["transition"]
    ours, _ = next(CASES["transition"](operation.bodies["native"], CPU, torch.float32))
    with torch.inference_mode():
        assert operation.choose(*ours).name == "sliced"
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.usefixtures("forgotten")
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert f"cannot be kept in {tmp_path / 'file'}" in library.lacks()


def test_memory_that_is_not_there_is_an_error() -> None:
    if missing := library.lacks():
        pytest.skip(missing)
    x = torch.zeros(1, 16)
    for cores in (1, 3):
        with pytest.raises(MemoryError, match="transition"):
            calls.call("transition", cores, 1, 1, x, 16, 1 << 45, x, x, 1e-5, x, x, x, x)


@pytest.mark.parametrize("operation", COMPILED, ids=lambda operation: operation.name)
def test_what_is_not_a_number_stays_none(operation: Operation) -> None:
    """In the input and in every weight: a damaged checkpoint gives no finite result."""
    body, reference = operation.bodies["native"], operation.bodies["reference"]
    count = len(leaves(next(CASES[operation.name](body, CPU, torch.float32))[0]))
    for number in range(count):
        ours, theirs = next(CASES[operation.name](body, CPU, torch.float32))
        for arguments in (ours, theirs):
            leaves(arguments)[number].flatten()[:1] = torch.nan
        with torch.inference_mode():
            if body.supports(*ours):
                assert torch.equal(body.run(*ours).isnan(), reference.run(*theirs).isnan())


def test_other_shapes_are_refused() -> None:
    """They would be read past their end."""
    body = OPERATIONS["gated_attention"].bodies["native"]
    x, _, bias, weights = next(CASES["gated_attention"](body, CPU, torch.float32))[0]
    with torch.inference_mode(), pytest.raises(ValueError, match="mask is"):
        body.run(x, torch.ones(1, 1 + x.shape[1]), bias, weights)


@pytest.mark.usefixtures("forgotten")
def test_without_a_home_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(library.Path, "home", nobody)
    assert "set XDG_CACHE_HOME" in library.lacks()


@pytest.mark.slow
def test_processes_that_compile_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        made = [pool.submit(library.compile_sources, tmp_path, ()) for _ in range(3)]
    assert len({one.result() for one in made}) == 1
    assert library.load(made[0].result()).chaperonin_lanes() >= 4
    assert len(list(tmp_path.iterdir())) == 1


def test_a_compiler_may_have_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "env g++ -pipe")
    command = library.find_compiler()
    assert Path(command[0]).name == "env" and command[1:] == ["g++", "-pipe"]
