"""./go bench pair_head: the head over pairs of residues beside the outer concatenation that it replaces.

Same weights, same input, L 256 and width 2,304 as in contact prediction with AIDO.Protein 16B. Times are medians of
turns, A-B-A-B, of one call of the outer side and twenty of ours; memory is what one call adds to a process of its
own. Prints the table, writes JSON with every sample.

    ./go bench pair_head                    everything
    ./go bench pair_head --rows forward     some rows again
    ./go bench pair_head --quick            tiny shapes: checks that both sides agree, times nothing worth reading
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_bytes
from benchmarks.table import Row, as_json, as_text, load_average, machine, write
from benchmarks.timing import Samples, Side, interleave

SIZES = {"length": 256, "width": 2304, "hidden": 128}
QUICK = {"length": 24, "width": 64, "hidden": 16}
TIMES, MEMORY = 100, 50
"""How many times better the issue asks for."""
CALLS = 20
"""Of ours in one turn: they take as long together as one of the other side's."""
ALIKE = 1e-3
"""Largest difference relative to the largest value: sums of 4,608 products in another order."""


def ours(length: int, width: int, hidden: int, backward: bool) -> Callable[[], Any]:
    """The head of the package."""
    head, rows = _head_and_rows(length, width, hidden)
    return _call(head, rows, list(head.parameters()), backward)


def outer(length: int, width: int, hidden: int, backward: bool) -> Callable[[], Any]:
    """The same head over all pairs of vectors side by side."""
    import torch

    head, rows = _head_and_rows(length, width, hidden)

    def run(x: torch.Tensor) -> torch.Tensor:
        logits = head.out_proj(torch.relu(head.dense(_side_by_side(x))))[..., 0]
        return (logits + logits.T) / 2

    return _call(run, rows, list(head.parameters()), backward)


def outer_linear(length: int, width: int, hidden: int, backward: bool) -> Callable[[], Any]:
    """The least that can follow an outer concatenation: one linear layer, without a hidden one."""
    import torch

    torch.manual_seed(0)
    layer = torch.nn.Linear(2 * width, 1)
    rows = torch.randn(length, width, requires_grad=True)

    def run(x: torch.Tensor) -> torch.Tensor:
        logits = layer(_side_by_side(x))[..., 0]
        return (logits + logits.T) / 2

    return _call(run, rows, list(layer.parameters()), backward)


def _side_by_side(x: Any) -> Any:
    import torch

    first = x[:, None].expand(-1, len(x), -1)
    return torch.cat([first, first.transpose(0, 1)], dim=-1)


def _head_and_rows(length: int, width: int, hidden: int) -> tuple[Any, Any]:
    import torch

    from chaperonin.tasks.heads import PairHead

    torch.manual_seed(0)
    return PairHead(width, hidden), torch.randn(length, width, requires_grad=True)


def _call(run: Callable[[Any], Any], rows: Any, parameters: list[Any], backward: bool) -> Callable[[], Any]:
    import torch

    def forward() -> Any:
        with torch.no_grad():
            return [run(rows).numpy()]

    def forward_and_backward() -> Any:
        logits = run(rows)
        gradients = torch.autograd.grad(logits.square().mean(), [rows, *parameters])
        return [logits.detach().numpy(), *(gradient.numpy() for gradient in gradients)]

    return forward_and_backward if backward else forward


def head(options: argparse.Namespace, backward: bool) -> list[Row]:
    """Time and memory against the same head over the outer concatenation."""
    sides, samples = _timed(options, outer, backward)
    difference = _difference(*samples.results)
    if difference > ALIKE:
        raise AssertionError(f"the two sides differ by {difference:.2g}: there is nothing to compare")
    sizes = _sizes(options)
    notes = f"hidden {sizes['hidden']}, L {sizes['length']}, width {sizes['width']:,}; "
    notes += (
        f"counted in operations {_operations(**sizes):.0f}x; values differ by {difference:.1g} of the largest"
    )
    what = "forward and backward" if backward else "forward"
    return [_time_row(what, samples, TIMES, notes), _memory_row(what, sides, options.threads, MEMORY)]


def linear(options: argparse.Namespace, backward: bool) -> list[Row]:
    """Time and memory against one linear layer over the outer concatenation, which computes less than ours."""
    sides, samples = _timed(options, outer_linear, backward)
    what = f"forward{' and backward' * backward}, against a linear layer alone"
    return [_time_row(what, samples), _memory_row(what, sides, options.threads)]


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    return QUICK if options.quick else SIZES


def _timed(
    options: argparse.Namespace, theirs: Callable[..., Any], backward: bool
) -> tuple[list[Side], Samples]:
    shape = {**_sizes(options), "backward": backward}
    sides = [Side(ours, shape, 1 if options.quick else CALLS), Side(theirs, shape)]
    repeats = 1 if options.quick else options.repeats
    return sides, interleave(sides, repeats, options.threads, apart=not options.quick)


def _time_row(what: str, samples: Samples, bound: float | None = None, notes: str = "") -> Row:
    own, other = samples.medians()
    texts = (f"{own * 1e3:,.1f} ms", f"{other * 1e3:,.0f} ms")
    kept = dict(zip(("ours", "theirs"), samples.seconds, strict=True))
    return Row(f"pair head, {what}: time", *texts, other / own, bound, notes=notes, samples=kept)


def _memory_row(what: str, sides: list[Side], threads: int, bound: float | None = None) -> Row:
    own, other = (peak_bytes(side, threads)[0] for side in sides)
    texts = (f"{own / 1e6:,.1f} MB", f"{other / 1e6:,.0f} MB")
    kept = {"ours": own, "theirs": other}
    return Row(f"pair head, {what}: peak memory", *texts, other / max(1, own), bound, samples=kept)


def _operations(length: int, width: int, hidden: int) -> float:
    """Operations of a forward pass over the outer concatenation / those of the factorised head."""
    pairs = length**2
    return (4 * pairs * width * hidden) / (4 * length * width * hidden + 4 * pairs * hidden)


def _difference(own: list[Any], other: list[Any]) -> float:
    """Largest difference of logits and gradients, each relative to its largest value."""
    pairs = zip(own, other, strict=True)
    return max(float(abs(one - two).max() / abs(two).max()) for one, two in pairs)


ROWS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "forward": lambda options: head(options, backward=False),
    "backward": lambda options: head(options, backward=True),
    "linear-forward": lambda options: linear(options, backward=False),
    "linear-backward": lambda options: linear(options, backward=True),
}
"""Name for `--rows` → what measures it."""


def main(arguments: list[str]) -> int:
    """Measure, print, write. Returns 1 if a bound was missed."""
    options = _parse(arguments)
    names = options.rows.split(",") if options.rows else list(ROWS)
    if unknown := sorted(set(names) - set(ROWS)):
        print(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    facts = machine(options.threads)
    rows: list[Row] = []
    for name in names:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        rows += ROWS[name](options)
    facts["load_average_at_end"] = load_average()
    print(as_text(rows))
    print(
        f"\n{facts['processor']}, {options.threads} threads, PyTorch {facts['versions']['torch']},", end=" "
    )
    print(f"load {facts['load_average_at_start']}")
    write(options.out, as_json(rows, facts))
    return int(any(row.verdict == "missed" for row in rows) and not options.quick)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./go bench pair_head", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="", help=f"comma-separated, of {', '.join(ROWS)}")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench_pair_head.json"), help="where the JSON goes"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of each side")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each side")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to test the benchmark itself")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
