"""Row of ./go bench fold about a short job: from the start of the process to the first structure on the disk."""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from subprocess import DEVNULL, Popen
from tempfile import TemporaryDirectory

from benchmarks.fold_elsewhere import SCRIPTS, hold_processors
from benchmarks.table import Row, not_run

PRESET = "model_3_ptm"
"""Without templates, as the other side."""
SEQUENCE = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKE"
_WAIT_S = 0.005
_MEASURE = "process start to the first PDB, 64 residues, 3 recycles, against JAX"


def start(options: argparse.Namespace) -> list[Row]:
    """Both read the same random parameters from a file each, fold on the processor, and compile afresh."""
    if options.jax is None:
        return [not_run(_MEASURE, "not measured: give --jax an interpreter that has alphafold-colabfold")]
    blocks = 1 if options.quick else 48
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    with TemporaryDirectory(prefix="chaperonin-bench-") as name:
        folder = Path(name)
        make_inputs(folder, blocks)
        for turn in range(1 if options.quick else options.repeats):
            seconds["ours"].append(until_structure(our_command(folder, turn), folder / f"ours{turn}"))
            theirs = folder / f"theirs{turn}"
            seconds["theirs"].append(
                until_structure(jax_command(options.jax, folder, theirs, blocks), theirs)
            )
    ours, theirs_s = median(seconds["ours"]), median(seconds["theirs"])
    notes = f"one sequence, {PRESET}, fp32, random parameters read from disk; compilation is in it"
    times = (f"{ours:,.1f} s", f"{theirs_s:,.1f} s")
    return [Row(_MEASURE, *times, theirs_s / ours, *(3, 5), notes=notes, samples=seconds)]


def make_inputs(folder: Path, blocks: int) -> None:
    """A FASTA file, and the same random parameters as `params_model_3_ptm.npz` and as a folder of ours."""
    from chaperonin.inference.fold_models import random_network
    from chaperonin.models.alphafold.checkpoints import convert
    from chaperonin.models.alphafold.config import PRESETS
    from chaperonin.models.alphafold.layout import LAYOUT
    from chaperonin.weights.pretrained import save_folder

    (folder / "protein.fasta").write_text(f">protein\n{SEQUENCE}\n")
    network = random_network(replace(PRESETS[PRESET], blocks=blocks))
    place = folder / PRESET
    place.mkdir()
    save_folder(LAYOUT, network, place)
    convert(place, folder / f"params_{PRESET}.npz")


def our_command(folder: Path, turn: int) -> list[str]:
    """`chaperonin fold`, as it is typed."""
    files = [str(folder / "protein.fasta"), str(folder / f"ours{turn}")]
    options = ["--models", str(folder / PRESET), "--recycles", "3", "--set", "device=cpu"]
    return [sys.executable, "-m", "chaperonin.cli.main", "fold", *files, *options]


def jax_command(python: Path, folder: Path, outdir: Path, blocks: int) -> list[str]:
    """alphafold-colabfold, which writes one file."""
    outdir.mkdir()
    files = [folder / f"params_{PRESET}.npz", folder / "protein.fasta", outdir / "protein.pdb"]
    return [str(python), str(SCRIPTS / "fold_jax_start.py"), *map(str, files), str(blocks)]


def until_structure(command: list[str], outdir: Path) -> float:
    """Seconds until there is a PDB file; the process ends before this returns, well or with RuntimeError."""
    own = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    begun = time.perf_counter()
    with Popen(command, stdout=DEVNULL, env=own, preexec_fn=hold_processors()) as process:
        while not (there := any(outdir.glob("*.pdb"))) and process.poll() is None:
            time.sleep(_WAIT_S)
        seconds = time.perf_counter() - begun
    if process.returncode or not (there or any(outdir.glob("*.pdb"))):
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}, no structure")
    return seconds
