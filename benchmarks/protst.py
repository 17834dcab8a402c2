"""./go bench protst: zero-shot classification and the training of a head beside the published scripts' shape.

Random weights of the published width, the same on both sides; lengths of real proteins where CHAPERONIN_DATA names
them. The published evaluation gives the model one protein at a time, filled up to 1,024 tokens; the published
fine-tuning runs the frozen tower in each epoch. Medians of calls in turn, A-B-A-B, each side in a process of its own.

    ./go bench protst                       ESM-1b's width, 3 of its 33 equal layers
    ./go bench protst --rows training,loss  a head alone: in each turn of theirs, 40 proteins filled up
    ./go bench protst --depth 33            all of them (6 GB of memory, some minutes a call)
    ./go bench protst --quick               tiny shapes: checks that both sides agree, times nothing worth reading
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import protst_sides, protst_training
from benchmarks.setting import Setting, add_data_option
from benchmarks.table import Row, as_json, as_text, load_average, machine, not_run, write
from benchmarks.timing import Side
from chaperonin.cli.main import SLEEP

ESM_1B = {"width": 1280, "heads": 20}
TEXT = {"width": 768, "depth": 12, "heads": 12}
AGREE = 1e-4
"""Largest difference of cosines between fp32 sides: 33 layers of rounding."""


def main(arguments: list[str]) -> int:
    """Measure, print, write. Returns 1 if a bound was missed."""
    options = _parse(arguments)
    unknown = sorted(set(options.rows) - set(ROWS))
    if unknown:
        print(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    facts = machine(options.threads)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        setting = Setting(
            Path(scratch), options.threads, options.repeats, options.quick, options.data.resolve()
        )
        folder = Path(scratch) / "protst"
        sizes = {"width": 64, "heads": 4, "depth": 2} if options.quick else {**ESM_1B, "depth": options.depth}
        text = {"width": 128, "depth": 1, "heads": 2} if options.quick else TEXT
        protst_sides.write_random_protst(folder, sizes, text)
        rows = [ROWS[name](setting, folder, options) for name in options.rows]
    facts["load_average_at_end"] = load_average()
    print(as_text(rows))
    print(f"\n{facts['processor']}, {options.threads} threads, load {facts['load_average_at_start']}")
    write(options.out, as_json(rows, facts))
    return int(any(row.verdict == "missed" for row in rows) and not options.quick)


BOUNDS = {"fp32": (2.0, 2.2), "int8": (4.5, 6.0)}
"""Row, which is the precision of our side → what it should be at least, and what to reach for."""


def zero_shot(setting: Setting, folder: Path, options: argparse.Namespace, precision: str) -> Row:
    """Proteins to classes, prompts included on both sides."""
    from chaperonin.kernels.linear import lacks_int8

    measure = f"zero-shot, {precision}, against one protein at a time filled up to 1,024"
    if precision == "int8" and lacks_int8():
        return not_run(measure, lacks_int8())
    sequences, origin = setting.proteins(4 if setting.quick else options.proteins)
    given = {"folder": str(folder), "sequences": sequences}
    sides = [
        Side(protst_sides.choose_ours, {**given, "precision": precision}, environment=SLEEP),
        Side(protst_sides.choose_theirs, {**given, "filled": 256 if setting.quick else 1024}),
    ]
    samples = setting.interleave(sides)
    ours, theirs = samples.results
    difference = float(np.abs(ours - theirs).max())
    if precision == "fp32" and difference > AGREE:
        raise RuntimeError(f"the sides disagree: cosines differ by {difference:.2g}")
    same = float((ours.argmax(1) == theirs.argmax(1)).mean())
    seconds = samples.medians()
    notes = (
        f"{len(sequences)} {origin}; {options.depth} of 33 layers; ten prompts; cosines differ by at most "
    )
    notes += f"{difference:.1g}, {same:.0%} of the choices are the same"
    shown = [f"{len(sequences) / own:,.2f} proteins/s" for own in seconds]
    return Row(
        measure,
        *shown,
        seconds[1] / seconds[0],
        *BOUNDS[precision],
        notes=notes,
        samples={"seconds": samples.seconds},
    )


ROWS: dict[str, Callable[[Setting, Path, argparse.Namespace], Row]] = {
    "fp32": partial(zero_shot, precision="fp32"),
    "int8": partial(zero_shot, precision="int8"),
    "training": protst_training.head_only,
    "loss": protst_training.loss_curve,
}
"""Name for `--rows` → what measures it."""


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./go bench protst", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rows",
        type=lambda text: text.split(","),
        default=list(ROWS),
        help=f"comma-separated: {','.join(ROWS)}",
    )
    parser.add_argument("--depth", type=int, default=3, help="layers of the protein tower, of ESM-1b's 33")
    parser.add_argument("--proteins", type=int, default=16, help="how many are classified in a call")
    parser.add_argument("--batches", type=int, default=1, help="batches of 32 in an epoch of the training")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench_protst.json"), help="where the JSON goes"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of each side")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each side")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to test the benchmark itself")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for a random model (1 to 3.5 GB)")
    add_data_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
