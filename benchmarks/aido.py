"""./go bench aido: a mixture of experts beside a dense model and beside the loop over experts that is published.

Random weights of the published width, the same on both sides, two of the 36 equal layers. Medians of calls in turn,
A-B-A-B, each side in a process of its own.

    ./go bench aido                    every row (about 12 GB of memory)
    ./go bench aido --rows dense,skew  some of them
    ./go bench aido --rows fits --depth 4
    ./go bench aido --quick            tiny shapes: checks that both sides agree, times nothing worth reading
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import aido_memory, aido_sides
from benchmarks.setting import Setting, add_data_option
from benchmarks.table import Row, as_json, as_text, load_average, machine, not_run, write
from benchmarks.timing import Side
from chaperonin.cli.main import SLEEP

PUBLISHED = {"width": 2304, "heads": 36, "inner_width": 7680, "experts": 8, "experts_per_token": 2}
TINY = {"width": 64, "heads": 4, "inner_width": 96, "experts": 8, "experts_per_token": 2}
LAYERS = 36
BATCH = 4
"""Proteins that the published side takes at a time."""
AGREE = 1e-4
"""Largest difference of the representations, of size 1, between fp32 sides."""


def main(arguments: list[str]) -> int:
    """Measure, print, write. Returns 1 if a bound was missed."""
    options = _parse(arguments)
    unknown = sorted(set(options.rows) - set(ROWS))
    if unknown:
        print(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    facts = machine(options.threads)
    sizes = {**(TINY if options.quick else PUBLISHED), "depth": options.depth}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        setting = Setting(
            Path(scratch), options.threads, options.repeats, options.quick, options.data.resolve()
        )
        for name in options.rows:
            found = ROWS[name](setting, sizes, options)
            rows += found
            print(as_text(found), file=sys.stderr)
    facts["load_average_at_end"] = load_average()
    print(as_text(rows))
    print(f"\n{facts['processor']}, {options.threads} threads, load {facts['load_average_at_start']}")
    write(options.out, as_json(rows, facts))
    return int(any(row.verdict == "missed" for row in rows) and not options.quick)


def _our_side(arguments: dict[str, Any]) -> Side:
    """A pass of ours, as the verbs that infer run it."""
    return Side(aido_sides.run_ours, arguments, environment=SLEEP)


def dense(setting: Setting, sizes: aido_sides.Sizes, options: argparse.Namespace) -> list[Row]:
    """A forward pass against that of a dense model with as many active parameters."""
    lengths = _equal(setting)
    own = {"sizes": sizes, "lengths": lengths}
    alike = {**sizes, "experts": 0, "inner_width": sizes["experts_per_token"] * sizes["inner_width"]}
    samples = setting.interleave([_our_side(own), _our_side({**own, "sizes": alike})])
    ours, theirs = samples.medians()
    return [
        Row(
            "forward against a dense model with as many active parameters",
            _rate(lengths, ours),
            _rate(lengths, theirs),
            ours / theirs,
            1.25,
            1.08,
            notes=f"{len(lengths)} proteins of {lengths[0]} tokens",
            lower_is_better=True,
            samples={"seconds": samples.seconds},
        )
    ]


def loop(setting: Setting, sizes: aido_sides.Sizes, options: argparse.Namespace) -> list[Row]:
    """A forward pass against the published loop: of proteins as they come, and of proteins of one length."""
    real, origin = _real(setting, options.proteins)
    return [
        _beside_the_loop(setting, sizes, f"{len(real)} {origin}, theirs {BATCH} at a time", real, (1.3, 2.0)),
        _beside_the_loop(setting, sizes, "proteins of one length", _equal(setting), None),
        _beside_the_loop(setting, sizes, "one short protein", [40 if setting.quick else 150], None),
    ]


def _beside_the_loop(
    setting: Setting,
    sizes: aido_sides.Sizes,
    what: str,
    lengths: list[int],
    bounds: tuple[float, float] | None,
) -> Row:
    own = {"sizes": sizes, "lengths": lengths}
    samples = setting.interleave([_our_side(own), Side(aido_sides.run_theirs, {**own, "batch": BATCH})])
    difference = float((samples.results[0] - samples.results[1]).abs().max())
    if difference > AGREE:
        raise RuntimeError(f"the sides disagree: representations differ by {difference:.2g}")
    ours, theirs = samples.medians()
    return Row(
        f"forward against the published expert loop, fp32: {what}",
        _rate(lengths, ours),
        _rate(lengths, theirs),
        theirs / ours,
        *(bounds or (None, None)),
        notes=f"largest difference of a representation {difference:.1e}",
        samples={"seconds": samples.seconds},
    )


def int8(setting: Setting, sizes: aido_sides.Sizes, options: argparse.Namespace) -> list[Row]:
    """A forward pass in 8 bits against fp32."""
    from chaperonin.kernels.linear import lacks_int8

    measure = "forward, int8 against fp32"
    if lacks_int8():
        return [not_run(measure, lacks_int8())]
    own = {"sizes": sizes, "lengths": _equal(setting)}
    samples = setting.interleave([_our_side({**own, "precision": "int8"}), _our_side(own)])
    ours, theirs = samples.medians()
    likeness = _cosine(samples.results[0].numpy(), samples.results[1].numpy())
    return [
        Row(
            measure,
            _rate(own["lengths"], ours),
            _rate(own["lengths"], theirs),
            theirs / ours,
            2.0,
            3.0,
            notes=f"median cosine of a token's representation {likeness:.4f}, random weights",
            samples={"seconds": samples.seconds},
        )
    ]


def step(setting: Setting, sizes: aido_sides.Sizes, options: argparse.Namespace) -> list[Row]:
    """A training step whose layers are computed again, against the published loop's."""
    lengths, origin = _real(setting, BATCH)
    own = {"sizes": sizes, "lengths": lengths}
    sides = [Side(aido_sides.train_ours, own), Side(aido_sides.train_theirs, own)]
    samples = setting.interleave(sides, repeats=min(setting.repeats, 3))
    (first,), (other,) = samples.results
    if abs(first - other) > AGREE:
        raise RuntimeError(f"the sides disagree: losses {first:.6g} and {other:.6g}")
    ours, theirs = samples.medians()
    return [
        Row(
            "step with recomputation against the published loop, fp32",
            _rate(lengths, ours),
            _rate(lengths, theirs),
            theirs / ours,
            1.3,
            notes=f"{len(lengths)} {origin}; the first losses differ by {abs(first - other):.1e}",
            samples={"seconds": samples.seconds},
        )
    ]


