"""Pulling models from a server that behaves, stops, lies or sends something else."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, scan_cache_dir, try_to_load_from_cache

from chaperonin.cli.main import main
from chaperonin.errors import WeightsError
from chaperonin.weights import asking, catalog, hub, places
from chaperonin.weights.manifest import read_manifest

NAME = "someone/some-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
WEIGHTS = bytes(range(256)) * 2000
CONFIG = b'{"model_type": "esm"}'


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class HubServer(ThreadingHTTPServer):
    """The routes of the hub that a download needs; `faults` are used up one per request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "vocab.txt": b"<cls>\n<pad>\n"}
        self.files |= {"README.md": b"text", "pytorch_model.bin": b"pickle", "modeling.py": b"code"}
        self.commits = {"main": COMMIT, COMMIT: COMMIT, "v2": LATER_COMMIT, LATER_COMMIT: LATER_COMMIT}
        self.faults: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.announced: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fetched(self, name: str) -> list[str]:
        """The ranges asked of one file, empty for all of it."""
        return [wanted for path, wanted in self.requests if path.endswith(f"/{name}")]

    def siblings(self) -> list[dict[str, object]]:
        entries = []
        for name, content in self.files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
            if name.endswith((".safetensors", ".bin")):
                digest = self.announced.get(name, sha256(content))
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            entries.append(entry)
        return entries


class Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((path, self.headers.get("Range", "")))
        route = "api" if path.startswith("/api/") else path.rpartition("/")[2]
        faults = self.server.faults.get(route, [])
        fault = faults.pop(0) if faults else ""
        if fault.isdigit():
            self.answer(int(fault), b"{}", {"Retry-After": "0"})
        elif fault == "log-in page":
            self.answer(200, b"<html>Please log in</html>", {})
        elif route == "api":
            self.answer_api(path)
        else:
            self.answer_file(path, route, fault)

    def answer_api(self, path: str) -> None:
        name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
        if name not in (NAME, "facebook/esm2_t6_8M_UR50D"):
            self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in self.server.commits:
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            commit = self.server.commits[revision]
            body = {"id": name, "sha": commit, "siblings": self.server.siblings()}
            self.answer(200, json.dumps(body).encode(), {})

    def answer_file(self, path: str, name: str, fault: str) -> None:
        content = self.server.files[name]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": sha256(content), "X-Repo-Commit": path.split("/")[4], "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        length = len(body)
        if fault == "other content":
            body = bytes(255 - byte for byte in body)
        elif fault == "dropped midway":
            body = body[: len(body) // 2]
        elif fault == "too short":
            body, length = body[: len(body) // 2], len(body) // 2
        elif fault == "announced too long":
            length += 1000
        elif fault == "goes on":
            body, length = body + b"more" * 250, length + 1000
        elif fault == "nothing":
            body, length = b"", 0
        self.answer(206 if start else 200, body, headers, length)

    def answer(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub of our own, an empty cache, and no pauses."""
    server = HubServer()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    point_at(server.url, tmp_path, monkeypatch)
    yield server
    server.shutdown()
    server.server_close()


def point_at(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT and HF_HOME would have done before the library was imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(asking, "PAUSES_SECONDS", (0, 0, 0))


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def partials(folder: Path) -> list[Path]:
    return list(folder.rglob("*.incomplete"))


def test_only_what_a_model_needs_is_pulled_and_every_byte_is_the_published_one(server: HubServer) -> None:
    folder = hub.pull(NAME)
    assert visible(folder) == {"config.json", "model.safetensors", "vocab.txt", "chaperonin.json"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == CONFIG


def test_the_commit_and_all_hashes_are_recorded(server: HubServer) -> None:
    manifest = read_manifest(hub.pull(NAME))
    assert manifest is not None
    assert (manifest.source, manifest.commit) == (NAME, COMMIT)
    assert manifest.files["model.safetensors"].sha256 == sha256(WEIGHTS)
    assert manifest.files["config.json"].sha256 == sha256(CONFIG)


def test_the_library_finds_the_files_in_its_own_cache(server: HubServer) -> None:
    folder = hub.pull(NAME)
    assert try_to_load_from_cache(NAME, "model.safetensors") == str(folder / "model.safetensors")
    downloaded = huggingface_hub.hf_hub_download(NAME, "config.json", local_files_only=True)
    assert Path(downloaded).read_bytes() == CONFIG
    assert scan_cache_dir(constants.HF_HUB_CACHE).warnings == []


def test_a_second_pull_asks_nobody(server: HubServer) -> None:
    folder = hub.pull(NAME)
    server.requests.clear()
    assert hub.pull(NAME) == folder
    assert server.requests == []


def test_the_first_pull_fixes_what_main_means(server: HubServer) -> None:
    folder = hub.pull(NAME)
    server.commits["main"] = LATER_COMMIT
    shutil.rmtree(folder)
    assert hub.pull(NAME).name == COMMIT
    assert hub.pull(NAME, revision="main").name == LATER_COMMIT
    assert hub.pull(NAME).name == LATER_COMMIT


def test_a_revision_can_be_a_tag_or_a_commit(server: HubServer) -> None:
    assert hub.pull(NAME, revision="v2").name == LATER_COMMIT
    assert hub.pull(NAME, revision=COMMIT).name == COMMIT
    assert hub.local_folder(NAME, "v2") == hub.local_folder(NAME, LATER_COMMIT)


def test_a_connection_dropped_midway_goes_on_where_it_stopped(server: HubServer) -> None:
    server.faults["model.safetensors"] = ["dropped midway", "dropped midway"]
    folder = hub.pull(NAME)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    half, rest = len(WEIGHTS) // 2, len(WEIGHTS) * 3 // 4
    assert server.fetched("model.safetensors") == ["", f"bytes={half}-", f"bytes={rest}-"]


def test_an_interrupted_pull_is_completed_by_the_next_one(server: HubServer) -> None:
    server.faults["model.safetensors"] = ["dropped midway", *["503"] * 3]
    with pytest.raises(WeightsError, match=r"model.safetensors \(256,000 of 512,000 bytes are here\).*503"):
        hub.pull(NAME)
    assert hub.local_folder(NAME) is None
    assert [path.stat().st_size for path in partials(hub.repository(NAME))] == [len(WEIGHTS) // 2]
    server.requests.clear()
    assert (hub.pull(NAME) / "model.safetensors").read_bytes() == WEIGHTS
    assert server.fetched("model.safetensors") == [f"bytes={len(WEIGHTS) // 2}-"]
    assert partials(hub.repository(NAME)) == []


def test_damaged_earlier_bytes_are_noticed_and_fetched_again(server: HubServer) -> None:
    blobs = hub.repository(NAME) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256(WEIGHTS)}.incomplete").write_bytes(b"damaged" * 1000)
    assert (hub.pull(NAME) / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("fault", ["too short", "announced too long"])
def test_a_lie_about_the_length_does_not_change_the_file(server: HubServer, fault: str) -> None:
    server.faults["model.safetensors"] = [fault]
    assert (hub.pull(NAME) / "model.safetensors").read_bytes() == WEIGHTS


def refused(server: HubServer, *parts: str) -> WeightsError:
    """The error of a pull that must fail and leave nothing under a final name."""
    with pytest.raises(WeightsError) as caught:
        hub.pull(NAME)
    text = str(caught.value)
    assert all(part in text for part in parts), text
    assert hub.local_folder(NAME) is None
    assert not (hub.repository(NAME) / "blobs" / sha256(WEIGHTS)).exists()
    return caught.value


def test_a_file_that_stays_truncated_is_refused(server: HubServer) -> None:
    server.faults["model.safetensors"] = ["too short", *["nothing"] * 9]
    refused(server, "model.safetensors ended after 256,000 of 512,000 bytes", "goes on from there")


def test_a_file_that_goes_on_past_its_announced_end_is_refused(server: HubServer) -> None:
    server.faults["model.safetensors"] = ["goes on"]
    refused(server, "goes on after the 512,000 bytes the hub announces")


def test_other_content_than_announced_is_refused_and_deleted(server: HubServer) -> None:
    server.faults["model.safetensors"] = ["other content"]
    refused(server, "the hub announces " + sha256(WEIGHTS))
    assert partials(hub.repository(NAME)) == []


def test_a_changed_configuration_is_refused_too(server: HubServer) -> None:
    server.faults["config.json"] = ["other content"]
    with pytest.raises(WeightsError, match="the hub announces " + git_sha1(CONFIG)):
        hub.pull(NAME)
    assert hub.local_folder(NAME) is None


def test_server_errors_and_slow_downs_are_waited_for(server: HubServer) -> None:
    server.faults = {
        "api": ["500", "429"],
        "model.safetensors": ["500", "500"],
        "config.json": ["429", "503"],
    }
    assert (hub.pull(NAME) / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("status", "reason", "advice"),
    [
        ("401", "not known to the hub, or private", "HF_TOKEN"),
        ("403", "not open to you", "Accept its terms"),
        ("404", "not on the hub", "spelling"),
        ("429", "too many requests", "Wait some minutes"),
        ("500", "the hub is in trouble", "later"),
    ],
)
@pytest.mark.parametrize("route", ["api", "model.safetensors"])
def test_a_final_refusal_is_explained(
    server: HubServer, route: str, status: str, reason: str, advice: str
) -> None:
    server.faults[route] = [status] * 9
    refused(server, reason, f"HTTP {status}", advice)


def test_an_unknown_name_and_an_unknown_revision_are_told_apart(server: HubServer) -> None:
    with pytest.raises(WeightsError, match="someone/else at main is not known to the hub"):
        hub.pull("someone/else")
    with pytest.raises(WeightsError, match="someone/some-model at v9 is not on the hub"):
        hub.pull(NAME, revision="v9")


def test_a_log_in_page_in_between_is_not_taken_for_the_hub(server: HubServer) -> None:
    server.faults["api"] = ["log-in page"]
    refused(server, "is not the hub's", "HF_ENDPOINT")


def test_an_answer_for_another_commit_is_refused(server: HubServer) -> None:
    server.commits[COMMIT] = LATER_COMMIT
    with pytest.raises(WeightsError, match=f"the answer is for {LATER_COMMIT}"):
        hub.pull(NAME, revision=COMMIT)


def test_without_network_the_error_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(WeightsError) as caught:
        hub.pull(NAME)
    assert "no answer from the hub" in str(caught.value)
    assert "give its path" in caught.value.advice and "HF_HUB_OFFLINE" in caught.value.advice


def test_offline_only_what_is_here_is_used(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="not complete on this disk"):
        hub.pull(NAME, offline=True)
    folder = hub.pull(NAME)
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.pull(NAME, revision="main") == folder
    assert server.requests == []


def test_shards_come_with_their_index(server: HubServer) -> None:
    add_shards(server)
    folder = hub.pull(NAME)
    assert (folder / "model-00002-of-00002.safetensors").read_bytes() == WEIGHTS[1000:]
    assert "model.safetensors.index.json" in visible(folder)
    (folder / "model-00001-of-00002.safetensors").unlink()
    assert hub.local_folder(NAME) is None
    assert (hub.pull(NAME) / "model-00001-of-00002.safetensors").read_bytes() == WEIGHTS[:1000]


def add_shards(server: HubServer, first: str = "model-00001-of-00002.safetensors") -> None:
    del server.files["model.safetensors"]
    second = "model-00002-of-00002.safetensors"
    server.files |= {"model-00001-of-00002.safetensors": WEIGHTS[:1000], second: WEIGHTS[1000:]}
    index = {"weight_map": {"a": first, "b": second, "c": second}}
    server.files["model.safetensors.index.json"] = json.dumps(index).encode()


@pytest.mark.parametrize(
    "shard", ["model-00009-of-00002.safetensors", "../../escaped.safetensors", "/etc/passwd"]
)
def test_an_index_may_only_name_published_files_of_its_own_folder(server: HubServer, shard: str) -> None:
    add_shards(server, first=shard)
    refused(server, "names shards that the hub does not have", shard)


def test_pickled_weights_are_not_fetched(server: HubServer) -> None:
    del server.files["model.safetensors"]
    error = refused(server, "only pickled weights (pytorch_model.bin)")
    assert "chaperonin weights convert" in error.advice and COMMIT in error.advice
    assert server.fetched("pytorch_model.bin") == []


def test_too_little_disk_is_said_before_anything_is_fetched(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(100, 0, 100)  # type: ignore[attr-defined]
    monkeypatch.setattr(places.shutil, "disk_usage", lambda path: usage)
    refused(server, "512,033 bytes to fetch, 100 free")
    assert server.fetched("model.safetensors") == []


def test_a_folder_gets_the_files_themselves(server: HubServer, tmp_path: Path) -> None:
    server.faults["model.safetensors"] = ["dropped midway"]
    folder = hub.pull(NAME, folder=tmp_path / "mine")
    assert visible(folder) == {"config.json", "model.safetensors", "vocab.txt", "chaperonin.json"}
    assert not (folder / "model.safetensors").is_symlink()
    assert not (tmp_path / "hub").exists()
    server.requests.clear()
    assert hub.pull(NAME, folder=folder) == folder
    assert server.fetched("model.safetensors") == []


def test_another_model_in_the_folder_is_not_overwritten(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"precious")
    with pytest.raises(WeightsError, match=r"another model\.safetensors is here"):
        hub.pull(NAME, folder=tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"precious"


def test_a_folder_that_cannot_be_written_is_an_error_with_advice(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match="cannot write"):
        hub.pull(NAME, folder=tmp_path / "file" / "below")


def test_a_known_name_means_its_pinned_commit(server: HubServer) -> None:
    known = catalog.PUBLISHED["facebook/esm2_t6_8M_UR50D"]
    server.commits = {known.commit: known.commit}
    server.announced["model.safetensors"] = known.sha256["model.safetensors"]
    with pytest.raises(WeightsError, match="the hub announces " + known.sha256["model.safetensors"]):
        hub.pull(known.name)  # the bytes are not the published ones
    assert all(known.commit in path for path, _ in server.requests)


def test_a_hub_that_announces_another_hash_than_the_pinned_one_is_not_used(server: HubServer) -> None:
    known = catalog.PUBLISHED["facebook/esm2_t6_8M_UR50D"]
    server.commits = {known.commit: known.commit}
    with pytest.raises(WeightsError, match="published was " + known.sha256["model.safetensors"]):
        hub.pull(known.name)
    assert server.fetched("model.safetensors") == []


def test_every_pin_is_a_commit_and_every_hash_a_sha256() -> None:
    for known in catalog.PUBLISHED.values():
        assert len(known.commit) == 40 and int(known.commit, 16)
        assert all(len(digest) == 64 and int(digest, 16) for digest in known.sha256.values())
    assert len({known.commit for known in catalog.PUBLISHED.values()}) == len(catalog.PUBLISHED)


def test_a_damaged_cached_file_is_replaced_by_the_next_pull(server: HubServer) -> None:
    folder = hub.pull(NAME)
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(WEIGHTS[:-1])
    assert (hub.pull(NAME) / "model.safetensors").read_bytes() == WEIGHTS


def test_what_another_program_cached_is_found_and_checked(server: HubServer) -> None:
    snapshot = hub.repository(NAME) / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(CONFIG)
    (snapshot / "model.safetensors").write_bytes(WEIGHTS)
    assert hub.resolve(NAME) == snapshot
    assert hub.pull(NAME, offline=True) == snapshot
    assert read_manifest(hub.pull(NAME, revision=COMMIT)) is not None


def test_progress_tells_how_much_is_here(server: HubServer) -> None:
    seen: list[tuple[str, int, int]] = []
    hub.pull(NAME, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("config.json", len(CONFIG), len(CONFIG))
    assert ("model.safetensors", len(WEIGHTS), len(WEIGHTS)) in seen


def test_two_pulls_at_once_fetch_every_file_once(server: HubServer) -> None:
    folders: list[Path] = []
    pulls = [threading.Thread(target=lambda: folders.append(hub.pull(NAME))) for _ in range(4)]
    for started in pulls:
        started.start()
    for started in pulls:
        started.join()
    assert folders == [hub.local_folder(NAME)] * 4
    assert {name: len(server.fetched(name)) for name in ("model.safetensors", "config.json")} == {
        "model.safetensors": 1,
        "config.json": 1,
    }


def test_the_command_prints_the_folder_and_logs_how_far_it_is(
    server: HubServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server.files["tokenizer.json"] = b"{}"
    assert main(["weights", "pull", NAME]) == 0
    assert capsys.readouterr().out == f"{hub.local_folder(NAME)}\n"
    assert "model.safetensors: 0.5 MB of 0.5 MB" in caplog.messages
    assert not any("HTTP" in message for message in caplog.messages)


def test_the_environment_chooses_server_cache_and_network(server: HubServer, tmp_path: Path) -> None:
    environment = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    program = f"from chaperonin.weights.hub import pull; print(pull({NAME!r}))"
    run = [sys.executable, "-c", program]
    pulled = subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert pulled == str(tmp_path / "home" / "hub" / "models--someone--some-model" / "snapshots" / COMMIT)
    environment["HF_HOME"] = str(tmp_path / "elsewhere")
    failed = subprocess.run(
        run, env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )
    assert "the hub may not be asked (offline)" in failed.stderr
