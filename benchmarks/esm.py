"""./go bench esm: embeddings, scores and contact maps of ESM-2 beside transformers, on this machine.

Random weights of the published shapes, the same on both sides; lengths of real proteins where CHAPERONIN_DATA
names them. Speeds are medians of calls in turn, A-B-A-B, each side in a process of its own. Prints the table, writes
JSON with every sample.

    ./go bench esm                          everything
    ./go bench esm --rows embed-int8        some rows again
    ./go bench esm --quick                  tiny shapes: checks that both sides agree, times nothing worth reading
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import esm_fidelity, esm_memory, esm_speed, esm_work
from benchmarks.setting import Setting, add_data_option
from benchmarks.table import Row, as_json, as_text, load_average, machine, write

ROWS: dict[str, Callable[[Setting], list[Row]]] = {
    "embed-mixed": esm_speed.mixed_lengths,
    "embed-equal": esm_speed.equal_lengths,
    "embed-int8": esm_speed.int8,
    "embed-bf16": esm_speed.bf16,
    "int8-fidelity": esm_fidelity.int8_fidelity,
    "tokenise": esm_work.tokenise,
    "contacts-memory": esm_memory.contacts,
    "masked-marginal-tokens": esm_work.masked_marginal_tokens,
    "memory-prediction": esm_memory.prediction,
    "help-start": esm_work.help_start,
}
"""Name for `--rows` → what measures it. Rows do not depend on each other."""


def main(arguments: list[str]) -> int:
    """Measure, print, write. Returns 1 if a bound was missed."""
    options = _parse(arguments)
    names = options.rows.split(",") if options.rows else list(ROWS)
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        print(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    facts = machine(options.threads)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        setting = Setting(
            Path(scratch), options.threads, options.repeats, options.quick, options.data.resolve()
        )
        for name in names:
            print(f"measuring {name}", file=sys.stderr, flush=True)
            rows += ROWS[name](setting)
    facts["load_average_at_end"] = load_average()
    print(as_text(rows))
    print(
        f"\n{facts['processor']}, {options.threads} threads, PyTorch {facts['versions']['torch']},", end=" "
    )
    print(
        f"transformers {facts['versions'].get('transformers', 'absent')}, load {facts['load_average_at_start']}"
    )
    write(options.out, as_json(rows, facts))
    return int(any(row.verdict == "missed" for row in rows) and not options.quick)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./go bench esm", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="", help=f"comma-separated, of {', '.join(ROWS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_esm.json"), help="where the JSON goes")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each side")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to test the benchmark itself")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for random models (3 GB)")
    add_data_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
