"""Jobs: entered, watched, fetched, cancelled, bounded, and other people's kept out of sight."""

import json
import time

import pytest
from fastapi.testclient import TestClient

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
FASTA = f">u\n{UBIQUITIN}\n>bad\nAC*DE\n>v\nGIVEQCCTSICSLYQLENYCN\n"


def finished(client: TestClient, address: str, seconds: float = 90, **options) -> dict:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = client.get(address, **options).json()
        if status["status"] in ("done", "failed", "cancelled"):
            return status
        time.sleep(0.1)
    raise TimeoutError(status)


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report takes seconds and has tests of its own."""
    monkeypatch.setattr("chaperonin.report.write_report", lambda outdir: outdir / "report.html")


@pytest.mark.parametrize(
    ("verb", "settings", "file"),
    [
        ("embed", {"level": "protein"}, "embeddings.parquet"),
        ("contacts", {}, "u.npz"),
        ("score", {"protocol": "wt-marginal"}, "scores.csv"),
    ],
)
def test_a_job_from_beginning_to_end(client: TestClient, verb: str, settings: dict, file: str) -> None:
    answer = client.post("/v1/jobs", json={"verb": verb, "fasta": FASTA, "settings": settings})
    assert answer.status_code == 202
    address = answer.headers["location"]
    status = finished(client, address)
    assert (status["status"], status["done"], status["failed"], status["total"]) == ("done", 2, 1, 3)
    names = [one["name"] for one in client.get(f"{address}/files").json()["files"]]
    assert file in names and "job.sqlite" not in names
    failure = json.loads(client.get(f"{address}/files/failures.jsonl").text)
    assert failure["id"] == "bad" and "stop" in failure["error"]
    fetched = client.get(f"{address}/files/{file}")
    assert fetched.status_code == 200 and "attachment" in fetched.headers["content-disposition"]
    for name in ("job.sqlite", "..%2finput.fasta", "%2e%2e%2finput.fasta", "nothing.csv"):
        assert client.get(f"{address}/files/{name}").status_code == 404
    assert client.get("/v1/jobs").json()["jobs"][0]["id"] == status["id"]
    assert client.delete(address).status_code == 200
    assert client.get(address).status_code == 404


def test_a_prediction_job_over_a_trained_model(trained_client: TestClient) -> None:
    body = {"verb": "predict", "sequences": [UBIQUITIN, {"id": "=cmd", "sequence": "ACDEF"}]}
    address = trained_client.post("/v1/jobs", json=body).headers["location"]
    assert finished(trained_client, address)["done"] == 2
    lines = trained_client.get(f"{address}/files/predictions.csv").text.splitlines()
    live = trained_client.post("/v1/predict", json={"sequences": [UBIQUITIN]}).json()["results"][0]
    assert lines[1].startswith(f"sequence_1,{live['label']},")


def test_events_follow_a_job_to_its_end(client: TestClient) -> None:
    address = client.post("/v1/jobs", json={"verb": "embed", "fasta": FASTA}).headers["location"]
    with client.stream("GET", f"{address}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert events[-1]["status"] == "done"


@pytest.mark.parametrize(
    "body",
    [
        {"verb": "embed"},
        {"verb": "embed", "fasta": "", "sequences": ["A"]},
        {"verb": "fly", "fasta": FASTA},
        {"verb": "embed", "fasta": FASTA, "settings": {"model": "/etc"}},
        {"verb": "score", "fasta": FASTA, "settings": {"target": "/etc/passwd"}},
        {"verb": "score", "fasta": FASTA, "settings": {"reference": "/etc/passwd"}},
        {"verb": "embed", "fasta": FASTA, "settings": {"level": "atom"}},
        {"verb": "predict", "fasta": FASTA},
    ],
)
def test_jobs_that_cannot_be_are_refused(client: TestClient, body: dict) -> None:
    assert client.post("/v1/jobs", json=body).status_code == 422
    assert client.get("/v1/jobs").json() == {"jobs": []}


def test_a_job_of_nothing_usable_fails_and_says_why(client: TestClient) -> None:
    address = client.post("/v1/jobs", json={"verb": "embed", "fasta": "no fasta at all"}).headers["location"]
    status = finished(client, address)
    assert status["status"] == "failed"


def test_jobs_are_their_owners_and_can_be_cancelled_and_are_bounded(make) -> None:
    client = make(secrets=("a-token-of-many-letters", "another-token-of-letters"), jobs=3)
    mine = {"authorization": "Bearer a-token-of-many-letters"}
    theirs = {"authorization": "Bearer another-token-of-letters"}
    sequences = [UBIQUITIN[number:] + UBIQUITIN[:number] for number in range(70)]
    body = {"verb": "contacts", "sequences": sequences}
    answers = [client.post("/v1/jobs", json=body, headers=mine) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    first, second, third = (answer.headers["location"] for answer in answers[:3])
    for address in (first, f"{first}/files", f"{first}/events", f"{first}/files/run.json"):
        assert client.get(address, headers=theirs).status_code == 404
    assert client.delete(first, headers=theirs).status_code == 404
    assert client.get("/v1/jobs", headers=theirs).json() == {"jobs": []}
    for address in (third, second, first):
        assert client.delete(address, headers=mine).json()["status"] == "cancelled"
    for address in (first, second, third):
        assert client.get(address, headers=mine).json()["status"] == "cancelled"
        assert client.get(f"{address}/files", headers=mine).json() == {"files": []}


def test_the_oldest_finished_jobs_make_room(make) -> None:
    client = make(kept_jobs=1)
    addresses = []
    for _ in range(3):
        addresses.append(client.post("/v1/jobs", json={"verb": "embed", "fasta": FASTA}).headers["location"])
        finished(client, addresses[-1])
    time.sleep(0.5)
    assert [client.get(address).status_code for address in addresses] == [404, 404, 200]
