"""Make labelled sequences that are no real proteins: `python examples/made_membrane.py FILE [COUNT]`.

Those called M have stretches of twenty-odd hydrophobic residues, as helices that cross a membrane do; those called S
are made of the same residues overall, without stretches. So composition alone tells little, and a model that looks at
neighbours can learn the rest. They are for trying out `chaperonin train`, and for nothing else.
"""

import csv
import random
import sys
from pathlib import Path

HYDROPHOBIC = "AAFFGIIILLLLMVVVW"
POLAR = "DDEEGHKKNNPPQQRRSSSTTTY"


def made_sequence(label: str, generator: random.Random) -> str:
    """A sequence of 60 to 140 residues: M has two to four stretches, S as many residues of their kind, scattered."""
    length = generator.randint(60, 140)
    stretches = [generator.randint(18, 24) for _ in range(generator.randint(2, 4))]
    residues = [generator.choice(POLAR) for _ in range(length - sum(stretches))]
    hydrophobic = [generator.choice(HYDROPHOBIC) for _ in range(sum(stretches))]
    if label == "S":
        mixed = residues + hydrophobic
        generator.shuffle(mixed)
        return "M" + "".join(mixed)
    cuts = sorted(generator.randint(0, len(residues)) for _ in stretches)
    parts, first, taken = [], 0, 0
    for cut, stretch in zip(cuts, stretches, strict=True):
        parts += residues[first:cut] + hydrophobic[taken : taken + stretch]
        first, taken = cut, taken + stretch
    return "M" + "".join(parts + residues[first:])


def write_table(path: Path, count: int = 240, seed: int = 0) -> None:
    """A CSV with the columns id, sequence, label and stage; the same for the same seed."""
    generator = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(["id", "sequence", "label", "stage"])
        for number in range(count):
            label = "MS"[number % 2]
            stage = ("train", "train", "train", "val", "test")[number // 2 % 5]
            table.writerow([f"made_{number:03d}", made_sequence(label, generator), label, stage])


if __name__ == "__main__":
    write_table(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 240)
