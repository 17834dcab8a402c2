"""The process: signals, kills, clients that leave, dawdle or cut themselves off."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.serving.running import Running, request_bytes, running

from chaperonin.cli.serve import run
from chaperonin.errors import UsageError

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
SCAN = b'{"sequence": "%s"}' % (UBIQUITIN * 2).encode()
"""152 passes of 154 tokens: seconds of work."""


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def test_sigterm_finishes_what_runs_and_refuses_what_comes(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        busy, late, probe = server.open(), server.open(), server.open()
        busy.sendall(request_bytes("/v1/score", SCAN))
        until(lambda: server.metric("chaperonin_queue_tokens") > 0)
        server.signal(signal.SIGTERM)
        until(lambda: "SIGTERM" in server.log.read_text())
        probe.sendall(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 503 " in probe.recv(4096).split(b"\r\n")[0]
        late.sendall(request_bytes("/v1/embed", b'{"sequences": ["ACD"]}'))
        refused = late.recv(4096).lower()
        assert b" 503 " in refused.split(b"\r\n")[0] and b"retry-after" in refused
        assert b" 200 " in busy.recv(4096).split(b"\r\n")[0]
        assert server.wait(30) == 0


def test_what_does_not_end_in_time_after_sigterm_is_told_so(tmp_path: Path) -> None:
    large = b'{"sequence": "%s"}' % (UBIQUITIN * 6).encode()  # 456 passes of 458 tokens each
    room = ("limits.tokens=300000", "limits.queue_tokens=1000000")
    with running(tmp_path, "limits.drain_seconds=1", *room) as server:
        computing, waiting, sending = server.open(), server.open(), server.open()
        computing.sendall(request_bytes("/v1/score", large))
        waiting.sendall(request_bytes("/v1/score", large))
        sending.sendall(request_bytes("/v1/embed", b'{"sequences": ["ACD"]}')[:-5])
        until(lambda: server.metric("chaperonin_queue_tokens") > 200_000)
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        for connection in (computing, waiting, sending):
            with connection.makefile("rb") as answer:
                head, _, body = answer.read().lower().partition(b"\r\n\r\n")
            assert b" 503 " in head.split(b"\r\n")[0] and b"retry-after: " in head
            assert json.loads(body)["error_type"] == "draining"
        assert server.wait(30) == 0
        assert 1 <= time.monotonic() - begun < 15  # a busy machine; 5 s are the bound
        assert "Traceback" not in server.log.read_text()


STUCK = """
import time
from chaperonin.serving import worker
compute = worker.compute
worker.compute = lambda models, items: time.sleep(60) if items[0].cost == 5 else compute(models, items)
"""


def test_a_pass_without_end_does_not_hold_the_process(tmp_path: Path) -> None:
    with running(tmp_path, "limits.drain_seconds=0.5", before=STUCK) as server:
        stuck = server.open()
        stuck.sendall(request_bytes("/v1/embed", b'{"sequences": ["ACD"]}'))
        time.sleep(0.5)
        server.signal(signal.SIGTERM)
        assert b" 503 " in stuck.recv(4096).split(b"\r\n")[0]
        assert server.wait(30) == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        busy = server.open()
        busy.sendall(request_bytes("/v1/score", SCAN))
        until(lambda: server.metric("chaperonin_queue_tokens") > 0)
        server.signal(signal.SIGTERM)
        until(lambda: "SIGTERM" in server.log.read_text())
        server.signal(signal.SIGTERM)
        assert server.wait(5) == 128 + signal.SIGTERM


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("server"), "limits.body_seconds=1") as started:
        yield started


def test_the_work_of_a_client_that_leaves_is_dropped(server: Running) -> None:
    gone = server.open()
    gone.sendall(request_bytes("/v1/score", SCAN))
    until(lambda: server.metric("chaperonin_queue_tokens") > 10_000)
    gone.close()
    until(lambda: server.metric("chaperonin_queue_tokens") == 0, seconds=3)
    assert server.metric("chaperonin_tokens_total") < 152 * 154
    assert server.ask("POST", "/v1/embed", {"sequences": ["ACD"]})[0] == 200


def test_a_slow_body_is_given_up(server: Running) -> None:
    slow = server.open()
    whole = request_bytes("/v1/embed", b'{"sequences": ["ACD"]}')
    slow.sendall(whole[:-5])
    with slow.makefile("rb") as answer:  # to its end: the connection is closed
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert b" 408 " in head.split(b"\r\n")[0] and b"slow_body" in body


def test_a_head_that_does_not_end_is_given_up_and_a_slow_answer_is_not(tmp_path: Path) -> None:
    with running(tmp_path, "limits.head_seconds=0.5") as server:
        silent, slow, second = server.open(), server.open(), server.open()
        slow.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
        second.sendall(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\nGET /ping HTTP")
        assert silent.recv(4096) == b"" and slow.recv(4096) == b""  # hung up
        assert second.recv(4096).count(b" 200 ") == 1 and second.recv(4096) == b""
        begun = time.monotonic()
        assert server.ask("POST", "/v1/score", {"sequence": UBIQUITIN * 2})[0] == 200
        assert time.monotonic() - begun > 0.5  # a whole head may wait for its answer


def test_a_body_that_is_cut_off_harms_nobody(server: Running) -> None:
    for _ in range(5):
        cut = server.open()
        cut.sendall(request_bytes("/v1/embed", b'{"sequences": ["ACD"]}')[:-5])
        cut.close()
    assert server.ask("GET", "/ping") == (200, b"")


HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", b" 400 "),
        (HEAD + b"x: " + b"a" * 66_000 + b"\r\n\r\n", b" 400 "),
        (b"POST /v1/embed HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b" 400 "),
        (b"POST /v1/embed HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", b" 413 "),
        (b"POST /v1/embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b" 400 "),
    ],
)
def test_what_is_no_http_is_4xx(server: Running, sent: bytes, status: bytes) -> None:
    connection = server.open()
    connection.sendall(sent)
    assert status in connection.recv(4096).split(b"\r\n")[0]
    assert server.ask("GET", "/ping") == (200, b"")


@pytest.mark.parametrize("more", [b"x: " + b"a" * 1_000_000, b"x: a\r\n" * 20_000])
def test_a_head_without_end_is_4xx_or_hung_up_on(server: Running, more: bytes) -> None:
    """The connection is closed while more of it is on its way, and that may take the answer along (RFC 9112, 9.6)."""
    connection = server.open()
    try:
        connection.sendall(HEAD + more + b"\r\n\r\n")
        answer = connection.recv(4096)
    except (ConnectionResetError, BrokenPipeError):
        answer = b""
    assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0], answer
    assert server.ask("GET", "/ping") == (200, b"")


def files_of(server: Running, address: str) -> dict[str, bytes]:
    names = [one["name"] for one in server.ask("GET", f"{address}/files")[1]["files"]]
    found = {name: server.ask("GET", f"{address}/files/{name}")[1] for name in names}
    return {name: content for name, content in found.items() if name not in ("run.json", "report.html")}


def test_a_job_that_is_killed_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    sequences = [UBIQUITIN[number % 60 :] * (1 + number % 4) for number in range(160)]
    body = {"verb": "embed", "sequences": sequences, "settings": {"level": "protein"}}

    def finished(server: Running, address: str) -> bool:
        status = server.ask("GET", address)[1]
        assert status["status"] in ("queued", "running", "done"), status
        return status["status"] == "done"

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    with running(whole) as server:
        status, job = server.ask("POST", "/v1/jobs", body)
        assert status == 202
        address = f"/v1/jobs/{job['id']}"
        until(lambda: finished(server, address), 120)
        expected = files_of(server, address)
    with running(killed) as server:
        address = f"/v1/jobs/{server.ask('POST', '/v1/jobs', body)[1]['id']}"
        until(lambda: server.ask("GET", address)[1]["status"] == "running")
        time.sleep(0.5)
        server.signal(signal.SIGKILL)
        server.wait()
    with running(killed) as server:
        until(lambda: finished(server, address), 120)
        assert files_of(server, address) == expected
        assert "embeddings.parquet" in expected


def test_what_cannot_be_served_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="open to the network"):
        run(host="0.0.0.0")
    with pytest.raises(UsageError, match="no setting is called"):
        run(set=["limits.tokns=1"])
    with running(tmp_path), pytest.raises(UsageError, match="another process"):
        run(port=0, set=[f"jobs_dir={tmp_path / 'jobs'}"])


def test_without_arguments_it_serves_what_sagemaker_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    monkeypatch.setattr("chaperonin.serving.settings.SAGEMAKER_MODEL", tmp_path)
    monkeypatch.setattr(
        "chaperonin.serving.server.serve",
        lambda name, settings, environment: asked.update(name=name, settings=settings) or 0,
    )
    monkeypatch.setitem(os.environ, "SAGEMAKER_BIND_TO_PORT", "9001")
    assert run() == 0
    settings = asked["settings"]
    assert asked["name"] == str(tmp_path)
    assert (settings.host, settings.port, settings.platform) == ("0.0.0.0", 9001, True)
    assert run("some/model") == 0
    assert (asked["settings"].host, asked["settings"].platform) == ("127.0.0.1", False)
