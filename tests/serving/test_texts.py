"""Texts at the endpoint: what it answers equals what the Python functions return, and bad texts are named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from tests.inference.tiny_protst import write_protst

from chaperonin.data.prompts import Prompt
from chaperonin.inference.protst import Loaded, load_protst
from chaperonin.inference.search import Hit, search
from chaperonin.inference.zero_shot import zero_shot
from chaperonin.serving.models import Models, load_models
from chaperonin.serving.settings import ServeSettings

SEQUENCES = {"one": "MKTAYIAKQRQISFVKSHFSRQ", "two": "GATTACA" * 30, "long": "MKTAYIAKQR" * 110}
NAMED = [{"id": id, "sequence": sequence} for id, sequence in SEQUENCES.items()]
TEXTS: list[Any] = [
    "a protein located in the cell membrane",
    {"label": "cytoplasm", "text": "cytoplasm"},
    {"label": "nucleus", "text": "located at the nucleus.  "},
]
PROMPTS = [
    Prompt(TEXTS[0], TEXTS[0]),
    Prompt("cytoplasm", "cytoplasm"),
    Prompt("nucleus", "located at the nucleus.  "),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("served") / "protst"
    write_protst(place)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> Loaded:
    return load_protst(str(folder), "fp32", "cpu")


@pytest.fixture
def reader(make: Callable[..., TestClient], folder: Path) -> TestClient:
    """An endpoint over the ProtST."""
    return make(models=read(folder))


def read(folder: Path) -> Models:
    return load_models(str(folder), ServeSettings(device="cpu", precision="fp32"))


def test_classes_are_those_of_zero_shot(reader: TestClient, model: Loaded) -> None:
    expected = zero_shot(model, SEQUENCES, PROMPTS)
    hits = search(model, [prompt.text for prompt in PROMPTS], SEQUENCES)
    labels = {prompt.text: prompt.label for prompt in PROMPTS}
    cosines = {(hit.id, labels[hit.query]): hit.cosine for hit in hits}
    asked = {"sequences": [*NAMED, {"id": "bad", "sequence": "MK*A"}], "texts": TEXTS}
    for _ in range(2):  # the second time the texts are remembered
        body = reader.post("/v1/zero-shot", json=asked).json()
        assert body["model"] == "protst"
        assert [result["id"] for result in body["results"]] == list(SEQUENCES)
        assert [failure["id"] for failure in body["failures"]] == ["bad"]
        for result in body["results"]:
            wanted = expected[result["id"]]
            assert result["label"] == wanted.label and "in_domain" not in result
            for label, share in wanted.probabilities.items():
                assert result["probabilities"][label] == pytest.approx(share, abs=2e-5)
                assert result["cosines"][label] == pytest.approx(cosines[result["id"], label], abs=2e-6)
    assert body["notes"] == []


@pytest.mark.parametrize("of", ["text", "protein"])
def test_hits_are_those_of_search(reader: TestClient, model: Loaded, of: str) -> None:
    body = reader.post("/v1/search", json={"sequences": NAMED, "texts": TEXTS, "of": of, "top": 2}).json()
    found = [Hit(**hit) for hit in body["hits"]]
    proteins = dict(zip(SEQUENCES, model.protein_vectors(list(SEQUENCES.values()), 4096), strict=True))
    texts = {prompt.label: model.text_vectors([prompt.text])[0] for prompt in PROMPTS}
    queries, answers = (texts, proteins) if of == "text" else (proteins, texts)
    expected = []
    for query, vector in queries.items():
        best = sorted(answers, key=lambda id: -float(vector @ answers[id]))[:2]
        expected += [(query, rank, id) for rank, id in enumerate(best, start=1)]
    assert [(hit.query, hit.rank, hit.id) for hit in found] == expected
    cosines = [float(queries[hit.query] @ answers[hit.id]) for hit in found]
    np.testing.assert_allclose([hit.cosine for hit in found], cosines, atol=2e-6)


def test_a_text_is_read_once_and_the_last_ones_are_kept(
    reader: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaperonin.serving.text_reader._KEPT", 2)

    def tokens_of(*texts: str) -> int:
        answer = reader.post("/v1/search", json={"sequences": ["MKTAYIAK"], "texts": list(texts)})
        assert answer.status_code == 200
        return int(answer.headers["x-compute-tokens"]) - len("MKTAYIAK") - 2

    assert tokens_of("nucleus", "cell membrane") == 3
    assert tokens_of("nucleus") == 0
    assert tokens_of("cytoplasm") == 1  # for which the one that was not asked for longest goes
    assert tokens_of("nucleus", "cytoplasm") == 0 and tokens_of("cell membrane") == 2


@pytest.mark.parametrize(
    ("texts", "status", "said"),
    [
        (["nucleus", "  "], 422, "texts[1]: an empty prompt"),
        (["nucleus", "word " * 10_000], 422, "at most 2000 characters"),
        (["nucleus", "word " * 100], 422, "texts[1]: a label of 499 characters"),
        ([{"label": " ", "text": "nucleus"}, "cytoplasm"], 422, "texts[0]: a label of 0 characters"),
        (
            ["nucleus", {"label": "late", "text": "🧬 " * 140 + "nucleus"}],
            422,
            "no word that the model knows",
        ),
        (["nucleus", "🧬🧬"], 422, "no word that the model knows"),
        (["nucleus", " nucleus "], 422, "texts[0] too"),
        ([{"label": "a", "text": "nucleus"}, {"label": "a", "text": "cytoplasm"}], 422, "texts[0] too"),
        (["nucleus"], 422, "One class leaves no choice"),
        ([], 422, "at least 1 item"),
        ([f"nucleus {number}" for number in range(257)], 413, "257 texts"),
    ],
)
def test_what_is_no_text_is_said(reader: TestClient, texts: list[Any], status: int, said: str) -> None:
    answer = reader.post("/v1/zero-shot", json={"sequences": NAMED, "texts": texts})
    assert answer.status_code == status
    assert said in str(answer.json()), answer.json()


def test_a_long_text_is_read_in_part_and_named(reader: TestClient, model: Loaded) -> None:
    longest = model.longest_text
    text = {"label": "long", "text": "nucleus " * 200}
    body = reader.post("/v1/search", json={"sequences": ["MKTAYIAK"], "texts": [text]}).json()
    assert len(body["hits"]) == 1
    assert body["notes"] == [f"only the first {longest} word pieces are read of 'long'"]


def test_a_model_says_whether_it_reads_texts(client: TestClient, folder: Path) -> None:
    for path in ("/v1/zero-shot", "/v1/search"):
        answer = client.post(path, json={"sequences": NAMED, "texts": TEXTS})
        assert answer.status_code == 422 and answer.json()["error_type"] == "no_text"
        assert "serve a ProtST" in answer.json()["error"]
    assert client.get("/v1/models").json()["base"]["reads_text"] is False
    assert read(folder).reader is not None


def test_its_protein_tower_embeds(reader: TestClient, model: Loaded) -> None:
    assert reader.get("/v1/models").json()["base"]["reads_text"] is True
    body = reader.post("/v1/embed", json={"sequences": NAMED}).json()
    found = np.array([result["embedding"] for result in body["results"]], dtype=np.float32)
    expected = model.protein_vectors(list(SEQUENCES.values()), 4096)
    np.testing.assert_allclose(model.project_proteins(found), expected, atol=1e-5)


def test_as_many_texts_as_are_taken(reader: TestClient, model: Loaded) -> None:
    # Of ever other lengths: they are read by length, and each has its own vector all the same.
    many = [f"protein {number} " + "located in the nucleus " * (number * 7 % 5 + 1) for number in range(256)]
    body = {"sequences": ["MKTAYIAK"], "texts": many, "of": "protein", "top": 256}
    answer = reader.post("/v1/search", json=body)
    found = {hit["id"]: hit["cosine"] for hit in answer.json()["hits"]}
    cosines = model.text_vectors(many) @ model.protein_vectors(["MKTAYIAK"], 4096)[0]
    np.testing.assert_allclose([found[text.strip()] for text in many], cosines, atol=2e-6)


def test_an_answer_of_too_many_numbers_is_refused(make: Callable[..., TestClient], folder: Path) -> None:
    small = make(models=read(folder), values=10)
    body: dict[str, Any] = {"sequences": NAMED, "texts": TEXTS}
    for path, more in (("zero-shot", {}), ("search", {"top": 2})):
        answer = small.post(f"/v1/{path}", json=body | more)
        assert answer.status_code == 413 and "would hold" in answer.json()["error"], answer.json()
    assert small.post("/v1/search", json=body | {"top": 1}).status_code == 200
