"""Hostile and clumsy requests: each gets a clear 4xx, in one form."""

import pytest
from fastapi.testclient import TestClient

from chaperonin.serving.gate import _is_deep

JSON = {"content-type": "application/json"}


def check(answer, status: int, kind: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["error_type"]) == (status, kind), body
    assert body.keys() == {"error", "error_type", "request_id", "details"}
    assert body["error"] and body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "kind"),
    [
        ("GET", "/nothing", b"", {}, 404, "not_found"),
        ("GET", "/v1/embed", b"", {}, 405, "method_not_allowed"),
        ("POST", "/v1/embed", b"{}", {"content-type": "text/plain"}, 415, "content_type"),
        ("POST", "/v1/embed", b"{}", {}, 415, "content_type"),
        ("POST", "/invocations", b"<a/>", {"content-type": "application/xml"}, 415, "content_type"),
        ("POST", "/v1/embed", b"", JSON, 422, "validation"),
        ("POST", "/v1/embed", b"{", JSON, 400, "malformed"),
        ("POST", "/v1/embed", b"\xff\xfe", JSON, 400, "malformed"),
        ("POST", "/v1/embed", b'{"sequences": 1' + b"0" * 5000 + b"}", JSON, 400, "malformed"),
        ("POST", "/v1/embed", b"[" * 100_000, JSON, 400, "malformed"),
        ("POST", "/v1/embed", b'{"sequences": []}', JSON, 422, "validation"),
        ("POST", "/v1/embed", b'{"sequences": ["A"], "levle": "residue"}', JSON, 422, "validation"),
        ("POST", "/v1/embed", b'{"sequences": ["\\ud800"]}', JSON, 422, "validation"),
        (
            "POST",
            "/v1/embed",
            b'{"sequences": [{"id": "\\ud800", "sequence": "A"}]}',
            JSON,
            422,
            "validation",
        ),
        ("POST", "/v1/embed", b'{"sequences": ["A"], "model": "../../etc"}', JSON, 404, "unknown_model"),
        ("POST", "/v1/embed", b'{"sequences": [NaN]}', JSON, 422, "validation"),
        ("PUT", "/v1/models/..%2f..%2fetc", b'{"folder": "x"}', JSON, 404, "not_found"),
        ("PUT", "/v1/models/x", b'{"folder": "../../etc"}', JSON, 404, "unknown_folder"),
        ("DELETE", "/v1/models/chaperonin%2Fesm2-tiny", b"", {}, 404, "not_found"),
        ("GET", "/v1/jobs/..%2f..%2fetc%2fpasswd", b"", {}, 404, "not_found"),
        ("GET", "/v1/jobs/" + "0" * 32, b"", {}, 404, "unknown_job"),
        ("GET", "/page/..%2fapp.py", b"", {}, 404, "not_found"),
    ],
)
def test_what_cannot_be_done_is_said_clearly(
    client: TestClient, method, path, body, headers, status, kind
) -> None:
    check(client.request(method, path, content=body, headers=headers), status, kind)


def test_too_much_is_refused_before_it_is_computed(make) -> None:
    client = make(body_bytes=5000, sequences=3, tokens=100, values=3000)
    check(client.post("/v1/embed", content=b" " * 6000, headers=JSON), 413, "too_large")
    check(client.post("/v1/embed", content=iter([b" " * 3000] * 3), headers=JSON), 413, "too_large")
    check(client.post("/v1/embed", json={"sequences": ["A"] * 4}), 413, "too_large")
    check(client.post("/v1/embed", json={"sequences": ["A" * 99]}), 413, "too_large")
    check(client.post("/v1/embed", json={"sequences": ["A" * 16], "level": "residue"}), 413, "too_large")
    check(client.post("/v1/contacts", json={"sequences": ["A" * 60]}), 413, "too_large")
    check(client.post("/v1/score", json={"sequence": "A" * 20}), 413, "too_large")
    assert client.post("/v1/embed", json={"sequences": ["A" * 98]}).status_code == 200


def test_a_request_too_many_is_refused(make) -> None:
    client = make(requests=0)
    answer = client.get("/info")
    check(answer, 429, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    assert client.get("/ping").status_code == 200


def test_draining_refuses_all_but_the_probes(client: TestClient) -> None:
    client.app.state.parts.state.draining = True  # type: ignore[attr-defined]
    for method, path in (("POST", "/v1/embed"), ("GET", "/info")):
        answer = client.request(method, path)
        check(answer, 503, "draining")
        assert "retry-after" in answer.headers
    for path in ("/ready", "/v1/health/ready", "/ping"):
        assert client.get(path).status_code == 503
    assert client.get("/health").status_code == 200


def test_request_ids_are_kept_where_they_are_sane(client: TestClient) -> None:
    assert client.get("/ping", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for odd in ("a b", "x" * 101, "<script>"):
        given = client.get("/ping", headers={"x-request-id": odd}).headers["x-request-id"]
        assert given != odd and len(given) == 32


def test_nesting_is_counted_outside_of_text() -> None:
    assert not _is_deep(b'{"a": "' + b"[" * 100 + b'"}', 16)
    assert _is_deep(b"[" * 17, 16) and not _is_deep(b"[]" * 100, 16)
    assert not _is_deep(b'"\\"' + b"[" * 100 + b'"', 16)


def test_an_error_of_ours_is_said_in_the_same_form(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr("chaperonin.serving.worker.compute", broken)
    check(client.post("/v1/embed", json={"sequences": ["ACD"]}), 500, "internal")
    monkeypatch.undo()
    assert client.post("/v1/embed", json={"sequences": ["ACD"]}).status_code == 200


def test_probes_and_metrics(client: TestClient) -> None:
    assert client.get("/ping").content == b""
    assert client.get("/v1/health/live").json() == {"status": "live"}
    client.post("/v1/embed", json={"sequences": ["ACD", "ACDE"]})
    client.get("/nothing")
    text = client.get("/metrics").text
    assert 'chaperonin_requests_total{method="POST",route="/v1/embed",status="200"} 1.0' in text
    assert 'chaperonin_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert "chaperonin_tokens_total 11.0" in text
    assert "chaperonin_batch_items_sum 2.0" in text
    for name in ("queue_tokens", "request_queue_seconds_count", "resident_memory_bytes", "jobs_unfinished"):
        assert f"chaperonin_{name} " in text
    info = client.get("/info").json()
    assert info["limits"]["tokens"] == 65_536 and info["model"]["width"] == 192
