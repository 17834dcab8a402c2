"""Folders as finished jobs leave them, small and with known content."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from chaperonin.protein.alphabet import STANDARD_RESIDUES

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"


class JobFolder:
    """Writes the files of one job."""

    def __init__(self, path: Path, verb: str) -> None:
        self.path = path
        self.verb = verb
        path.mkdir(parents=True)
        self.run()
        self.failures([])

    def run(self, done: int = 4, failed: int = 0, **more: object) -> None:
        record = {
            "verb": self.verb,
            "command": f"chaperonin {self.verb} proteins.fasta out",
            "config": {"precision": "float32", "batching": {"token_budget": 4096}},
            "model": {"name": "chaperonin/esm2-tiny", "sha256": "ab" * 32, "parameters": 1234567},
            "versions": {"chaperonin": "0.1.0", "torch": "2.13.0"},
            "hardware": {"device": "cpu", "memory_bytes": 2**34},
            "seed": 17,
            "started": "2026-01-02T03:04:05+00:00",
            "finished": "2026-01-02T03:05:05+00:00",
            "seconds": {"read": 0.5, "compute": 12.0},
            "records": {"read": done + failed, "done": done, "failed": failed, "unique": done},
            "tokens": 98765,
            "memory": {"predicted_bytes": 330 * 2**20, "measured_bytes": 300 * 2**20},
        }
        (self.path / "run.json").write_text(json.dumps(record | more))

    def failures(self, failures: Sequence[Mapping[str, object]]) -> None:
        self.lines("failures.jsonl", failures)

    def lines(self, name: str, entries: Sequence[Mapping[str, object]]) -> None:
        (self.path / name).write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    def embeddings(self, names: Sequence[str], embeddings: np.ndarray, lengths: Sequence[int]) -> None:
        flat = pa.array(embeddings.astype(np.float32).ravel())
        columns = {
            "id": pa.array(names, pa.string()),
            "length": pa.array(lengths, pa.int32()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]),
        }
        pa.parquet.write_table(pa.table(columns), self.path / "embeddings.parquet", row_group_size=5_000)

    def scores(self, rows: Sequence[Mapping[str, object]]) -> None:
        with (self.path / "scores.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def contacts(self, file_name: str, name: str, sequence: str, seed: int = 0) -> np.ndarray:
        half = np.random.default_rng(seed).random((len(sequence), len(sequence)), dtype=np.float32)
        probabilities = np.asarray((half + half.T) / 2, dtype=np.float32)
        folder = self.path / "contacts"
        folder.mkdir(exist_ok=True)
        np.savez_compressed(
            folder / f"{file_name}.npz",
            contacts=probabilities,
            sequence=np.array(sequence),
            id=np.array(name),
        )
        return probabilities


def saturation(sequence: str, target: str = "ubiquitin", seed: int = 0) -> Iterator[dict[str, object]]:
    """Every single substitution with a random score."""
    generator = np.random.default_rng(seed)
    for position, wild in enumerate(sequence, start=1):
        for residue in STANDARD_RESIDUES:
            if residue != wild:
                mutated = sequence[: position - 1] + residue + sequence[position:]
                score = f"{generator.normal(-1):.5f}"
                mutant = f"{wild}{position}{residue}"
                yield {"target": target, "mutant": mutant, "mutated_sequence": mutated, "score": score}


@pytest.fixture
def new_job(tmp_path: Path) -> Callable[[str], JobFolder]:
    """`new_job("embed")` is a folder with run.json and an empty failures.jsonl."""
    return lambda verb: JobFolder(tmp_path / verb, verb)


@pytest.fixture
def scan() -> Callable[..., list[dict[str, object]]]:
    """Rows of a saturation scan: `scan(sequence, target, seed)`."""
    return lambda *arguments: list(saturation(*arguments))


@pytest.fixture
def embed_job(new_job: Callable[[str], JobFolder]) -> JobFolder:
    job = new_job("embed")
    embeddings = np.random.default_rng(1).normal(size=(30, 16))
    job.embeddings([f"protein_{n}" for n in range(30)], embeddings, range(40, 340, 10))
    return job


@pytest.fixture
def score_job(new_job: Callable[[str], JobFolder]) -> JobFolder:
    job = new_job("score")
    job.scores([row | {"DMS_score": float(str(row["score"])) ** 3} for row in saturation(UBIQUITIN[:30])])
    metrics = {"spearman": 0.4321, "ndcg": 0.8, "baselines": {"BLOSUM62": {"spearman": 0.2468, "ndcg": 0.7}}}
    (job.path / "metrics.json").write_text(json.dumps(metrics))
    return job


@pytest.fixture
def contacts_job(new_job: Callable[[str], JobFolder]) -> JobFolder:
    job = new_job("contacts")
    for number in range(2):
        job.contacts(f"p{number}", f"protein {number}", UBIQUITIN[: 50 + number], number)
    return job


@pytest.fixture
def train_job(new_job: Callable[[str], JobFolder]) -> JobFolder:
    job = new_job("train")
    lines = []
    for step in range(1, 101):
        line: dict[str, object] = {"step": step, "tokens": step * 1000, "loss": 3 - step / 100}
        line |= {"learning_rate": 1e-3 / step, "tokens_per_second": 5e4}
        if step % 20 == 0:
            held_out = 3.1 - step / 100
            line |= {"held_out_loss": held_out, "held_out_perplexity": float(np.exp(held_out))}
        lines.append(line)
    job.lines("metrics.jsonl", lines)
    return job
