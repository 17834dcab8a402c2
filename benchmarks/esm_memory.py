"""Peak memory beside transformers, and beside what was predicted."""

import json
import os
import random
import sys
from subprocess import run

import numpy as np

from benchmarks.esm_sides import Shape, contacts_ours, contacts_theirs
from benchmarks.memory import peak_bytes
from benchmarks.setting import TINY, Setting, residues
from benchmarks.table import Row
from benchmarks.timing import Side

LARGE: Shape = {"width": 1280, "depth": 33, "heads": 20}
"""ESM-2 650M, whole."""
SMALL: Shape = {"width": 480, "depth": 4, "heads": 20}
"""ESM-2 35M with 4 layers."""


def contacts(setting: Setting) -> list[Row]:
    """Memory that a contact map of 512 residues needs on top of the loaded model."""
    shape, length = (TINY, 60) if setting.quick else (LARGE, 512)
    arguments = {"folder": setting.model(shape), "sequence": residues(length, random.Random(0))}
    ours, our_map = peak_bytes(Side(contacts_ours, arguments), setting.threads)
    theirs, their_map = peak_bytes(Side(contacts_theirs, arguments), setting.threads)
    largest = float(np.abs(our_map - their_map).max())
    if largest > 1e-5:
        raise AssertionError(f"the maps differ by {largest:.2g}: there is nothing to compare")
    return [
        Row(
            f"contact map at {length} residues, {shape['depth']} layers of width {shape['width']}: peak memory",
            f"{ours / 1e6:,.1f} MB",
            f"{theirs / 1e6:,.1f} MB",
            theirs / ours,
            *(20, 50),
            notes=f"above the loaded model; maps differ by {largest:.1g}, values {_range(our_map)}",
            samples={"ours": ours, "theirs": theirs},
        )
    ]


def _range(values: np.ndarray) -> str:
    return f"{values.min():.2g} to {values.max():.2g}"


def prediction(setting: Setting) -> list[Row]:
    """Peak memory of `chaperonin embed` on real lengths: what it predicted beside what it measured."""
    sequences, source = setting.proteins(8 if setting.quick else 64)
    fasta = setting.scratch / "proteins.fasta"
    fasta.write_text("".join(f">{number}\n{own}\n" for number, own in enumerate(sequences)), encoding="ascii")
    outdir = setting.scratch / "embeddings"
    command = [sys.executable, "-m", "chaperonin.cli.main", "embed", str(fasta), str(outdir)]
    environment = os.environ | {"OMP_NUM_THREADS": str(setting.threads)}
    run([*command, "--model", setting.model(SMALL)], check=True, capture_output=True, env=environment)
    memory = json.loads((outdir / "run.json").read_text(encoding="utf-8"))["memory"]
    predicted, measured = memory["predicted_bytes"], memory["measured_bytes"]
    off = abs(predicted / measured - 1) * 100
    notes = f"{source}; whole process of `chaperonin embed`, 35M width, 4 layers"
    texts = (f"{predicted / 1e6:,.0f} MB predicted", f"{measured / 1e6:,.0f} MB measured")
    return [
        Row(
            "peak memory of embed: predicted, measured",
            *texts,
            off,
            *(15, 5),
            unit=" % off",
            notes=notes,
            lower_is_better=True,
            samples=memory,
        )
    ]
