"""What the endpoint answers equals what the Python functions return."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

import chaperonin as ch
from chaperonin.inference.contacts import contact_map
from chaperonin.inference.score import ScoreSettings
from chaperonin.models.esm import ESM

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
INSULIN = "GIVEQCCTSICSLYQLENYCN"
LONG = (UBIQUITIN * 16)[:1150]


def test_vectors_are_those_of_embed(client: TestClient, bundled: ESM) -> None:
    sequences = [UBIQUITIN, {"id": "insulin", "sequence": INSULIN.lower()}, LONG]
    expected = ch.embed(bundled, {"a": UBIQUITIN, "b": INSULIN, "c": LONG})
    body = client.post("/v1/embed", json={"sequences": sequences}).json()
    assert [result["id"] for result in body["results"]] == ["sequence_1", "insulin", "sequence_3"]
    assert [result["length"] for result in body["results"]] == [76, 21, 1150]
    assert body["results"][1]["notes"] == ["lower case made upper case"]
    assert body["failures"] == []
    found = np.array([result["embedding"] for result in body["results"]])
    np.testing.assert_allclose(found, expected.proteins, atol=2e-6)
    body = client.post("/v1/embed", json={"sequences": sequences, "level": "residue"}).json()
    for result, residues in zip(body["results"], expected.residues, strict=True):
        np.testing.assert_allclose(np.array(result["embedding"]), residues, atol=5e-6)


def test_contacts_are_those_of_contacts(client: TestClient, bundled: ESM) -> None:
    body = client.post("/v1/contacts", json={"sequences": [UBIQUITIN, LONG]}).json()
    for result, sequence in zip(body["results"], (UBIQUITIN, LONG), strict=True):
        found = np.array(result["contacts"], dtype=float)
        np.testing.assert_allclose(found, contact_map(bundled, sequence), atol=6e-4)


@pytest.mark.parametrize("protocol", ["masked-marginal", "wt-marginal"])
def test_scores_are_those_of_score(client: TestClient, bundled: ESM, protocol: str) -> None:
    settings = ScoreSettings(protocol=protocol)
    expected = {str(row["mutant"]): row["score"] for row in ch.score(bundled, {"a": INSULIN}, settings).rows}
    body = client.post("/v1/score", json={"sequence": INSULIN, "protocol": protocol}).json()
    found = {score["mutant"]: score["score"] for score in body["scores"]}
    assert found.keys() == expected.keys() and len(found) == 19 * 21
    for mutant, score in expected.items():
        assert found[mutant] == pytest.approx(score, abs=5e-5)
    asked = {"sequence": INSULIN, "protocol": protocol, "variants": ["G1A:I2L", "G1A", "Q9A", "wt"]}
    body = client.post("/v1/score", json=asked).json()
    scores = {score["mutant"]: score["score"] for score in body["scores"]}
    assert scores["G1A"] == pytest.approx(found["G1A"], abs=5e-5)
    assert scores["G1A:I2L"] == pytest.approx(found["G1A"] + found["I2L"], abs=1e-4)
    assert scores["wt"] == 0
    assert [failure["id"] for failure in body["failures"]] == ["Q9A"]


def test_scores_of_a_long_protein_are_those_of_score(client: TestClient, bundled: ESM) -> None:
    settings = ScoreSettings(protocol="wt-marginal")
    expected = {str(row["mutant"]): row["score"] for row in ch.score(bundled, {"a": LONG}, settings).rows}
    asked = {"sequence": LONG, "protocol": "wt-marginal"}
    for score in client.post("/v1/score", json=asked).json()["scores"]:
        assert score["score"] == pytest.approx(expected[score["mutant"]], abs=5e-4)


def test_predictions_are_those_of_the_trained_model(trained_client: TestClient, trained_folder) -> None:
    from chaperonin.data.batching import make_batch
    from chaperonin.kernels.segments import Segments
    from chaperonin.tasks.folder import read_trained

    model = ch.load(str(trained_folder), device="cpu")
    batch = make_batch([model.alphabet.encode(UBIQUITIN), model.alphabet.encode(INSULIN)])
    hidden = model(batch.tokens, Segments(batch.segments.lengths))
    expected = read_trained(trained_folder).predictions(hidden, batch.segments)
    body = trained_client.post("/v1/predict", json={"sequences": [UBIQUITIN, INSULIN, "AXJ"]}).json()
    assert body["model"] == "membrane"
    for result, own in zip(body["results"], expected, strict=True):
        assert result["label"] == own.label
        assert result["probabilities"] == pytest.approx(dict(own.probabilities), abs=1e-5)
    assert [failure["index"] for failure in body["failures"]] == [2]
    task = trained_client.get("/v1/models").json()["models"][0]["task"]
    assert task == {"level": "sequence", "kind": "binary", "classes": ["M", "S"]}


def test_a_model_without_a_task_says_so(client: TestClient) -> None:
    answer = client.post("/v1/predict", json={"sequences": [INSULIN]})
    assert answer.status_code == 422 and answer.json()["error_type"] == "no_task"


def test_one_bad_sequence_stops_nobody_and_all_bad_ones_are_refused(client: TestClient) -> None:
    bad = ["AC*DE", "A-C", "<mask>A", "J", "", "Ä", "A\u0000C", "A" * 5001]
    body = client.post("/v1/embed", json={"sequences": [*bad, INSULIN]}).json()
    assert [failure["index"] for failure in body["failures"]] == list(range(len(bad)))
    assert all(failure["error"] and failure["advice"] for failure in body["failures"])
    assert [result["id"] for result in body["results"]] == ["sequence_9"]
    answer = client.post("/v1/embed", json={"sequences": bad})
    assert answer.status_code == 422
    assert len(answer.json()["details"]) == len(bad)


def test_equal_ids_are_kept_apart_and_equal_sequences_computed_once(client: TestClient) -> None:
    sequences = [{"id": "a", "sequence": INSULIN}] * 3
    answer = client.post("/v1/embed", json={"sequences": sequences})
    assert [result["id"] for result in answer.json()["results"]] == ["a", "a_2", "a_3"]
    assert answer.headers["x-compute-tokens"] == str(len(INSULIN) + 2)


def test_the_answer_says_what_it_took(client: TestClient) -> None:
    answer = client.post("/v1/embed", json={"sequences": [INSULIN, UBIQUITIN]})
    assert answer.headers["x-compute-tokens"] == str(21 + 76 + 4)
    for name in ("x-queue-time", "x-inference-time", "x-total-time"):
        assert 0 <= float(answer.headers[name]) < 60_000
