"""Several trained models over one base, together in one batch, coming and going while the endpoint runs."""

import asyncio
from pathlib import Path

import httpx
import pytest
import torch
from fastapi.testclient import TestClient

from chaperonin.inference.load import BUNDLED, load
from chaperonin.serving.models import load_models
from chaperonin.serving.settings import ServeSettings

SEQUENCES = ["MQIFVKTLTGKTITLEVEPSDTIENVK", "GIVEQCCTSICSLYQLENYCN", "ACDEFGHIKL"]


@pytest.fixture
def client(make, adapters: Path) -> TestClient:
    return make(models=load_models(BUNDLED, ServeSettings(adapters=str(adapters), device="cpu")))


def expected(folder: Path, client: TestClient) -> list[dict[str, float]]:
    """Probabilities from the merged model, one sequence at a time."""
    from chaperonin.data.batching import make_batch
    from chaperonin.tasks.folder import read_trained

    model, trained = load(str(folder), device="cpu"), read_trained(folder)
    found = []
    for sequence in SEQUENCES:
        batch = make_batch([model.alphabet.encode(sequence)])
        with torch.inference_mode():
            (one,) = trained.predictions(model(batch.tokens, batch.segments), batch.segments)
        found.append(dict(one.probabilities))
    return found


def test_models_of_one_base_share_batches_and_give_their_own_answers(
    client: TestClient, adapters: Path
) -> None:
    app = client.app
    parts = app.state.parts  # type: ignore[attr-defined]

    async def ask(name: str | None) -> httpx.Response:
        path = "/v1/embed" if name is None else "/v1/predict"
        body = {"sequences": SEQUENCES} | ({} if name is None else {"model": name})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as one:
            return await one.post(path, json=body)

    async def together() -> list[httpx.Response]:
        return await asyncio.gather(*(ask(name) for name in ("membrane", "place", None) * 3))

    alone = client.post("/v1/embed", json={"sequences": SEQUENCES}).json()["results"]
    before = parts.metrics.registry.get_sample_value("chaperonin_batch_items_count")
    answers = asyncio.run(together())
    batches = parts.metrics.registry.get_sample_value("chaperonin_batch_items_count") - before
    assert batches < 9
    for name, answer in zip(("membrane", "place", None) * 3, answers, strict=True):
        results = answer.json()["results"]
        if name is None:
            for result, own in zip(results, alone, strict=True):
                assert result["embedding"] == pytest.approx(own["embedding"], abs=1e-5)
            continue
        for result, own in zip(results, expected(adapters / name, client), strict=True):
            assert result["probabilities"] == pytest.approx(own, abs=2e-5)


def test_models_come_and_go(client: TestClient, adapters: Path) -> None:
    body = client.get("/v1/models").json()
    assert body["folders"] == ["membrane", "place"]
    assert [model["name"] for model in body["models"]] == [BUNDLED, "membrane", "place"]
    assert client.delete("/v1/models/place").status_code == 200
    asked = {"sequences": SEQUENCES, "model": "place"}
    assert client.post("/v1/predict", json=asked).status_code == 404
    assert client.put("/v1/models/where", json={"folder": "place"}).json()["task"]["classes"][0] == "Nucleus"
    again = client.put("/v1/models/where", json={"folder": "place"})
    assert again.status_code == 409 and again.json()["error_type"] == "name_taken"
    results = client.post("/v1/predict", json={**asked, "model": "where"}).json()["results"]
    for result, own in zip(results, expected(adapters / "place", client), strict=True):
        assert result["probabilities"] == pytest.approx(own, abs=2e-5)
    assert client.put("/v1/models/x", json={"folder": "notes"}).status_code == 404


def test_the_served_model_may_be_an_adapter_itself(make, adapters: Path) -> None:
    settings = ServeSettings(adapters=str(adapters), device="cpu")
    client = make(models=load_models(str(adapters / "membrane"), settings))
    assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["membrane", "place"]
    results = client.post("/v1/predict", json={"sequences": SEQUENCES}).json()["results"]
    for result, own in zip(results, expected(adapters / "membrane", client), strict=True):
        assert result["probabilities"] == pytest.approx(own, abs=2e-5)
    assert client.delete("/v1/models/membrane").status_code == 409


def test_a_job_may_name_a_model(client: TestClient, adapters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.serving.test_jobs import finished

    monkeypatch.setattr("chaperonin.report.write_report", lambda outdir: outdir)
    body = {"verb": "predict", "sequences": SEQUENCES, "model": "place"}
    address = client.post("/v1/jobs", json=body).headers["location"]
    assert finished(client, address)["done"] == 3
    first = client.get(f"{address}/files/predictions.csv").text.splitlines()[1].split(",")
    own = expected(adapters / "place", client)[0]
    assert first[1] == max(own, key=lambda name: own[name])
