"""`weights pull alphafold2` from a server that behaves, stops or lies, and archives that somebody else made."""

import base64
import errno
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants, scan_cache_dir

from chaperonin.cli.main import main
from chaperonin.errors import WeightsError
from chaperonin.models import layout_of
from chaperonin.models.alphafold import archive
from chaperonin.models.alphafold.archive import pull
from chaperonin.models.alphafold.config import PRESETS, AlphaFoldConfig
from chaperonin.models.alphafold.layout import LAYOUT
from chaperonin.models.alphafold.model import AlphaFold
from chaperonin.models.alphafold.weights import npz_table
from chaperonin.weights import archive as tar_archive
from chaperonin.weights import asking, hub, places
from chaperonin.weights.catalog import ALPHAFOLD
from chaperonin.weights.manifest import read_manifest
from chaperonin.weights.pretrained import load_folder
from chaperonin.weights.verify import verify

SIZES = {
    "msa_width": 16, "extra_msa_width": 8, "pair_width": 12, "single_width": 10, "template_width": 8,
    "blocks": 1, "extra_msa_blocks": 1, "template_blocks": 1, "outer_product_width": 4,
}  # fmt: skip
SMALL = {
    "model_1": AlphaFoldConfig(**SIZES),  # type: ignore[arg-type]
    "model_3_ptm": AlphaFoldConfig(templates=False, aligned_error=True, **SIZES),  # type: ignore[arg-type]
}
"""Two models in the place of the ten."""

Member = tuple[tarfile.TarInfo, bytes]


def model_of(preset: str) -> AlphaFold:
    torch.manual_seed(len(preset))
    model = AlphaFold(SMALL[preset])
    for parameter in model.parameters():
        parameter.data.normal_()
    return model


def npz(preset: str) -> bytes:
    model = model_of(preset)
    own = {name: tensor.detach() for name, tensor in model.named_parameters()}
    written = io.BytesIO()
    np.savez(written, **{name: tensor.numpy() for name, tensor in npz_table(model.config).write(own).items()})  # type: ignore[arg-type]
    return written.getvalue()


def plain(name: str, content: bytes) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def published() -> list[Member]:
    models = [plain(f"params_{preset}.npz", npz(preset)) for preset in SMALL]
    return [
        *models,
        plain("params_model_1_multimer_v3.npz", b"not looked at"),
        plain("LICENSE", b"CC BY 4.0\n"),
    ]


