"""The commands of docs/guides/serve.md, which do not end by themselves, and the requests to the servers they start."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.forked import Python
from tests.inference.tiny_protst import write_protst

from chaperonin.inference.load import BUNDLED
from chaperonin.tasks.folder import trained_folder

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "serve.md"
SERVERS, REQUEST, TEXTS = re.findall(
    r"^```bash\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
)
COMMANDS = [line.partition("#")[0].strip() for line in SERVERS.replace("\\\n", " ").splitlines()]


_MAIN = "import sys; from chaperonin.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """Where the model folders that the page names are: trained ones of the bundled model, and a small ProtST."""
    model = trained_folder(f"{BUNDLED}-membrane")
    assert model is not None
    for name in ("out/membrane/model", "models/membrane"):
        shutil.copytree(model, tmp_path / name)
    write_protst(tmp_path / "protst")
    return tmp_path


@contextmanager
def served(command: str, folder: Path) -> Iterator[str]:
    """The address of the server that the command starts, at a free port instead of its own."""
    words, environment = understood(command, folder)
    log = folder / "server.log"
    if "--port" in words:
        del words[(own := words.index("--port")) : own + 2]
    words += ["--port", "0"]
    environment["XDG_STATE_HOME"] = str(folder / "state")
    process = Python("-c", _MAIN, *words, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{process.printed(log, r'at http://[^:]+:([0-9]+)')}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def understood(command: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """What a shell gives to chaperonin: its words and its environment."""
    (folder / "bin").mkdir(exist_ok=True)
    stand_in = folder / "bin/chaperonin"
    stand_in.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
    )
    stand_in.chmod(0o755)
    paths = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    run = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "PATH": paths}, capture_output=True, text=True, check=True
    )
    words, environment = json.loads(run.stdout)
    return words, environment


@pytest.mark.parametrize("command", COMMANDS)
def test_the_servers_of_the_page_start(command: str, workplace: Path) -> None:
    with served(command, workplace) as address:
        assert httpx.get(f"{address}/ready", timeout=60).status_code == 200
        status = httpx.get(f"{address}/v1/models", timeout=60).status_code
        assert status == (401 if "TOKEN" in command else 200)


def answer(request: str, server: str, folder: Path) -> Any:
    """What the server says to a request for port 8080."""
    assert "http://127.0.0.1:8080" in request
    with served(server, folder) as address:
        asked = request.replace("http://127.0.0.1:8080", address)
        return json.loads(subprocess.run(["bash", "-c", asked], capture_output=True, check=True).stdout)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
def test_the_request_of_the_page_is_answered(workplace: Path) -> None:
    body = answer(REQUEST, COMMANDS[0], workplace)
    (result,) = body["results"]
    assert result["length"] == 21 and len(result["embedding"]) == 192 and not body["failures"]


@needs_curl
def test_the_request_with_texts_is_answered(workplace: Path) -> None:
    server, _, request = TEXTS.partition("\n")
    body = answer(request, server, workplace)
    (result,) = body["results"]
    assert list(result["cosines"]) == ["nucleus", "A protein that is secreted."]
    assert result["label"] in result["cosines"] and not body["failures"] and not body["notes"]
