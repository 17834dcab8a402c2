"""Contact maps in files and in memory, short and long."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

import chaperonin.inference.contacts as verb
from chaperonin.data.sources import Rejected
from chaperonin.inference.contacts import ContactMap, ContactSettings, contact_map, contacts, contacts_job
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM

SEQUENCES = {"one": "MKTAYIAKQRQISFVKSHFSRQ", "a/../b": "GATTACA", "twin": "GATTACA"}


def test_a_map_is_the_models_own(model: ESM) -> None:
    tokens = torch.from_numpy(model.alphabet.encode(SEQUENCES["one"]))
    with torch.inference_mode():
        (expected,) = model.contacts(tokens, Segments([len(tokens)]))
    np.testing.assert_allclose(contact_map(model, SEQUENCES["one"]), expected.numpy(), atol=1e-6)


def test_long_proteins_get_a_band_that_is_symmetric_and_nan_outside(model: ESM) -> None:
    contacts = contact_map(model, "MKTAYIAKQR" * 250)
    assert contacts.shape == (2500, 2500)
    np.testing.assert_allclose(contacts, contacts.T, atol=1e-6)
    assert np.isnan(contacts[0, 1500]) and not np.isnan(contacts.diagonal()).any()


def test_files_hold_the_maps_under_safe_names(model: ESM, tmp_path: Path) -> None:
    source = tmp_path / "in.fasta"
    source.write_text("".join(f">{id}\n{sequence}\n" for id, sequence in SEQUENCES.items()) + ">bad\nA-C\n")
    outcome = contacts_job(model, source, tmp_path / "out")
    assert (outcome.done, outcome.failed) == (3, 1)
    files = sorted((tmp_path / "out/contacts").glob("*.npz"))
    assert len(files) == 3 and sorted((tmp_path / "out").rglob("*.npz")) == files
    found = {}
    for path in files:
        with np.load(path, allow_pickle=False) as stored:
            found[str(stored["id"])] = (str(stored["sequence"]), stored["contacts"])
    assert {id: sequence for id, (sequence, _) in found.items()} == SEQUENCES
    for result in contacts(model, source):
        if isinstance(result, ContactMap):
            np.testing.assert_allclose(found[result.id][1], result.contacts, atol=1e-6)


GIANT = "MKTAYIAKQR" * 4000


def test_forty_thousand_residues_that_do_not_fit_are_one_failure_and_little_memory(
    model: ESM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaperonin.inference.sequences.free_bytes", lambda device: 8_000_000_000)
    monkeypatch.setattr(verb, "free_bytes", lambda device: 8_000_000_000)
    source = tmp_path / "in.fasta"
    source.write_text(f">one\n{SEQUENCES['one']}\n>giant\n{GIANT}\n>two\nGATTACA\n")
    tracemalloc.start()
    outcome = contacts_job(model, source, tmp_path / "out")
    found = list(contacts(model, source))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (outcome.done, outcome.failed) == (2, 1) and peak < 30_000_000
    failure = json.loads((tmp_path / "out/failures.jsonl").read_text())
    assert failure["id"] == "giant" and "40,000 residues need 25.6 GB" in failure["error"]
    assert [result.id for result in found if isinstance(result, ContactMap)] == ["one", "two"]
    (rejected,) = [result for result in found if isinstance(result, Rejected)]
    assert "40,000 residues needs 25.6 GB" in rejected.error.what and rejected.error.advice


def test_forty_thousand_residues_fit_when_cut(model: ESM) -> None:
    (found,) = contacts(model, {"giant": GIANT}, ContactSettings(long="truncate"))
    assert isinstance(found, ContactMap) and found.contacts.shape == (1022, 1022)