def skew(setting: Setting, sizes: aido_sides.Sizes, options: argparse.Namespace) -> list[Row]:
    """All tokens to the same two experts against tokens spread evenly."""
    own = {"sizes": sizes, "lengths": _equal(setting)}
    samples = setting.interleave([_our_side({**own, "routing": routing}) for routing in ("skewed", "even")])
    skewed, even = samples.medians()
    return [
        Row(
            "throughput with all tokens to two experts against even routing",
            _rate(own["lengths"], skewed),
            _rate(own["lengths"], even),
            even / skewed,
            0.9,
            1.0,
            samples={"seconds": samples.seconds},
        )
    ]


ROWS: dict[str, Callable[[Setting, aido_sides.Sizes, argparse.Namespace], list[Row]]] = {
    "dense": dense,
    "loop": loop,
    "int8": int8,
    "step": step,
    "skew": skew,
    "load": aido_memory.load,
    "fits": aido_memory.fits,
}


def _equal(setting: Setting) -> list[int]:
    return [40] * 4 if setting.quick else [512] * 4


def _real(setting: Setting, count: int) -> tuple[list[int], str]:
    sequences, origin = setting.proteins(count)
    return [len(sequence) + 1 for sequence in sequences], origin


def _rate(lengths: list[int], seconds: float) -> str:
    return f"{sum(lengths) / seconds:,.0f} tokens/s"


def _cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    sizes = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(np.median((ours * theirs).sum(axis=1) / sizes))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./go bench aido", description="time a mixture of experts")
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="rounds of the timed rows")
    parser.add_argument("--depth", type=int, default=2, help=f"layers, of {LAYERS}")
    parser.add_argument("--proteins", type=int, default=8, help="of the row `loop`")
    parser.add_argument("--scratch", type=Path, help="folder for files of some GB")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/aido.json"))
    parser.add_argument("--quick", action="store_true", help="tiny shapes, one round")
    add_data_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
