"""`score` and `contacts` as the command line runs them, killed at random moments and started again."""

import json
import random
from pathlib import Path

import pytest
from tests.forked import run_python

from chaperonin.protein.alphabet import STANDARD_RESIDUES

SCRIPT = Path(__file__).with_name("killed_job.py")


# The job of both is that of embed and of the tests of jobs, which are killed in the usual suite.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "options", "files"),
    [
        ("score", ("--set", "batch_tokens=512"), {"scores.csv", "failures.jsonl"}),
        (
            "contacts",
            ("--no-pictures", "--set", "batch_tokens=32"),
            {"failures.jsonl", *(f"contacts/p{number}.npz" for number in range(12))},
        ),
    ],
)
def test_killed_at_random_moments_a_verb_leaves_the_same_bytes(
    verb: str, options: tuple[str, ...], files: set[str], model_folder: Path, tmp_path: Path
) -> None:
    generator = random.Random(8)
    sequences = ["".join(generator.choices(STANDARD_RESIDUES, k=12 + number)) for number in range(12)]
    lines = [f">p{number}\n{sequence}\n" for number, sequence in enumerate(sequences)]
    (tmp_path / "in.fasta").write_text("".join([*lines, ">broken\nMK*T\n"]))
    command = [SCRIPT, "verb", tmp_path, verb, tmp_path / "in.fasta", *options]
    done = run_python(*command, "--model", model_folder, "--set", "precision=fp32", timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["files"]) == files
    assert found["kills"] >= 6 and found["finished"] >= 2 and found["resumed"] >= 2
    assert found["different"] == []
