"""Embeddings: each record's own, whatever stood beside it, and the same bytes after any number of kills."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from pyarrow import parquet

from chaperonin.errors import UsageError
from chaperonin.inference.embed import EmbedSettings, embed, embed_job
from chaperonin.inference.sequences import sequence_key
from chaperonin.inference.windows import blend, windows
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def random_sequence(length: int, seed: int) -> str:
    return "".join(random.Random(f"{seed} {length}").choices(RESIDUES, k=length))


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    lengths = [5, 60, 33, 5, 1022, 1, 700, 1500]
    records = [(f"p{number}", random_sequence(length, number)) for number, length in enumerate(lengths)]
    records += [("twin", records[1][1]), ("broken", "AC*DE"), ("p1", "MKT")]
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">{id}\n{sequence}\n" for id, sequence in records))
    return path


def alone(model: ESM, sequence: str) -> np.ndarray:
    """The sequence through the model by itself, windows by hand."""
    spans = windows(len(sequence))
    parts = []
    for span in spans:
        tokens = torch.from_numpy(model.alphabet.encode(sequence[span.start : span.stop]))
        with torch.inference_mode():
            parts.append(model(tokens, Segments([len(tokens)]))[1:-1].numpy())
    return blend(parts, spans, len(sequence))


def test_each_record_gets_its_own_vectors(model: ESM, fasta: Path) -> None:
    result = embed(model, fasta, EmbedSettings(batch_tokens=300))
    assert result.ids == ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "twin", "p1_2"]
    assert [failure.id for failure in result.failures] == ["broken"]
    sequences = {number: random_sequence(length, number) for number, length in ((1, 60), (7, 1500))}
    np.testing.assert_allclose(result.residues[1], alone(model, sequences[1]), atol=1e-5)
    np.testing.assert_allclose(result.residues[7], alone(model, sequences[7]), atol=1e-5)
    np.testing.assert_allclose(result.proteins[7], alone(model, sequences[7]).mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(result.residues[8], result.residues[1])


def test_files_hold_what_memory_holds(model: ESM, fasta: Path, tmp_path: Path) -> None:
    expected = embed(model, fasta)
    outcome = embed_job(model, fasta, tmp_path / "out")
    assert (outcome.done, outcome.failed, outcome.exit_code) == (10, 1, 3)
    table = parquet.read_table(tmp_path / "out/embeddings.parquet")
    assert table.column("id").to_pylist() == expected.ids
    assert table.column("length").to_pylist() == [len(own) for own in expected.residues]
    vectors = np.stack(table.column("embedding").to_numpy())
    np.testing.assert_allclose(vectors, expected.proteins, atol=1e-6)
    with h5py.File(tmp_path / "out/embeddings.h5") as stored:
        assert len(stored) == 9  # p1 and its twin are one sequence
        own = stored[sequence_key(random_sequence(60, 1))]
        assert own.attrs["original_id"] == "p1"
        np.testing.assert_allclose(own[:], expected.residues[1], atol=1e-6)
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["records"] == {"read": 11, "done": 10, "failed": 1, "unique": 9}
    (failure,) = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert (failure["id"], failure["record"]) == ("broken", 10)


@pytest.mark.parametrize(("long", "lengths"), [("truncate", 1022), ("fail", None), ("window", 1500)])
def test_long_sequences_follow_the_policy(model: ESM, long: str, lengths: int | None) -> None:
    result = embed(model, {"long": random_sequence(1500, 0)}, EmbedSettings(long=long))  # type: ignore[arg-type]
    assert [len(own) for own in result.residues] == ([lengths] if lengths else [])
    if not lengths:
        assert "1,500 residues" in str(result.failures[0].error)


def test_a_finished_job_is_not_done_again_and_other_settings_are_refused(
    model: ESM, fasta: Path, tmp_path: Path
) -> None:
    embed_job(model, fasta, tmp_path / "out")
    before = (tmp_path / "out/embeddings.h5").stat().st_mtime_ns
    assert embed_job(model, fasta, tmp_path / "out").done == 10
    assert (tmp_path / "out/embeddings.h5").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"other settings: level was \"both\", now \"protein\""):
        embed_job(model, fasta, tmp_path / "out", EmbedSettings(level="protein"))
    fasta.write_text(">other\nMKT\n")
    with pytest.raises(UsageError, match="other settings: input"):
        embed_job(model, fasta, tmp_path / "out")


def test_killed_and_resumed_gives_the_same_bytes(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.fasta"
    path.write_text("".join(f">s{n}\n{random_sequence(20 + 13 * n % 900, n)}\n" for n in range(150)))
    code = (
        "import sys; from chaperonin.inference.jobs import Job; from chaperonin.cli.main import main; "
        "Job.open.__func__.__kwdefaults__['flush_seconds'] = 0.0; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "embed", str(path)]
    options = ["--model", str(model_folder), "--set", "batch_tokens=1200"]
    subprocess.run([*command, str(tmp_path / "whole"), *options], check=True, capture_output=True)
    shards = tmp_path / "killed/shards"
    for wanted in (1, 3, 5):
        running = subprocess.Popen([*command, str(tmp_path / "killed"), *options], stderr=subprocess.DEVNULL)
        while running.poll() is None and len(list(shards.glob("*.safetensors"))) < wanted:
            time.sleep(0.005)
        assert running.poll() is None, "it ended before it could be killed"
        running.send_signal(signal.SIGKILL)
        running.wait()
    subprocess.run([*command, str(tmp_path / "killed"), *options], check=True, capture_output=True)
    for name in ("embeddings.h5", "embeddings.parquet", "failures.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
