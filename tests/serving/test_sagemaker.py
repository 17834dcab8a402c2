"""SageMaker's and Hugging Face's ways to ask, in four formats."""

import csv
import io
import json

import numpy as np
import pytest
from fastapi.testclient import TestClient

from chaperonin.serving.settings import from_environment

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
INSULIN = "GIVEQCCTSICSLYQLENYCN"


def post(client: TestClient, body: bytes | str, kind: str, **headers: str):
    named = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.post("/invocations", content=body, headers=named)


def vectors(client: TestClient) -> np.ndarray:
    body = client.post("/v1/embed", json={"sequences": [UBIQUITIN, INSULIN]}).json()
    return np.array([result["embedding"] for result in body["results"]])


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [UBIQUITIN, INSULIN]},
        {"inputs": [UBIQUITIN, {"sequence": INSULIN}], "parameters": {"task": "embed"}},
        {"sequences": [UBIQUITIN, INSULIN]},
    ],
)
def test_json_bodies_of_both_kinds(client: TestClient, body: dict) -> None:
    answer = client.post("/invocations", json=body)
    found = np.array([entry["embedding"] for entry in answer.json()])
    np.testing.assert_allclose(found, vectors(client), atol=2e-6)


def test_one_text_is_one_input_and_predictions_have_a_score(trained_client: TestClient) -> None:
    (entry,) = trained_client.post("/invocations", json={"inputs": UBIQUITIN}).json()
    native = trained_client.post("/v1/predict", json={"sequences": [UBIQUITIN]}).json()["results"][0]
    assert entry["label"] == native["label"] and entry["score"] == native["probability"]


def test_one_line_for_each_line_in_the_same_order(trained_client: TestClient) -> None:
    lines = [
        json.dumps(INSULIN),
        json.dumps({"inputs": "A*B"}),
        json.dumps({"id": "u", "sequence": UBIQUITIN}),
    ]
    answer = post(trained_client, "\n".join(lines) + "\n", "application/jsonlines")
    assert answer.headers["content-type"] == "application/jsonlines"
    first, second, third = map(json.loads, answer.text.splitlines())
    assert first["label"] in "MS" and "error" in second and third["id"] == "u"
    text = f"inputs\n{INSULIN}\nA*B\n{UBIQUITIN}\n"
    answer = post(trained_client, text, "text/csv")
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header == ["id", "label", "score", "error"]
    assert [row[1] for row in rows] == [first["label"], "", third["label"]] and rows[1][3]
    answer = post(trained_client, f"{INSULIN}\n{UBIQUITIN}\n", "text/csv; charset=utf-8")
    assert [row[1] for row in csv.reader(io.StringIO(answer.text))] == [first["label"], third["label"]]


def test_lines_that_are_all_bad_still_get_their_lines(client: TestClient) -> None:
    answer = post(client, "J\nA-\n", "text/csv")
    assert answer.status_code == 200 and len(answer.text.splitlines()) == 2
    assert client.post("/invocations", json={"inputs": ["J"]}).status_code == 422


def test_arrays_come_and_go(client: TestClient) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([UBIQUITIN, "J", INSULIN]))
    answer = post(client, stream.getvalue(), "application/x-npy", accept="application/x-npy")
    found = np.load(io.BytesIO(answer.content), allow_pickle=False)
    np.testing.assert_allclose(found[[0, 2]], vectors(client), atol=2e-6)
    assert np.isnan(found[1]).all()
    assert post(client, stream.getvalue(), "application/x-npy").headers["content-type"] == "application/json"


def test_what_is_no_array_of_text_is_refused(client: TestClient) -> None:
    def saved(array: np.ndarray) -> bytes:
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=True)
        return stream.getvalue()

    whole = saved(np.array([UBIQUITIN]))
    huge = whole.replace(b"(1,)", b"(9999999999,)")
    for body in (
        b"",
        b"\x93NUMPY",
        whole[:-3],
        huge,
        saved(np.array([{"a": 1}])),
        saved(np.zeros(3)),
    ):
        assert post(client, body, "application/x-npy").status_code in (400, 422), body[:40]
    no_unicode = whole[:-4] + b"\x00\xd8\x00\x00"
    assert "error" in post(client, no_unicode, "application/x-npy").json()[0]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv"),
        ("*/*", "application/json"),
        ("image/png, application/json", "application/json"),
    ],
)
def test_the_answer_has_the_form_that_is_accepted(client: TestClient, accept: str, kind: str) -> None:
    answer = post(client, json.dumps({"inputs": INSULIN}), "application/json", accept=accept)
    assert answer.headers["content-type"].partition(";")[0] == kind
    refused = post(client, json.dumps({"inputs": INSULIN}), "application/json", accept="image/png")
    assert refused.status_code == 406 and refused.json()["error_type"] == "not_acceptable"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("", "application/json"),
        ("[1]", "application/json"),
        ('{"inputs": 1}', "application/json"),
        ('{"inputs": []}', "application/json"),
        ('{"inputs": "A", "parameters": {"task": "fly"}}', "application/json"),
        ("\n\n", "application/jsonlines"),
        ('{"inputs": ["A", "C"]}', "application/jsonlines"),
        ("{", "application/jsonlines"),
        ("inputs\n", "text/csv"),
        ('"A', "text/csv"),
        (b"\xff\xff", "text/csv"),
    ],
)
def test_bodies_that_cannot_be_read_are_4xx(client: TestClient, body: str | bytes, kind: str) -> None:
    assert post(client, body, kind).status_code in (400, 422)


def test_execution_parameters_and_custom_attributes(client: TestClient) -> None:
    asked = client.get("/execution-parameters").json()
    assert asked == {"MaxConcurrentTransforms": 8, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
    name = "X-Amzn-SageMaker-Custom-Attributes"
    assert client.get("/ping", headers={name: "trace=7"}).headers[name] == "trace=7"


def test_the_platform_sets_port_and_limits_by_its_environment() -> None:
    given = {"SAGEMAKER_BIND_TO_PORT": "9000", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "20", "SAGEMAKER_BATCH": "true"}
    assert from_environment(given) == {"port": "9000", "limits.body_bytes": str(20 << 20)}
