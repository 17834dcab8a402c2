"""./go bench fold: one iteration of AlphaFold 2 beside JAX, its share of the machine, and what single parts need.

Random weights and features; fp32. Speeds are medians of calls in turn, A-B-A-B, each side in a process of its own.
Prints the table, writes JSON with every sample. The other sides live in environments of their own:

    ./go bench fold --jax PYTHON          has alphafold-colabfold==2.3.27, colabfold-kernels, jax, dm-haiku
    ./go bench fold --openfold CHECKOUT   of github.com/aqlaboratory/openfold; --openfold-python has what it imports
    ./go bench fold --rows memory         some rows again
    ./go bench fold --quick               tiny shapes, to test the benchmark itself
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import fold_parts, fold_peers, fold_plan
from benchmarks.fold_features import features
from benchmarks.fold_sides import (
    PYTORCH_KERNELS,
    Shape,
    floating_operations,
    jax_iteration,
    matrix_rate,
    one_iteration,
    shapes,
)
from benchmarks.fold_start import start
from benchmarks.table import Row, as_json, as_text, load_average, machine, not_run, write
from benchmarks.timing import Samples, Side, interleave
from chaperonin.cli.main import SLEEP


def main(arguments: list[str]) -> int:
    """Measure, print, write. Returns 1 if a bound was missed."""
    options = _parse(arguments)
    names = options.rows.split(",") if options.rows else [name for name in ROWS if name != "longest"]
    if unknown := sorted(set(names) - set(ROWS)):
        print(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    facts = machine(options.threads)
    rows = []
    for name in names:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        rows += ROWS[name](options)
    facts["load_average_at_end"] = load_average()
    print(as_text(rows))
    print(f"\n{facts['processor']}, {options.threads} threads, load {facts['load_average_at_start']}")
    write(options.out, as_json(rows, facts))
    return int(any(row.verdict == "missed" for row in rows) and not options.quick)


def iteration(options: argparse.Namespace) -> list[Row]:
    """One iteration against JAX, the rate of a large matrix product, and PyTorch's own kernels, in the same turns."""
    rows = []
    for shape in shapes(options):
        pytorch = Side(one_iteration, {"shape": shape, "kernels": PYTORCH_KERNELS}, environment=SLEEP)
        sides = [Side(one_iteration, {"shape": shape}, environment=SLEEP), Side(matrix_rate), pytorch]
        if options.jax is not None:
            sides.append(Side(jax_iteration, {"python": options.jax, "shape": shape}))
        repeats = 1 if options.quick else options.repeats
        samples = interleave(sides, repeats, options.threads, apart=not options.quick)
        seconds, product, uncompiled = samples.medians()[:3]
        rows.append(_against(shape, samples))
        rate, best = floating_operations(shape) / seconds, samples.results[1] / product
        rows.append(
            Row(
                f"share of the matrix-product rate, {shape}",
                f"{rate / 1e9:,.0f} GFLOP/s",
                f"{best / 1e9:,.0f} GFLOP/s",
                100 * rate / best,
                *(60, 80),
                unit=" %",
                notes="operations counted from shapes: products alone",
            )
        )
        times = (f"{seconds:,.2f} s", f"{uncompiled:,.2f} s")
        rows.append(Row(f"the same, against PyTorch's own kernels, {shape}", *times, uncompiled / seconds))
    return rows


def _against(shape: Shape, samples: Samples) -> Row:
    measure = f"one iteration against JAX, {shape}"
    if len(samples.seconds) < 4:
        return not_run(measure, "not measured: give --jax an interpreter that has alphafold-colabfold")
    ours, *_, theirs = samples.medians()
    seconds = {"ours": samples.seconds[0], "theirs": samples.seconds[-1]}
    times = (f"{ours:,.2f} s", f"{theirs:,.2f} s")
    return Row(measure, *times, theirs / ours, *(1.5, 2.0), notes="compile time excluded", samples=seconds)


ROWS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "iteration": iteration,
    "openfold": fold_peers.time_beside_openfold,
    "openfold-memory": fold_peers.memory_beside_openfold,
    "start": start,
    "features": features,
    "outer-product": fold_parts.outer_product,
    "memory": fold_parts.memory,
    "plan": fold_plan.plan,
    "longest": fold_plan.longest,
}


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./go bench fold", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="", help=f"comma-separated, of {', '.join(ROWS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_fold.json"), help="where the JSON goes")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls of each side")
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[96, 256], help="of iterations; 256 takes minutes a call"
    )
    parser.add_argument("--jax", type=Path, help="interpreter of an environment with alphafold-colabfold")
    parser.add_argument("--openfold", type=Path, help="checkout of github.com/aqlaboratory/openfold")
    parser.add_argument(
        "--openfold-python",
        type=Path,
        help="interpreter that runs it, with torch, ml_collections, … (this one)",
    )
    parser.add_argument(
        "--openfold-settings",
        nargs="+",
        default=fold_peers.SETTINGS,
        choices=fold_peers.SETTINGS,
        help="the fastest counts; all by default",
    )
    parser.add_argument("--longest", type=int, default=3000, help="residues of the row longest: minutes")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to test the benchmark itself")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
