"""./go bench finetune: what the means of fine-tuning gain, lose and cost, beside plain training, on this machine.

Real proteins where CHAPERONIN_DATA names them, made-up ones else. Ratios of times are of calls in turn, A-B-A-B, each
side in a process of its own; memory is the highest of a process, interpreter and libraries included. Prints the table,
writes JSON with every sample. Trials are kept in --scratch: what is done is not run again.

    ./go bench finetune                           everything (about an hour and a half on two cores)
    ./go bench finetune --rows accuracy --seeds 5 some rows again, alone
    ./go bench finetune --quick                   tiny shapes, to test the benchmark itself
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import finetune_means, finetune_speed, pair_head
from benchmarks.setting import add_data_option
from benchmarks.table import Row, as_json, as_text, load_average, machine, write


def pairs(options: argparse.Namespace) -> list[Row]:
    """The pair head beside the outer concatenation, as `./go bench pair_head` measures it."""
    return pair_head.ROWS["forward"](options) + pair_head.ROWS["backward"](options)


ROWS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "accuracy": finetune_means.accuracy,
    "all-against-base": finetune_speed.all_against_base,
    "frozen": finetune_speed.frozen,
    "trainer": finetune_speed.trainer,
    "pair-head": pairs,
    "memory-prediction": finetune_means.prediction,
}
"""Name for `--rows` → what measures it. Rows do not depend on each other."""


def main(arguments: list[str]) -> int:
    """Measure, print, write. Returns 1 if a bound was missed."""
    options = _parse(arguments)
    names = options.rows.split(",") if options.rows else list(ROWS)
    if unknown := sorted(set(names) - set(ROWS)):
        print(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    options.scratch.mkdir(parents=True, exist_ok=True)
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
    parser = argparse.ArgumentParser(prog="./go bench finetune", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="", help=f"comma-separated, of {', '.join(ROWS)}")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench_finetune.json"), help="where the JSON goes"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of each side")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls of each side")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each side of the accuracy")
    parser.add_argument("--epochs", type=float, default=5.0, help="passes of each of them")
    parser.add_argument("--batch", type=int, default=4, help="sequences a step of all-against-base")
    parser.add_argument(
        "--depth", type=int, default=33, help="layers of all-against-base (33: 16 GB of memory)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to test the benchmark itself")
    scratch = Path("runs/bench_finetune")
    parser.add_argument(
        "--scratch", type=Path, default=scratch, help="folder for random models and trials (3 GB)"
    )
    add_data_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
