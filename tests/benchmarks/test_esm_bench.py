"""The benchmark itself: both sides agree, every row stands in the table, bounds are judged right."""

import json
from pathlib import Path

import pytest
from benchmarks.memory import peak_bytes
from benchmarks.table import Row, as_text, not_run
from benchmarks.timing import Side, interleave

from benchmarks import esm

pytest.importorskip("transformers", reason="the other side of the benchmark is not installed")


def test_a_quick_run_compares_both_sides_and_prints_and_writes_the_same_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    names = "embed-mixed,embed-equal,embed-int8,embed-bf16,tokenise"
    arguments = ["--quick", "--rows", names, "--threads", "1", "--repeats", "1", "--out", str(out)]
    # Both sides' embeddings are compared inside: a difference above 1e-5 raises.
    assert esm.main([*arguments, "--scratch", str(tmp_path), "--data", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["machine"]["threads"] == 1
    assert written["machine"]["versions"]["transformers"]
    assert len(written["rows"]) >= 9
    for row in written["rows"]:
        assert f"| {row['measure']} |" in printed
        assert row["value"] is None or row["value"] > 0


def test_an_unknown_row_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert esm.main(["--rows", "speed"]) == 1
    assert "no row speed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.0, "missed"), (1.9, "met"), (2.2, "reached"), (None, "not run")]
)
def test_a_value_is_judged_by_its_bounds(value: float | None, verdict: str) -> None:
    assert Row("speed", "a", "b", value, 1.9, 2.2).verdict == verdict


def test_lower_is_better_turns_the_bounds_around() -> None:
    seconds = [
        Row("start", "a", "b", value, 0.5, 0.2, lower_is_better=True).verdict for value in (0.6, 0.4, 0.1)
    ]
    assert seconds == ["missed", "met", "reached"]


def test_a_row_that_could_not_run_says_why() -> None:
    assert "no such part" in as_text([not_run("speed", "no such part")])


def _sleeper(seconds: float):
    import time

    return lambda: time.sleep(seconds)


def _allocator(megabytes: int):
    return lambda: len(bytearray(b"x") * (megabytes * 1_000_000))


def test_sides_are_timed_in_turn() -> None:
    samples = interleave(
        [Side(_sleeper, {"seconds": 0.02}), Side(_sleeper, {"seconds": 0})], 3, 1, apart=False
    )
    assert [len(side) for side in samples.seconds] == [3, 3]
    assert samples.medians()[0] > samples.medians()[1]


@pytest.mark.slow
def test_peak_memory_is_what_the_call_allocates() -> None:
    peak, length = peak_bytes(Side(_allocator, {"megabytes": 100}), 1)
    assert length == 100_000_000
    assert 95e6 < peak < 120e6
