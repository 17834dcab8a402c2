"""Small files in the format of ProtST's localization sets: prompts, a test split, the three parts of the binary set."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

PLACES = (
    *("Cell membrane.", "Cytoplasm.", "Endoplasmic reticulum (ER).", "Golgi apparatus."),
    *("Lysosome/Vacuole.", "Mitochondrion.", "Nucleus.", "Peroxisome. ", "Plastid.", "Extracellular. "),
)
"""Ten, two of them with a blank at the end."""
TEXTS = tuple(f"SUBCELLULAR LOCATION: {place}" for place in PLACES)


def write_prompts(path: Path) -> None:
    """subloc_template, as the authors (.tsv) and the hub (.csv) have it; the lines end as on Windows."""
    mark = "\t" if path.suffix == ".tsv" else ","
    rows = [(str(number), text, f"In other words: {text}") for number, text in enumerate(TEXTS)]
    lines = [mark.join(row) for row in [("id", "name", "description"), *rows]]
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())


def write_split(path: Path, sequences: Sequence[str], labels: Sequence[int]) -> None:
    """The test split: prot_seq with blanks between the residues, localization as 64-bit integers, no ids."""
    table = {"prot_seq": [" ".join(own) for own in sequences], "localization": pa.array(labels, pa.int64())}
    parquet.write_table(pa.table(table), path)


def write_parts(folder: Path, sizes: Mapping[str, int]) -> None:
    """A file for each stage: a first column without a good name, prot_seq with blanks, localization 0 or 1."""
    folder.mkdir()
    generator = np.random.default_rng(4)
    for stage, size in sizes.items():
        lines = ["Unnamed: 0,prot_seq,localization"]
        for number in range(size):
            letters = list(("DEKRNQST", "AILMFVWC")[number % 2])
            lines.append(f"{number},{' '.join(generator.choice(letters, 25))},{number % 2}")
        (folder / f"binary-localization_{stage}.csv").write_text("\n".join(lines) + "\n")
