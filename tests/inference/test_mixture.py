"""The verbs with a model whose sequences begin with a residue: an AIDO.Protein, small and random."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

import chaperonin as ch
from chaperonin.cli.main import main
from chaperonin.errors import UsageError
from chaperonin.inference.contacts import contacts_job
from chaperonin.inference.embed import EmbedSettings
from chaperonin.inference.load import load
from chaperonin.inference.score import ScoreSettings, score
from chaperonin.inference.score_windows import optimal_window
from chaperonin.kernels.segments import Segments
from chaperonin.layers.language import LanguageModel
from chaperonin.models import layout_of
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.serving.app import build_app, build_parts
from chaperonin.serving.auth import Guard
from chaperonin.serving.models import Models, Served
from chaperonin.serving.settings import ServeSettings
from chaperonin.tasks.features import represent
from chaperonin.weights.pretrained import save_folder

PROTEINS = {"one": "MKTAYIAKQRQISFVKSHFSRQ", "two": "ACDEFGHIKLMNPQRSTVWY", "long": "MKLVACDW" * 150}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = AIDO(AIDOConfig(width=16, depth=2, heads=2, inner_width=24, experts=4))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path_factory.mktemp("aido")
    save_folder(layout_of("fm4bio"), model, path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return load(str(folder), device="cpu")


def alone(model: LanguageModel, sequence: str) -> torch.Tensor:
    """Representation of every token, one pass by itself."""
    tokens = torch.from_numpy(model.alphabet.encode(sequence))
    assert len(tokens) == len(sequence) + 1
    with torch.inference_mode():
        return model(tokens, Segments([len(tokens)]))


def test_vectors_are_those_of_the_residues(model: LanguageModel) -> None:
    found = ch.embed(model, PROTEINS, EmbedSettings(batch_tokens=2048))
    for number, name in enumerate(("one", "two")):
        expected = alone(model, PROTEINS[name])[:-1].numpy()
        np.testing.assert_allclose(found.residues[number], expected, atol=1e-5)
        np.testing.assert_allclose(found.proteins[number], expected.mean(axis=0), atol=1e-5)
    assert found.residues[2].shape == (1200, 16)  # in windows
    (vectors,) = represent(model, [PROTEINS["one"]], 2048)
    np.testing.assert_allclose(vectors[0], alone(model, PROTEINS["one"])[-1].numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["one", "long"])
def test_masked_marginals_are_those_of_single_passes(model: LanguageModel, name: str, tmp_path: Path) -> None:
    wild = PROTEINS[name]
    places = [0, 7, len(wild) - 1]
    table = tmp_path / "variants.csv"
    mutants = [f"{wild[place]}{place + 1}{'A' if wild[place] != 'A' else 'G'}" for place in places]
    table.write_text("\n".join(["mutant", *mutants]) + "\n")
    (tmp_path / "target.fasta").write_text(f">{name}\n{wild}\n")
    found = score(model, table, ScoreSettings(target=str(tmp_path / "target.fasta")))
    for place, mutant, row in zip(places, mutants, found.rows, strict=True):
        # Windows are chosen among the tokens that an ESM would have, of which the first is not there.
        start, stop = optimal_window(place + 1, len(wild) + 2)
        tokens = torch.from_numpy(model.alphabet.encode(wild))
        tokens[place] = model.alphabet.mask
        first = max(start - 1, 0)
        window = tokens[first : stop - 1]
        with torch.inference_mode():
            hidden = model(window, Segments([len(window)]))
            logits = model.lm_head(hidden)[place - first].log_softmax(-1)
        expected = logits[model.alphabet.index(mutant[-1])] - logits[model.alphabet.index(wild[place])]
        assert float(row["score"]) == pytest.approx(float(expected), abs=2e-5)


def test_the_endpoint_gives_the_same(model: LanguageModel) -> None:
    settings = ServeSettings()
    models = Models(model, Served("aido"))
    with TestClient(build_app(build_parts(settings, models, Guard([], False)))) as client:
        sequences = [{"id": name, "sequence": PROTEINS[name]} for name in ("one", "two")]
        answer = client.post("/v1/embed", json={"sequences": sequences})
        assert answer.status_code == 200, answer.text
        for own, name in zip(answer.json()["results"], ("one", "two"), strict=True):
            expected = alone(model, PROTEINS[name])[:-1].mean(dim=0)
            np.testing.assert_allclose(own["embedding"], expected.numpy(), atol=1e-4)
        wanted = {"sequence": PROTEINS["one"], "variants": ["K2A"]}
        scored = client.post("/v1/score", json=wanted)
        assert scored.status_code == 200, scored.text
        refused = client.post("/v1/contacts", json={"sequences": sequences})
        assert refused.status_code == 404 and "no contact head" in refused.json()["error"]


def test_contacts_are_refused_before_anything_is_written(model: LanguageModel, tmp_path: Path) -> None:
    fasta = tmp_path / "in.fasta"
    fasta.write_text(">one\nMKTAYIAK\n")
    with pytest.raises(UsageError, match="has no contact head"):
        contacts_job(model, fasta, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_a_mixtures_layers_stay_on_disk(folder: Path) -> None:
    with pytest.raises(UsageError, match="is no AIDO"):
        load(layers="disk")
    streamed = load(str(folder), layers="disk", device="cpu")
    expected = load(str(folder), device="cpu")
    for name in ("one", "two"):
        torch.testing.assert_close(
            alone(streamed, PROTEINS[name]), alone(expected, PROTEINS[name]), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("method", ["frozen", "lora"])
def test_the_supervised_benchmark_takes_a_mixture(folder: Path, tmp_path: Path, method: str) -> None:
    wild = PROTEINS["one"]
    rows = [f"{wild[:n]}W{wild[n + 1 :]},{n % 7},{n % 5}" for n in range(20)]
    (tmp_path / "assay.csv").write_text("\n".join(["mutated_sequence,DMS_score,fold_random_5", *rows]) + "\n")
    words = ["evaluate", "proteingym-supervised", str(tmp_path / "assay.csv"), str(tmp_path / "out")]
    words += ["--model", str(folder), "--method", method, "--set", f"recipes.{method}.steps=2"]
    assert main(words) == 0
    with (tmp_path / "out" / "predictions" / "assay.csv").open(newline="") as opened:
        predicted = list(csv.DictReader(opened))
    assert len(predicted) == 20 and all(np.isfinite(float(row["prediction"])) for row in predicted)
