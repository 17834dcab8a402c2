"""The description of the endpoint: committed, complete, and true whatever is sent."""

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.python import asgi

from chaperonin.serving.models import load_models
from chaperonin.serving.settings import ServeSettings

PAGE = Path(__file__).parents[2] / "docs" / "openapi.json"
EXAMPLES = 5


def described(client: TestClient) -> dict:
    return client.get("/openapi.json").json()


def test_the_committed_description_is_that_of_the_application(client: TestClient) -> None:
    found = described(client)
    found["info"]["version"] = "any"
    committed = json.loads(PAGE.read_text(encoding="utf-8"))
    committed["info"]["version"] = "any"
    assert found == committed, "write it again: python -m tests.serving.write_openapi"


def test_every_operation_is_named_tagged_and_tells_of_its_refusals(client: TestClient) -> None:
    schema = described(client)
    names = set()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["tags"] and operation["description"], (method, path)
            names.add(operation["operationId"])
            assert {"401", "413", "422", "429", "503"} <= operation["responses"].keys()
            for status, response in operation["responses"].items():
                if status[0] in "45" and status != "406":
                    (content,) = response["content"].values()
                    assert content["schema"]["$ref"].endswith("/ErrorBody")
    assert len(names) == sum(len(operations) for operations in schema["paths"].values())
    embed = schema["components"]["schemas"]["EmbedRequest"]["properties"]["sequences"]
    assert embed["maxItems"] == 256 and embed["examples"]
    assert embed["items"]["anyOf"][0]["maxLength"] == 10_000
    assert "x-limit" not in json.dumps(schema)


def test_the_examples_of_the_description_work(trained_client: TestClient) -> None:
    schemas = described(trained_client)["components"]["schemas"]
    for path, name in (
        ("embed", "EmbedRequest"),
        ("predict", "PredictRequest"),
        ("contacts", "ContactsRequest"),
    ):
        (example,) = schemas[name]["properties"]["sequences"]["examples"]
        answer = trained_client.post(f"/v1/{path}", json={"sequences": example})
        assert answer.status_code == 200 and not answer.json()["failures"]


# Shapes are checked with `random` in a job's thread; hypothesis takes that for the strategy's, if it draws meanwhile.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("is_trained", [False, True], ids=["base", "trained model and adapters"])
def test_nothing_that_is_sent_is_an_error_of_ours(
    make, monkeypatch, adapters: Path, is_trained: bool
) -> None:
    # The report of a job takes seconds and has tests of its own.
    monkeypatch.setattr("chaperonin.report.write_report", lambda outdir: outdir)
    chosen = ServeSettings(adapters=str(adapters), device="cpu")
    models = load_models(str(adapters / "membrane"), chosen) if is_trained else None
    app = make(compute_seconds=5, tokens=3000, models=models).app
    loaded = schemathesis.openapi.from_dict(app.openapi())
    statuses: Counter[int] = Counter()

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while (message := await receive())["type"] != "lifespan.shutdown":  # it lives already
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    with asgi.get_client(answering) as session:
        for found in loaded.get_all_operations():
            if found.ok().path != "/v1/jobs/{id}/events":
                _try(found.ok(), session, statuses)
    assert statuses[200] > 20 and sum(statuses.values()) > 100, statuses


def _try(operation: Any, session: Any, statuses: Counter[int]) -> None:
    """Cases that the description allows, and mutated ones that it does not."""
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    for mode in modes:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            answer = case.call(session=session, base_url="http://testserver", timeout=60)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)

        with suppress(Unsatisfiable):  # what has no parameters has no wrong ones
            send()
