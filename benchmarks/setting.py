"""What every row of a benchmark needs to know: where, how often, with which models and proteins."""

import argparse
import csv
import gzip
import os
import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.esm_sides import Shape, write_random_model
from benchmarks.timing import Samples, Side, interleave

TINY: Shape = {"width": 64, "depth": 2, "heads": 4}
LONGEST = 1022
"""Residues that ESM-2 was trained with at most; longer proteins are cut on both sides."""


@dataclass(frozen=True)
class Setting:
    """One run of the benchmark."""

    scratch: Path
    threads: int
    repeats: int
    quick: bool
    data: Path

    def interleave(self, sides: list[Side], repeats: int | None = None) -> Samples:
        """Time sides in turn, each in its own process; a quick run has one process and one round."""
        if self.quick:
            return interleave(sides, 1, self.threads, apart=False)
        return interleave(sides, repeats or self.repeats, self.threads)

    def model(self, shape: Shape) -> str:
        """Folder of a random model of this shape (tiny in a quick run), written once."""
        shape = TINY if self.quick else shape
        folder = self.scratch / "_".join(f"{name}{value}" for name, value in shape.items())
        if not folder.exists():
            write_random_model(folder, shape)
        return str(folder)

    def proteins(self, count: int) -> tuple[list[str], str]:
        """Proteins of the localization set, lengths spread as in the set, and a sentence on where they are from.

        Those in the middle of equal shares of the set in order of length: even a few of them have its mean, which a
        few drawn at random may miss by a third. Their order is drawn with seed 0: no user's FASTA is sorted.
        """
        path = self.data / "localization" / "deeploc1_train.tsv.gz"
        draw = random.Random(0)
        if self.quick or not path.exists():
            lengths = [min(LONGEST, int(draw.lognormvariate(5.9, 0.7)) + 20) for _ in range(count)]
            lengths = [length // 8 + 10 for length in lengths] if self.quick else lengths
            return [residues(length, draw) for length in lengths], "made-up lengths (log-normal)"
        with gzip.open(path, "rt", encoding="utf-8") as file:
            sequences = [row["sequence"][:LONGEST] for row in csv.DictReader(file, delimiter="\t")]
        if count > len(sequences):
            raise ValueError(f"{path} holds {len(sequences):,} proteins, not {count:,}")
        sequences.sort(key=len)
        chosen = [sequences[(2 * number + 1) * len(sequences) // (2 * count)] for number in range(count)]
        draw.shuffle(chosen)
        return chosen, f"DeepLoc 1 proteins, cut at {LONGEST} residues, lengths spread as the set's"


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """`--data`: the folder of real proteins, by default that of CHAPERONIN_DATA or the one beside the project."""
    beside = Path(__file__).resolve().parents[1] / "../shared/data"
    default = Path(os.environ.get("CHAPERONIN_DATA", beside))
    parser.add_argument(
        "--data", type=Path, default=default, help="folder of real proteins (CHAPERONIN_DATA)"
    )


def residues(length: int, draw: random.Random) -> str:
    """A random sequence of standard residues."""
    return "".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=length))
