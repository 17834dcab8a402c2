"""`./go demo`: what it leaves and what it says."""

import csv
import re
import shutil
from pathlib import Path

from tests.forked import run_python

EXAMPLES = Path(__file__).parents[1] / "examples"

FOLDED_IN_A_MEMBRANE = {"P02945": "M", "P29972": "M"}  # bacteriorhodopsin, aquaporin-1
SOLUBLE = {"P00698": "S", "P61823": "S", "P0AA25": "S"}  # lysozyme, ribonuclease, thioredoxin
PLACES = {"P00698": "Extracellular", "P68431": "Nucleus"}  # lysozyme, histone H3.1


def labels(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as opened:
        return {row["id"]: row["label"] for row in csv.DictReader(opened)}


def fewer(text: str, wanted: set[str]) -> str:
    """The wanted proteins of a FASTA."""
    records = re.split(r"^(?=>)", text, flags=re.MULTILINE)
    return "".join(record for record in records if any(name in record.partition("\n")[0] for name in wanted))


def test_the_demo_runs_every_verb_and_says_what_is_made_up(tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    shutil.copytree(EXAMPLES, examples)
    proteins, scanned = examples / "proteins.fasta", examples / "blat_ecolx.fasta"
    proteins.write_text(fewer(proteins.read_text(), {*FOLDED_IN_A_MEMBRANE, *SOLUBLE, *PLACES}))
    scanned.write_text("\n".join(scanned.read_text().splitlines()[:3]) + "\n")
    tmp_path = tmp_path / "demo"
    run = run_python(examples / "demo.py", tmp_path)
    assert run.returncode == 0, run.stderr

    pages = sorted(tmp_path.glob("*/report.html"))
    assert [page.parent.name for page in pages] == [
        "contacts",
        "embed",
        "localization",
        "membrane",
        "score",
        "train-on-made-data",
    ]
    assert all(str(page) in run.stdout and page.stat().st_size > 10_000 for page in pages)
    assert all((page.parent / "failures.jsonl").read_text() == "" for page in pages)
    assert "sequences that are MADE, not real" in run.stdout

    # What is served was trained on real proteins, not a moment ago on made ones; and it knows some proteins.
    assert "trained on real proteins" in run.stdout
    assert "./go run serve chaperonin/esm2-tiny-membrane" in run.stdout
    membrane = labels(tmp_path / "membrane/predictions.csv")
    assert membrane.items() >= (FOLDED_IN_A_MEMBRANE | SOLUBLE).items()
    assert labels(tmp_path / "localization/predictions.csv").items() >= PLACES.items()
