"""Rows of ./go bench fold beside OpenFold: time and memory of one iteration."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fold_elsewhere import SCRIPTS, Elsewhere
from benchmarks.fold_sides import QUICK, Shape, one_iteration, shapes
from benchmarks.memory import peak_bytes
from benchmarks.table import Row, not_run
from benchmarks.timing import Side, interleave
from chaperonin.cli.main import SLEEP

SETTINGS = ("default", "unchunked", "chunks-of-4", "low-memory")
"""Of OpenFold, as fold_openfold.py has them."""
LARGE = Shape(256, 128, 1024, 2)
"""Memory above the weights is the same for any number of blocks."""


def time_beside_openfold(options: argparse.Namespace) -> list[Row]:
    """One iteration; of OpenFold's settings the fastest counts."""
    rows = []
    for shape in shapes(options):
        measure = f"one iteration against OpenFold, {shape}"
        if options.openfold is None:
            rows.append(_not_measured(measure))
            continue
        names = options.openfold_settings
        sides = [Side(one_iteration, {"shape": shape}, environment=SLEEP)]
        sides += [Side(openfold, _arguments(options, shape, setting)) for setting in names]
        repeats = 1 if options.quick else options.repeats
        samples = interleave(sides, repeats, options.threads, apart=not options.quick)
        ours, *theirs = samples.medians()
        fastest = min(theirs)
        listed = ", ".join(f"{name} {own:,.2f} s" for name, own in zip(names, theirs, strict=True))
        setting = names[theirs.index(fastest)]
        notes = f"OpenFold's setting: {setting}, the fastest of {listed}; its first call, which tunes, is not timed"
        named = dict(zip(("ours", *names), samples.seconds, strict=True))
        times = (f"{ours:,.2f} s", f"{fastest:,.2f} s")
        rows.append(Row(measure, *times, fastest / ours, *(1.7, 2.3), notes=notes, samples=named))
    return rows


def memory_beside_openfold(options: argparse.Namespace) -> list[Row]:
    """Weights of all blocks, and how far memory rises in the first iteration; against OpenFold's fastest setting."""
    shape = QUICK[0] if options.quick else LARGE
    measure = f"weights and peak of activations against OpenFold, {shape.sizes}"
    if options.openfold is None:
        return [_not_measured(measure)]
    weights = weight_bytes()
    ours, our_process = peak_bytes(Side(weighed_iteration, {"shape": shape}), options.threads)
    found = {name: _openfold_peak(options, shape, name) for name in options.openfold_settings}
    fastest = min(found, key=lambda name: found[name].seconds)
    theirs = found[fastest]
    rises = {name: own.rise for name, own in found.items()}
    listed = ", ".join(f"{name} {_megabytes(rise)}" for name, rise in rises.items())
    notes = (
        f"weights {_megabytes(weights)} on both sides; activations: ours {_megabytes(ours)}, OpenFold's {listed}; "
        f"{fastest} is the fastest; whole processes of {shape.blocks} blocks: {_megabytes(our_process)} and "
        f"{_megabytes(theirs.process)}"
    )
    return [
        Row(
            measure,
            _megabytes(weights + ours),
            _megabytes(weights + theirs.rise),
            (weights + ours) / (weights + theirs.rise),
            *(0.6, 0.35),
            notes=notes,
            lower_is_better=True,
            samples={"weights": weights, "ours": ours, "theirs": rises},
        )
    ]


@dataclass(frozen=True)
class Peak:
    """What an iteration needed."""

    seconds: float
    """Of a second call."""
    rise: int
    """Bytes of the first call, above what the process had before."""
    process: int
    """Bytes of the whole process."""


def openfold(python: Path, checkout: Path, setting: str, shape: Shape) -> Elsewhere:
    """OpenFold's iteration, in a process of another interpreter; answers with seconds and bytes."""
    sizes = (shape.length, shape.sequences, shape.extra_sequences, shape.blocks)
    return Elsewhere(python, SCRIPTS / "fold_openfold.py", checkout, setting, *sizes)


def weighed_iteration(shape: Shape) -> Callable[[], int]:
    """One iteration of ours; returns the peak of its whole process."""
    run = one_iteration(shape)

    def weighed() -> int:
        run()
        status = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

    return weighed


def weight_bytes() -> int:
    """Of model_3_ptm's parameters in fp32, all 48 blocks."""
    import torch

    from chaperonin.models.alphafold.config import PRESETS
    from chaperonin.models.alphafold.model import AlphaFold

    with torch.device("meta"):
        return sum(4 * parameter.numel() for parameter in AlphaFold(PRESETS["model_3_ptm"]).parameters())


def _arguments(options: argparse.Namespace, shape: Shape, setting: str) -> dict[str, Any]:
    python = options.openfold_python or Path(sys.executable)
    return {"python": python, "checkout": options.openfold, "setting": setting, "shape": shape}


def _openfold_peak(options: argparse.Namespace, shape: Shape, setting: str) -> Peak:
    iteration = openfold(**_arguments(options, shape, setting))
    try:
        _, rise, process = iteration().split()
        seconds, *_ = iteration().split()
    finally:
        iteration.close()
    return Peak(float(seconds), int(rise), int(process))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _not_measured(measure: str) -> Row:
    return not_run(measure, "not measured: give --openfold a checkout of github.com/aqlaboratory/openfold")
