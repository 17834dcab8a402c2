"""Embeddings of many proteins, in memory that does not grow with them."""

import random
import tracemalloc
from functools import partial
from pathlib import Path

import pytest

from chaperonin.inference.embed import EmbedSettings, embed_job
from chaperonin.inference.jobs import Job
from chaperonin.models.esm import ESM
from chaperonin.protein.alphabet import STANDARD_RESIDUES

LENGTH = 100


def peak_bytes(model: ESM, folder: Path, count: int) -> int:
    """Most memory of Python and NumPy at one time while `count` proteins are read, embedded and written."""
    generator = random.Random(count)
    source = folder / f"{count}.fasta"
    with source.open("w", encoding="utf-8") as opened:
        for number in range(count):
            opened.write(f">p{number}\n{''.join(generator.choices(STANDARD_RESIDUES, k=LENGTH))}\n")
    tracemalloc.start()
    outcome = embed_job(model, source, folder / f"out{count}", EmbedSettings(batch_tokens=2048))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (outcome.done, outcome.failed) == (count, 0)
    return peak


def test_results_of_many_proteins_are_not_held_together(
    model: ESM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Job, "open", staticmethod(partial(Job.open, flush_bytes=1_000_000)))
    peak_bytes(model, tmp_path, 20)  # what is imported and cached once
    results_bytes = 700 * LENGTH * model.config.width * 4
    assert peak_bytes(model, tmp_path, 700) < results_bytes / 2
