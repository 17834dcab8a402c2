"""Embeddings: each record's own, whatever stood beside it, and the same bytes after any number of kills."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from pyarrow import parquet
from tests.forked import Python, run_python

from chaperonin.cli.main import main
from chaperonin.data.windows import blend, windows
from chaperonin.errors import UsageError
from chaperonin.inference.embed import EmbedSettings, embed, embed_job, represent
from chaperonin.inference.load import load
from chaperonin.inference.sequences import sequence_key
from chaperonin.kernels.linear import lacks_int8
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


def disk_of(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    usage = shutil._ntuple_diskusage(10**12, 10**12 - free_bytes, free_bytes)
    monkeypatch.setattr("chaperonin.files.shutil.disk_usage", lambda folder: usage)


def test_a_disk_without_room_is_refused_before_anything_is_computed(
    model: ESM, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    residues = 5 + 60 + 33 + 5 + 1022 + 1 + 700 + 1500 + 3  # the twin of 60 is computed once
    needed = (
        2 * 4 * 32 * (residues + 9)
    )  # a vector per residue and per protein; shards, then files beside them
    monkeypatch.setattr("chaperonin.inference.embed.represent", None)
    disk_of(monkeypatch, needed - 1)
    with pytest.raises(UsageError, match=f"need {needed / 1e6:.1f} MB of disk"):
        embed_job(model, fasta, tmp_path / "out")
    disk_of(monkeypatch, needed)
    with pytest.raises(TypeError, match="NoneType"):  # now it computes
        embed_job(model, fasta, tmp_path / "out")
    disk_of(monkeypatch, 2 * 4 * 32 * 9)
    with pytest.raises(TypeError, match="NoneType"):
        embed_job(model, fasta, tmp_path / "proteins", EmbedSettings(level="protein"))


def test_the_room_that_is_predicted_is_about_what_the_results_take(
    model: ESM, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("chaperonin.inference.sequences.require_room", lambda _, needed: asked.append(needed))
    embed_job(model, fasta, tmp_path / "out", EmbedSettings(compression="none"))
    files = [tmp_path / "out" / name for name in ("embeddings.h5", "embeddings.parquet")]
    assert asked[0] / 2 == pytest.approx(sum(path.stat().st_size for path in files), rel=0.05)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_vectors_do_not_depend_on_who_shares_the_batch(model_folder: Path, precision: str) -> None:
    """No token sees another sequence, and 8-bit scales are each token's own: only the order of sums may differ.

    A matrix product may add in another order for another number of rows: 1e-5 for fp32. In 8 bits, such a last digit
    can tip a value into the next of 255 steps: 1e-2. (On processors measured so far, all are equal to the last bit.)
    """
    if precision == "int8" and lacks_int8():
        pytest.skip(lacks_int8())
    model = load(str(model_folder), precision=precision, device="cpu")  # type: ignore[arg-type]
    sequences = [random_sequence(1 + 37 * n % 400, n) for n in range(30)]
    alone = represent(model, sequences, 1)
    for budget in (100, 1000, 100_000):
        for own, shared in zip(alone, represent(model, sequences, budget), strict=True):
            np.testing.assert_allclose(shared, own, rtol=0, atol=1e-5 if precision == "fp32" else 1e-2)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_interrupted_and_resumed_with_other_batches_asked_for_gives_the_same_bytes(
    model_folder: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Even where results depend on the company: a job keeps the batches that it began with."""
    if precision == "int8" and lacks_int8():
        pytest.skip(lacks_int8())
    model = load(str(model_folder), precision=precision, device="cpu")  # type: ignore[arg-type]
    seen: list[tuple[list[str], int]] = []

    def company(model: ESM, sequences: list[str], budget: int) -> list[np.ndarray]:
        """Vectors that tell the batch by a last digit; the third batch of a job is interrupted once."""
        if len(seen) == stop:
            raise KeyboardInterrupt
        seen.append((list(sequences), budget))
        return [own + np.float32(1e-6 * len(sequences)) for own in represent(model, sequences, budget)]

    monkeypatch.setattr("chaperonin.inference.embed.represent", company)
    stop = -1
    embed_job(model, fasta, tmp_path / "whole", EmbedSettings(batch_tokens=300))
    whole, stop = list(seen), 2
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        embed_job(model, fasta, tmp_path / "stopped", EmbedSettings(batch_tokens=300))
    stop = -1
    embed_job(model, fasta, tmp_path / "stopped", EmbedSettings(batch_tokens=5000))
    assert len(whole) > 3 and seen == whole
    for name in ("embeddings.h5", "embeddings.parquet", "failures.jsonl"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


FULL = """
import resource, sys
from pathlib import Path
from chaperonin.errors import ChaperoninError
from chaperonin.inference.embed import EmbedSettings, embed_job
from chaperonin.inference.jobs import Job
from chaperonin.inference.load import load

Job.open.__func__.__kwdefaults__["flush_seconds"] = 0.0
folder, source, outdir, kilobytes = sys.argv[1:]
model = load(folder, precision="fp32", device="cpu")
for limit in map(int, kilobytes.split(",")):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit << 10, resource.RLIM_INFINITY))
    settings = EmbedSettings(batch_tokens=300, compression="none")
    try:
        print("done" if embed_job(model, Path(source), Path(outdir), settings).done else "nothing")
    except ChaperoninError as error:
        print(error, (Path(outdir) / "embeddings.h5").read_bytes())
"""


def test_a_full_disk_is_said_old_files_stay_and_the_job_goes_on(
    model_folder: Path, fasta: Path, tmp_path: Path
) -> None:
    """The limits stop it in the state, in a shard (192 kB), then in embeddings.h5 (429 kB); one is there already."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "embeddings.h5").write_bytes(b"an older file")
    limits = "20,150,350,2000"
    done = run_python("-c", FULL, model_folder, fasta, out, limits)
    assert done.returncode == 0, done.stderr
    *refused, last = done.stdout.splitlines()
    assert len(refused) == 3 and last == "done"
    for line, place in zip(refused, ("job.sqlite", "shards/", "embeddings.h5"), strict=True):
        assert place in line.split(": ")[0]
        assert "no space left to write" in line or "the disk refused to read or write" in line
        assert "run the same command again" in line and line.endswith("b'an older file'")
    embed_job(
        load(str(model_folder), device="cpu"),
        fasta,
        tmp_path / "whole",
        EmbedSettings(compression="none", batch_tokens=300),
    )
    for name in ("embeddings.h5", "embeddings.parquet", "failures.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not list(out.rglob("*.part"))


def test_killed_and_resumed_gives_the_same_bytes(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.fasta"
    path.write_text("".join(f">s{n}\n{random_sequence(20 + 13 * n % 300, n)}\n" for n in range(150)))
    code = (
        "import sys; from chaperonin.inference.jobs import Job; from chaperonin.cli.main import main; "
        "Job.open.__func__.__kwdefaults__['flush_seconds'] = 0.0; sys.exit(main(sys.argv[1:]))"
    )
    options = ["--model", str(model_folder), "--set", "batch_tokens=1200"]
    assert main(["embed", str(path), str(tmp_path / "whole"), *options]) == 0
    shards = tmp_path / "killed/shards"
    for wanted in (1, 4):
        command = ("-c", code, "embed", path, tmp_path / "killed", *options)
        running = Python(*command, stderr=Path(os.devnull))
        while running.poll() is None and len(list(shards.glob("*.safetensors"))) < wanted:
            time.sleep(0.005)
        assert running.poll() is None, "it ended before it could be killed"
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert main(["embed", str(path), str(tmp_path / "killed"), *options]) == 0
    for name in ("embeddings.h5", "embeddings.parquet", "failures.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