def tar(members: list[Member]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as opened:
        for info, content in members:
            opened.addfile(info, io.BytesIO(content))
    return written.getvalue()


PUBLISHED = tar(published())


class Server(ThreadingHTTPServer):
    """One file, with ranges; `faults` are used up one per request of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = PUBLISHED
        self.faults: list[str] = []
        self.requests: list[tuple[str, str, str]] = []
        self.announces_md5 = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def ranges(self) -> list[str]:
        return [wanted for method, _, wanted in self.requests if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(b"", 200, len(self.server.content))

    def do_GET(self) -> None:
        fault = self.server.faults.pop(0) if self.server.faults else ""
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        body = self.server.content[start:]
        if fault == "dropped midway":
            self.answer(body[: len(body) // 2], 206 if start else 200, len(body))
        elif fault == "other content":
            self.answer(bytes(255 - byte for byte in body), 206 if start else 200, len(body))
        elif fault:
            self.answer(b"", int(fault), 0)
        else:
            self.answer(body, 206 if start else 200, len(body))

    def answer(self, body: bytes, status: int, length: int) -> None:
        self.server.requests.append((self.command, self.path, self.headers.get("Range", "")))
        assert "authorization" not in self.headers, "the token of the hub is nobody else's business"
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if status == 206:
            total = len(self.server.content)
            self.send_header("Content-Range", f"bytes {total - length}-{total - 1}/{total}")
        if self.server.announces_md5:
            md5 = base64.b64encode(hashlib.md5(self.server.content).digest()).decode()
            self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={md5}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror of our own, an empty cache, a token that must not leave, and no pauses."""
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("ALPHAFOLD_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(asking, "PAUSES_SECONDS", (0, 0, 0))
    yield server
    server.shutdown()
    server.server_close()


def stored() -> list[Path]:
    """The archive, whole or in part."""
    return sorted(hub.repository("alphafold2/archive").rglob("*.tar*"))


def is_published(folder: Path, preset: str) -> bool:
    own = dict(model_of(preset).named_parameters())
    again = dict(load_folder(LAYOUT, folder).named_parameters())
    return own.keys() == again.keys() and all(torch.equal(own[name], again[name]) for name in own)


def test_every_model_of_the_archive_becomes_a_folder_and_the_archive_goes(server: Server) -> None:
    folders = pull(presets=SMALL)
    assert [hub.resolve(f"alphafold2/{preset}") for preset in SMALL] == folders
    assert all(is_published(folder, preset) for preset, folder in zip(SMALL, folders, strict=True))
    assert all(list(verify(folder, layout_of)) == [] for folder in folders)
    assert (folders[0] / "LICENSE").read_bytes() == b"CC BY 4.0\n"
    manifest = read_manifest(folders[0])
    assert manifest is not None
    assert (manifest.source, manifest.commit) == (f"{ALPHAFOLD.file} params_model_1.npz", "2022-12-06")
    assert stored() == []
    assert scan_cache_dir(constants.HF_HUB_CACHE).warnings == []


def test_a_second_pull_asks_nobody(server: Server) -> None:
    folders = pull(presets=SMALL)
    server.requests.clear()
    assert pull(presets=SMALL) == folders
    assert pull("alphafold2/model_1", offline=True, presets=SMALL) == folders[:1]
    assert server.requests == []


def test_one_model_alone_leaves_the_archive_for_the_others(server: Server) -> None:
    [folder] = pull("alphafold2/model_3_ptm", presets=SMALL)
    assert is_published(folder, "model_3_ptm") and len(stored()) == 1
    assert hub.local_folder("alphafold2/model_1") is None
    server.requests.clear()
    assert len(pull(presets=SMALL)) == 2
    assert server.requests == [] and stored() == []


def test_a_folder_of_the_users_gets_the_models(server: Server, tmp_path: Path) -> None:
    assert pull(folder=tmp_path / "mine", presets=SMALL) == [tmp_path / "mine" / preset for preset in SMALL]
    assert is_published(tmp_path / "mine/model_1", "model_1")
    assert hub.local_folder("alphafold2/model_1") is None


def test_what_lies_in_a_folder_of_the_users_stays(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine/model_1").mkdir(parents=True)
    (tmp_path / "mine/model_1/notes.txt").write_text("mine")
    with pytest.raises(WeightsError, match="something else is here"):
        pull(folder=tmp_path / "mine", presets=SMALL)
    assert server.requests == []


def test_two_pulls_at_once_fetch_once(server: Server) -> None:
    found: list[list[Path]] = []
    threads = [threading.Thread(target=lambda: found.append(pull(presets=SMALL))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and found[0] == found[1] and server.ranges == [""]


def test_the_hub_is_never_asked_for_these_models(server: Server) -> None:
    with pytest.raises(
        WeightsError, match=r"alphafold2/model_1 is not on the hub\. Run `chaperonin weights pull"
    ):
        hub.pull("alphafold2/model_1")
    [folder, _] = pull(presets=SMALL)
    assert hub.pull("alphafold2/model_1") == folder


def test_a_connection_dropped_midway_goes_on_where_it_stopped(server: Server) -> None:
    server.faults = ["dropped midway", "503", "dropped midway"]
    assert is_published(pull(presets=SMALL)[0], "model_1")
    half, rest = len(PUBLISHED) // 2, len(PUBLISHED) * 3 // 4
    assert server.ranges == ["", f"bytes={half}-", f"bytes={half}-", f"bytes={rest}-"]


def test_an_interrupted_pull_is_completed_by_the_next_one(server: Server) -> None:
    server.faults = ["dropped midway", *["503"] * 3]
    with pytest.raises(WeightsError, match=r"AlphaFold's server is in trouble \(HTTP 503\)"):
        pull(presets=SMALL)
    assert [path.suffix for path in stored()] == [".incomplete"]
    server.requests.clear()
    assert is_published(pull(presets=SMALL)[0], "model_1")
    assert server.ranges == [f"bytes={len(PUBLISHED) // 2}-"]


def test_other_content_than_the_server_announces_is_refused(server: Server) -> None:
    server.faults = ["other content"]
    with pytest.raises(WeightsError, match="AlphaFold's server announces"):
        pull(presets=SMALL)
    assert stored() == []


def test_damaged_earlier_bytes_are_noticed_and_fetched_again(server: Server) -> None:
    server.faults = ["dropped midway", *["503"] * 3]
    with pytest.raises(WeightsError):
        pull(presets=SMALL)
    stored()[0].write_bytes(b"damaged" * 100)
    assert is_published(pull(presets=SMALL)[0], "model_1")


def test_a_pin_that_does_not_fit_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ALPHAFOLD", type(ALPHAFOLD)(**(vars(ALPHAFOLD) | {"sha256": "0" * 64})))
    with pytest.raises(WeightsError, match=f"hashes to {hashlib.sha256(PUBLISHED).hexdigest()}"):
        pull(presets=SMALL)


def test_without_any_checksum_the_structure_is_checked(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.announces_md5 = False
    server.faults = ["other content"]
    with pytest.raises(WeightsError, match="refused: it is cut off, damaged or no archive") as caught:
        pull(presets=SMALL)
    assert "was deleted" in caught.value.advice and stored() == []
    assert "no checksum is known" in caplog.text
    assert is_published(pull(presets=SMALL)[0], "model_1")


def test_a_damaged_model_in_the_archive_is_noticed(server: Server) -> None:
    server.announces_md5 = False
    whole = npz("model_3_ptm")
    place = PUBLISHED.index(whole) + len(whole) // 2
    server.content = PUBLISHED[:place] + b"damage" + PUBLISHED[place + 6 :]
    with pytest.raises(WeightsError, match=r"params_model_3_ptm.npz: the file is cut off, damaged .*CRC"):
        pull(presets=SMALL)
    assert hub.local_folder("alphafold2/model_1") is not None  # this one was whole
    assert hub.local_folder("alphafold2/model_3_ptm") is None


def test_a_model_of_another_shape_is_refused(server: Server) -> None:
    wrong = {"model_1": AlphaFoldConfig(**(SIZES | {"blocks": 2}))}  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"is \[1, .*, and the model needs \[2, "):
        pull(presets=wrong)


def test_an_archive_without_a_model_is_refused(server: Server) -> None:
    server.content = tar(published()[1:])
    with pytest.raises(WeightsError, match=r"there is no params_model_1\.npz in it"):
        pull(presets=SMALL)


def member(name: str, kind: bytes, target: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


HOSTILE: list[tuple[Callable[[], list[Member]], str]] = [
    (lambda: [plain("/params_model_1.npz", b"")], "leads out of the archive"),
    (lambda: [plain("../params_model_1.npz", b"")], "leads out of the archive"),
    (lambda: [plain("params/../../params_model_1.npz", b"")], "leads out of the archive"),
    (lambda: [plain("params/params_model_1.npz", b"")], "is not a name that belongs here"),
    (lambda: [plain("params_model_1.npz.exe", b"")], "is not a name that belongs here"),
    (lambda: [plain("params_\n.npz", b"")], r"'params_\\n.npz' is not a name"),
    (lambda: [plain(".ssh", b"")], "is not a name that belongs here"),
    (lambda: [plain("params_" + "x" * 500 + ".sh", b"")], "is not a name that belongs here"),
    (lambda: [member("params_model_1.npz", tarfile.SYMTYPE, "/etc/passwd")], "is a link"),
    (lambda: [member("params_model_1.npz", tarfile.LNKTYPE, "LICENSE")], "is a link"),
    (lambda: [member("params_model_1.npz", tarfile.CHRTYPE)], "a device"),
    (lambda: [member("params_model_1.npz", tarfile.FIFOTYPE)], "not a plain file"),
    (lambda: [member("params", tarfile.DIRTYPE)], "a folder"),
    (lambda: [plain("LICENSE", b"one"), plain("LICENSE", b"two")], "'LICENSE' is there twice"),
    (lambda: [plain("LICENSE", b"one"), plain("./LICENSE", b"two")], "'LICENSE' is there twice"),
    (lambda: [plain(f"params_{number}.npz", b"") for number in range(65)], "is number 65 of the files"),
]


@pytest.mark.parametrize(("members", "message"), HOSTILE)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_hostile_archive_is_refused_before_anything_is_read(
    server: Server, tmp_path: Path, members: Callable[[], list[Member]], message: str, first: bool
) -> None:
    server.content = tar(members() + published() if first else published()[:-1] + members())
    with pytest.raises(WeightsError, match=message):
        pull(presets=SMALL)
    assert stored() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def claiming(size: int) -> bytes:
    """An archive whose one file says it is of another size than it is."""
    info, _ = plain("params_model_1.npz", b"")
    info.size = size
    return info.tobuf() + bytes(10240)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (claiming(1 << 20), "is cut off|damaged"),
        (claiming(20 << 30), "makes it 21,474,836,480 bytes, more than the 17,179,869,184 that are allowed"),
        (b"<html>Please log in</html>", "no archive"),
        (b"", "no archive"),
        (PUBLISHED[: len(PUBLISHED) // 2], "is cut off|damaged"),
        (PUBLISHED[:700], "is cut off|damaged"),
    ],
    ids=["larger", "bomb", "page", "nothing", "half", "start"],
)
def test_an_archive_that_is_none_is_refused(server: Server, content: bytes, message: str) -> None:
    server.content = content
    with pytest.raises(WeightsError, match=message):
        pull(presets=SMALL)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_compressed_archive_is_refused_unopened(server: Server, mode: str) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode) as opened:  # type: ignore[call-overload]
        opened.addfile(
            *(lambda info, content: (info, io.BytesIO(content)))(*plain("LICENSE", bytes(1 << 22)))
        )
    server.content = written.getvalue()
    with pytest.raises(WeightsError, match="no archive"):
        pull(presets=SMALL)


def test_a_file_with_holes_is_refused(server: Server) -> None:
    info = tarfile.TarInfo("params_model_1.npz")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": "99999999999",
    }
    info.pax_headers |= {"GNU.sparse.name": "params_model_1.npz"}
    info.size = 512
    server.content = tar([(info, b"1\n0\n99999999999\n".ljust(512, b"\0"))])
    with pytest.raises(WeightsError, match=r"holes|damaged|allowed"):
        pull(presets=SMALL)


def test_dots_before_the_names_do_not_matter(server: Server) -> None:
    dotted = [member(".", tarfile.DIRTYPE)]
    for info, content in published():
        info.name = f"./{info.name}"
        dotted.append((info, content))
    server.content = tar(dotted)
    assert is_published(pull(presets=SMALL)[0], "model_1")


def test_the_limits_hold(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_archive, "LARGEST_BYTES", 100_000)
    with pytest.raises(WeightsError, match="more than the 100,000 that are allowed"):
        pull(presets=SMALL)


def test_a_full_disk_is_reported_and_what_is_there_stays(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, *arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("chaperonin.weights.pretrained.write_tensors", full)
    with pytest.raises(WeightsError, match="the disk is full"):
        pull(presets=SMALL)
    assert len(stored()) == 1 and hub.local_folder("alphafold2/model_1") is None
    monkeypatch.undo()


def test_too_little_room_is_noticed_before_the_download(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": len(PUBLISHED) + places._SPARE_BYTES})
    monkeypatch.setattr(places.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match=r"bytes to fetch, .* free on the disk"):
        pull(presets=SMALL)
    assert server.ranges == []


KILLED = """
import os, sys
from pathlib import Path
from huggingface_hub import constants
sys.path.insert(0, sys.argv[2])
constants.HF_HUB_CACHE = sys.argv[1]
from chaperonin.models.alphafold import archive
from chaperonin.models.alphafold.config import AlphaFoldConfig
written = archive.record
def record(folder, *rest):
    if "model_3_ptm" in str(folder):
        os._exit(9)
    written(folder, *rest)
archive.record = record
archive.pull(presets={name: AlphaFoldConfig(**own) for name, own in eval(sys.argv[3]).items()})
"""


def test_a_kill_in_the_middle_goes_on(server: Server, tmp_path: Path) -> None:
    sizes = repr({name: vars(own) for name, own in SMALL.items()})
    words = [
        sys.executable,
        "-c",
        KILLED,
        str(tmp_path / "hub"),
        str(Path(archive.__file__).parents[3]),
        sizes,
    ]
    environment = {**os.environ, "ALPHAFOLD_ENDPOINT": server.url}
    environment.pop("HF_TOKEN")
    assert subprocess.run(words, env=environment, check=False).returncode == 9
    first = hub.local_folder("alphafold2/model_1")
    assert first is not None and hub.local_folder("alphafold2/model_3_ptm") is None
    before = (first / "model.safetensors").stat().st_mtime_ns
    server.requests.clear()
    folders = pull(presets=SMALL)
    assert server.requests == []  # the archive was here
    assert (first / "model.safetensors").stat().st_mtime_ns == before
    assert is_published(folders[1], "model_3_ptm") and stored() == []
    assert not list((tmp_path / "hub").rglob("*.part"))


def test_a_changed_model_is_made_again(server: Server) -> None:
    [folder, _] = pull(presets=SMALL)
    (folder / "model.safetensors").write_bytes(b"short")
    assert is_published(pull(presets=SMALL)[0], "model_1")


def test_without_network_the_error_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("ALPHAFOLD_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="no answer from AlphaFold's server") as caught:
        pull(presets=SMALL)
    assert "HF_" not in caught.value.advice
    with pytest.raises(WeightsError, match="may not be asked"):
        pull(presets=SMALL, offline=True)


@pytest.fixture
def two_models(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command knows the two small models alone."""
    for preset in set(PRESETS) - set(SMALL):
        monkeypatch.delitem(PRESETS, preset)
    for preset, sizes in SMALL.items():
        monkeypatch.setitem(PRESETS, preset, sizes)


def test_the_command_prints_the_folders_and_the_licence(
    two_models: None, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert main(["weights", "pull", "alphafold2"]) == 0
    folders = [hub.repository(f"alphafold2/{preset}") / "snapshots/2022-12-06" for preset in SMALL]
    assert capsys.readouterr().out == "".join(f"{folder}\n" for folder in folders)
    assert "licence CC BY 4.0" in caplog.text
    assert main(["weights", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {words[0]: words[1:] for words in lines}
    assert rows["alphafold2/model_1"][0] == "cache"
    assert rows["alphafold2/model_2"][:4] == ["93.2", "M", "372.9", "MB"]
    for preset in ("model_1", "model_2"):
        assert rows[f"alphafold2/{preset}"][-6:] == ["2022-12-06,", "not", "pinned", "CC", "BY", "4.0"]
    assert sum(words[0].startswith("alphafold2/") for words in lines) == 10


def test_the_command_refuses_what_makes_no_sense(
    two_models: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "pull", "alphafold2/model_6"]) == 1
    assert "there is no alphafold2/model_6" in capsys.readouterr().err
    assert main(["weights", "pull", "alphafold2", "--revision", "main"]) == 1
    assert "has one version" in capsys.readouterr().err
