"""./go bench protst_scaling: how pre-training of a ProtST speeds up with more processes, on GPUs (NCCL) or CPUs (gloo).

Steps of the training loop itself: contrast over the pairs of all processes, hidden residues and words, gradients added
up, AdamW. Random weights of the published width; real proteins where CHAPERONIN_DATA names them, random words as texts.

Efficiency is that of weak scaling: pairs per second of N processes, divided by N times the pairs per second of one,
with the same pairs per process, so that a step of N processes has N times as many. The one is the first of the N, which
trains alone in the same job before the others join it. Strong scaling, which is not measured, would share the pairs of
one process's step among all N: each then has less to do between two exchanges, and loses more.

    ./go bench protst_scaling                       1, 2, 4 … processes, up to the number of GPUs, or of cores
    ./go bench protst_scaling --processes 8         eight
    ./go bench protst_scaling --quick               tiny shapes: checks the benchmark, times nothing worth reading
    torchrun --nnodes 2 --nproc-per-node 8 … -m benchmarks.protst_scaling      all that torchrun starts, anywhere
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.protst import ESM_1B, TEXT
from benchmarks.setting import Setting, add_data_option
from benchmarks.table import Row, as_json, load_average, machine, write

REPOSITORY = Path(__file__).parents[1]
WARM_UP = 2
"""Steps before those that are timed."""
PROTEINS, WINDOW, LONGEST_TEXT, VOCABULARY = 512, 450, 128, 30522
"""Proteins to draw from, residues and word pieces that are read at most, word pieces that there are: as published."""


@dataclass(frozen=True)
class Speed:
    """Medians over the timed steps, of all processes together."""

    pairs: float
    """Per second."""
    tokens: float
    """Of proteins, per second."""
    step_seconds: list[float]
    proteins: str
    """Where they are from."""


def main(arguments: list[str]) -> int:
    """Measure, print, write; under torchrun in each of its processes, of which the first prints."""
    options = _parse(arguments)
    facts = machine(options.threads)
    if "WORLD_SIZE" in os.environ:
        row = measure(options)
        rows = [row] if row else []
    else:
        most = _most(options.device)
        counts = options.processes or [2**power for power in range(most.bit_length())]
        if options.device == "cuda" and max(counts) > most:
            print(f"{max(counts)} processes, and there are {most} GPUs", file=sys.stderr)
            return 1
        rows = [started(options, arguments, count) for count in counts]
    if rows:
        facts["load_average_at_end"] = load_average()
        print(f"{as_table(rows)}\n\n{rows[0].notes}")
        where = facts["gpu"] if options.device == "cuda" else f"{facts['processor']}, {facts['cores']} cores"
        print(f"{where}, {options.threads} threads a process, load {facts['load_average_at_start']}")
        write(options.out, as_json(rows, facts))
    return 0


def started(options: argparse.Namespace, arguments: list[str], count: int) -> Row:
    """What so many processes measure, started by torchrun on this machine."""
    print(f"measuring {count}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "PYTHONPATH": paths}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        words = ["-m", "benchmarks.protst_scaling", *arguments, "--out", str(out)]
        subprocess.run([*command, *words], check=True, env=environment, stdout=subprocess.DEVNULL)
        row = json.loads(out.read_text())["rows"][0]
    del row["verdict"]
    return Row(**row)


def measure(options: argparse.Namespace) -> Row | None:
    """One process alone, then all of them; the row in the first process, nothing in the others."""
    import torch

    from chaperonin.parallel.data import Processes, join_processes, leave_processes

    torch.set_num_threads(options.threads)
    world, is_first = int(os.environ["WORLD_SIZE"]), os.environ["RANK"] == "0"
    device = torch.device(options.device)
    # The others wait for it in join_processes.
    alone = speed(options, device, Processes()) if is_first else None
    together = alone
    if world > 1:
        processes, device = join_processes(device)
        together = speed(options, device, processes)
        leave_processes()
    return as_row(options, world, alone, together) if alone and together else None


def speed(options: argparse.Namespace, device: Any, processes: Any) -> Speed:
    """Take steps of the training loop, and time them."""
    from chaperonin.kernels.hardware import finish

    training, origin = new_training(options, device, processes)
    seconds, tokens = [], []
    for _ in range(WARM_UP + options.steps):
        before, begun = training.progress.tokens, time.perf_counter()
        training.step()
        finish(device)
        seconds.append(time.perf_counter() - begun)
        tokens.append(training.progress.tokens - before)
    timed = list(zip(seconds, tokens, strict=True))[WARM_UP:]
    pairs = options.pairs * processes.world
    return Speed(
        median(pairs / own for own, _ in timed),
        median(count / own for own, count in timed),
        [own for own, _ in timed],
        origin,
    )


def new_training(options: argparse.Namespace, device: Any, processes: Any) -> tuple[Any, str]:
    """The loop of `chaperonin train`, with a random model; each process has one batch of a step.

    And a sentence on where the proteins are from.
    """
    from benchmarks.protst_sides import random_protst
    from chaperonin.data.pairs import PairStream
    from chaperonin.data.stream import Sequences
    from chaperonin.data.words import WordPieces
    from chaperonin.tasks.protein_text import ProteinText
    from chaperonin.training.alignment import train_what_is_used
    from chaperonin.training.loop import LoopSettings, Training
    from chaperonin.training.schedule import Schedule

    vocabulary = 100 if options.quick else VOCABULARY
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(special + [f"w{number}" for number in range(vocabulary - len(special))]))
        words = WordPieces(path)
        setting = Setting(Path(folder), options.threads, options.steps, options.quick, options.data.resolve())
        proteins, origin = setting.proteins(max(PROTEINS, options.pairs))
    generator = np.random.default_rng(0)
    lengths = generator.integers(LONGEST_TEXT // 4, LONGEST_TEXT + 1, len(proteins))
    texts = [generator.integers(len(special), vocabulary, length) for length in lengths]
    model = random_protst(*sizes(options), vocabulary)
    train_what_is_used(model)
    settings = LoopSettings(steps=10_000, accumulate=processes.world, schedule=Schedule(peak=1e-5))
    stream = PairStream(Sequences.gather(proteins), texts, 0, WINDOW, options.pairs)
    task = ProteinText(words)
    return Training(model.to(device), task, stream, [], settings, processes=processes), origin


def sizes(options: argparse.Namespace) -> tuple[dict[str, int], dict[str, int]]:
    """Shapes of the protein model and the text model."""
    if options.quick:
        return {"width": 64, "heads": 4, "depth": 2}, {"width": 128, "depth": 1, "heads": 2}
    return {**ESM_1B, "depth": options.depth}, TEXT


def as_row(options: argparse.Namespace, world: int, alone: Speed, together: Speed) -> Row:
    """The row of N processes, whose value is the efficiency."""
    protein, text = sizes(options)
    notes = (
        "Efficiency: pairs/s of N processes / (N × pairs/s of one), with the same pairs per process (weak scaling); "
        "the one trains alone in the same job before the others join it. Strong scaling, not measured, would share "
        "the pairs of one process's step among all.\n"
        f"{options.pairs} pairs per process and step; {alone.proteins}, windows of {WINDOW}; protein model of "
        f"{protein['depth']} layers of width {protein['width']}, text model of {text['depth']} of width "
        f"{text['width']}; medians of {options.steps} steps after {WARM_UP}. A step waits for the process with the "
        "longest proteins, and with more threads than cores for a core: both are part of it."
    )
    return Row(
        f"ProtST pre-training, {world} processes",
        f"{together.pairs:,.4g} pairs/s",
        f"{alone.pairs:,.4g} pairs/s",
        together.pairs / (world * alone.pairs),
        unit="",
        notes=notes,
        samples={"processes": world, "together": asdict(together), "alone": asdict(alone)},
    )


def as_table(rows: list[Row]) -> str:
    """The table as Markdown."""
    lines = ["| processes | pairs/s | tokens/s | one alone, pairs/s | efficiency |", "|---|---|---|---|---|"]
    for row in rows:
        together, alone = row.samples["together"], row.samples["alone"]
        speeds = f"{together['pairs']:,.4g} | {together['tokens']:,.0f} | {alone['pairs']:,.4g}"
        lines.append(f"| {row.samples['processes']} | {speeds} | {row.value:.2f} |")
    return "\n".join(lines)


def _most(device: str) -> int:
    import torch

    return torch.cuda.device_count() if device == "cuda" else len(os.sched_getaffinity(0))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./go bench protst_scaling", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--processes", type=lambda text: [int(own) for own in text.split(",")], help="comma-separated counts"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default cuda where there is one")
    parser.add_argument("--depth", type=int, help="layers of the protein model: 33 on GPUs, 3 on CPUs")
    parser.add_argument("--pairs", type=int, help="pairs of a process and step: 16 on GPUs, 4 on CPUs")
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench_protst_scaling.json"), help="where the JSON goes"
    )
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to test the benchmark itself")
    add_data_option(parser)
    options = parser.parse_args(arguments)
    options.device = options.device or ("cuda" if _most("cuda") else "cpu")
    on_gpu = options.device == "cuda"
    options.depth = options.depth or (33 if on_gpu else 3)
    options.pairs = options.pairs or (16 if on_gpu else 4)
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
