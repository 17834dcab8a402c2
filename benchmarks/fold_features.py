"""Row of ./go bench fold about features: an alignment as the network reads it, drawn anew for each iteration."""

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.fold_elsewhere import SCRIPTS, Elsewhere
from benchmarks.table import Row, not_run
from benchmarks.timing import Side, interleave

_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_SAMPLES = 4
"""Three recycles."""
_KEPT, _GAPS = 0.4, 0.2
"""How often a letter of the query stays, and how often there is a gap."""


def features(options: argparse.Namespace) -> list[Row]:
    """All samples of one run of model_3_ptm; reading the file is not timed."""
    rows, length = (50, 20) if options.quick else (10_000, 300)
    measure = f"features of {rows:,} sequences of {length} residues, {_SAMPLES} samples, against ColabFold's"
    if options.jax is None:
        return [not_run(measure, "not measured: give --jax an interpreter that has alphafold-colabfold")]
    with TemporaryDirectory(prefix="chaperonin-bench-") as folder:
        a3m = Path(folder) / "made_up.a3m"
        a3m.write_text(made_up(rows, length))
        sides = [Side(our_features, {"a3m": a3m}), Side(_theirs, {"python": options.jax, "a3m": a3m})]
        samples = interleave(sides, 1 if options.quick else 5, options.threads, apart=not options.quick)
    ours, theirs = samples.medians()
    seconds = {"ours": samples.seconds[0], "theirs": samples.seconds[1]}
    times = (f"{ours:,.2f} s", f"{theirs:,.2f} s")
    return [
        Row(measure, *times, theirs / ours, 3, notes="512 clusters, 5,120 extra sequences", samples=seconds)
    ]


def made_up(rows: int, length: int) -> str:
    """An alignment in A3M: a random query, and rows that are like it in part."""
    draw = random.Random(0)
    query = draw.choices(_LETTERS, k=length)
    texts = ["".join(query)]
    for _ in range(rows - 1):
        other = draw.choices(_LETTERS, k=length)
        chances = [draw.random() for _ in query]
        pairs = zip(query, other, chances, strict=True)
        texts.append("".join(q if p < _KEPT else "-" if p < _KEPT + _GAPS else o for q, o, p in pairs))
    return "".join(f">{number}\n{text}\n" for number, text in enumerate(texts))


def our_features(a3m: Path) -> Callable[[], Any]:
    """All samples of one run."""
    import numpy as np

    from chaperonin.data.alignment_features import FeatureSettings, prepare, sample
    from chaperonin.protein.alignment import read_a3m

    alignment = read_a3m(a3m.read_text())
    settings = FeatureSettings()

    def run() -> None:
        prepared = prepare(alignment)
        for number in range(_SAMPLES):
            sample(prepared, settings, np.random.default_rng(number))

    return run


def _theirs(python: Path, a3m: Path) -> Elsewhere:
    return Elsewhere(python, SCRIPTS / "fold_jax_features.py", a3m)
