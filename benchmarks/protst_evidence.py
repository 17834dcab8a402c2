"""./go bench protst_evidence: what a small ProtST learns of places in the cell from words alone.

Trained on pairs of protein and text: DeepLoc 1's training folds 1 to 7, each protein described by its place, and
proteins with a name or a function; none of them is kin of fold 0 (the double-hit clusters of the package). Judged on
fold 0 by prompts, beside chance, the most frequent place, and a logistic regression on composition that learned from
the places of the same folds. Half an hour on two cores; a run that is stopped goes on.

    ./go bench protst_evidence --out runs/protst_evidence
"""

import argparse
import csv
import gzip
import json
import random
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, matthews_corrcoef
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.setting import add_data_option
from chaperonin.cli.main import main as chaperonin
from chaperonin.data.clusters import clusters
from chaperonin.data.stream import Sequences
from chaperonin.files import write_atomically
from chaperonin.protein.alphabet import STANDARD_RESIDUES

CONFIG = Path(__file__).parents[1] / "configs/protst-tiny.yaml"
JUDGED = "0"
"""The fold that is held out."""
PLACES = {
    "Cell.membrane": "cell membrane",
    "Cytoplasm": "cytoplasm",
    "Endoplasmic.reticulum": "endoplasmic reticulum",
    "Extracellular": "extracellular space",
    "Golgi.apparatus": "Golgi apparatus",
    "Lysosome/Vacuole": "lysosome or vacuole",
    "Mitochondrion": "mitochondrion",
    "Nucleus": "nucleus",
    "Peroxisome": "peroxisome",
    "Plastid": "plastid",
}
MOST_DESCRIBED = 10_000
"""Pairs with a name or a function, drawn with seed 0."""
_COLUMNS = ("id", "sequence", "location", "name", "function")


def prompt(place: str) -> str:
    """How a place is said, in training and in judging."""
    return f"A protein located in the {PLACES[place]}."


def main(arguments: list[str]) -> int:
    """Make the table, train, judge, print; returns the exit code."""
    options = _parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "pairs.tsv"
    located = _rows(options.data / "localization/deeploc1_train.tsv.gz")
    judged = [row for row in located if row["fold"] == JUDGED]
    if not table.is_file():
        write_pairs(table, located, judged, options.data)
    _inputs(options.out, judged)
    overrides = [f"data.input={table}", f"training.steps={options.steps}"]
    words = [word for override in overrides for word in ("--set", override)]
    if chaperonin(["train", str(CONFIG), str(options.out / "run"), "--device", "cpu", *words]) == 1:
        return 1
    told = ["predict", str(options.out / "fold0.fasta"), str(options.out / "told"), "--overwrite"]
    told += ["--prompts", str(options.out / "places.tsv"), "--model", str(options.out / "run/model")]
    if chaperonin([*told, "--set", "device=cpu"]) == 1:
        return 1
    print(figures(options.out, located, judged))
    return 0


def write_pairs(path: Path, located: list[dict[str, str]], judged: list[dict[str, str]], data: Path) -> None:
    """The table that trains, without kin of what is judged."""
    rows = [
        {"id": row["acc"], "sequence": row["sequence"], "location": prompt(row["location"])}
        for row in located
        if row["fold"] != JUDGED
    ]
    described = [
        {"id": f"d{number}", **{name: row[name] for name in ("sequence", "name", "function")}}
        for number, row in enumerate(_rows(data / "text/protein_text_pairs.tsv.gz"))
        if row["name"] or row["function"]
    ]
    rows += random.Random(0).sample(described, min(MOST_DESCRIBED, len(described)))
    kin = clusters(Sequences.gather([row["sequence"] for row in (*judged, *rows)]))
    forbidden = set(kin[: len(judged)].tolist())
    kept = [row for row, own in zip(rows, kin[len(judged) :], strict=True) if own not in forbidden]
    print(
        f"{len(rows) - len(kept):,} of {len(rows):,} pairs are kin of fold {JUDGED} and left out",
        file=sys.stderr,
    )
    lines = ["\t".join(_COLUMNS), *("\t".join(row.get(name, "") for name in _COLUMNS) for row in kept)]
    write_atomically(path, "\n".join(lines) + "\n")


def _inputs(folder: Path, judged: list[dict[str, str]]) -> None:
    write_atomically(folder / "fold0.fasta", "".join(f">{row['acc']}\n{row['sequence']}\n" for row in judged))
    prompts = [f"{place}\t{prompt(place)}" for place in PLACES]
    write_atomically(folder / "places.tsv", "\n".join(["label\tprompt", *prompts]) + "\n")


def figures(folder: Path, located: list[dict[str, str]], judged: list[dict[str, str]]) -> str:
    """Accuracy and MCC of the prompts beside what counting reaches, and the retrieval of held-out pairs."""
    with (folder / "told/predictions.csv").open(newline="") as lines:
        told = {row["id"]: row["label"] for row in csv.DictReader(lines)}
    truth = [row["location"] for row in judged]
    training = [row for row in located if row["fold"] != JUDGED]
    labels = [row["location"] for row in training]
    often = max(set(labels), key=labels.count)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(_composition(training), labels)
    guesses = {
        "prompts, worded as in training": [told[row["acc"]] for row in judged],
        "composition, logistic regression on the places of the same folds": list(
            model.predict(_composition(judged))
        ),
        f"always {often}": [often] * len(truth),
    }
    lines_ = ["| of " + f"{len(truth):,} proteins of fold {JUDGED} | accuracy | MCC |", "|---|---|---|"]
    for name, own in guesses.items():
        lines_.append(f"| {name} | {accuracy_score(truth, own):.3f} | {matthews_corrcoef(truth, own):.3f} |")
    lines_.append(f"| chance | {1 / len(PLACES):.3f} | 0 |")
    found = json.loads((folder / "run/retrieval.json").read_text())
    lines_ += ["", f"| retrieval among {found.pop('pairs'):.0f} held-out pairs | share |", "|---|---|"]
    lines_ += [f"| {name} | {value:.3f} |" for name, value in found.items()]
    return "\n".join(lines_)


def _composition(rows: list[dict[str, str]]) -> NDArray[np.float64]:
    return np.array(
        [
            [row["sequence"].count(letter) / len(row["sequence"]) for letter in STANDARD_RESIDUES]
            for row in rows
        ]
    )


def _rows(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 24)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./go bench protst_evidence", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/protst_evidence"), help="where everything goes"
    )
    parser.add_argument("--steps", type=int, default=800, help="of the training")
    add_data_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
