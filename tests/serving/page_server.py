"""A server process with a model of three classes over the bundled one, and the bundled adapters: a true endpoint."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tests.forked import Python

from chaperonin.inference.embed import embed
from chaperonin.inference.load import load
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.domain import Domain
from chaperonin.tasks.folder import Base, save_trained, trained_folder
from chaperonin.tasks.heads import build_head
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.target import Target

BASE = "chaperonin/esm2-tiny"
MODEL = "three-classes"
ADAPTERS = ("membrane", "localization")
"""The bundled ones, which are served beside it."""
CLASSES = ("in", "out", "between")
TOKEN = "token-of-the-page-test"
PROTEINS = Path(__file__).resolve().parents[2] / "examples" / "proteins.fasta"

_SERVE = """
import json, os, sys
from tests.forked import Python
from chaperonin.serving.server import serve
from chaperonin.serving.settings import ServeSettings
serve(sys.argv[1], ServeSettings(**json.loads(sys.argv[2])), os.environ)
"""


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens, and what opens it."""

    url: str
    token: str


def save_model(folder: Path) -> None:
    """A frozen backbone and a head of random weights; its domain are the short proteins of the examples."""
    torch.manual_seed(7)
    model = load(BASE)
    head = build_head(target := Target("sequence", "multiclass", CLASSES), model.config.width)
    with torch.no_grad():
        for weights in head.parameters():
            weights.normal_(std=0.2)
    examples = embed(model, PROTEINS)
    vectors = examples.proteins[[len(rows) < 200 for rows in examples.residues]]
    save_trained(
        folder,
        Predictor(model, head, target),
        Base.of(BASE),
        Calibration(),
        Domain.fit(vectors, vectors[:0]),
        method="frozen",
    )


@contextmanager
def running_server(folder: Path) -> Iterator[Endpoint]:
    """The endpoint over the bundled model, with trained ones beside it."""
    adapters = folder / "adapters"
    adapters.mkdir()
    save_model(adapters / MODEL)
    for name in ADAPTERS:
        folder_of_one = trained_folder(f"{BASE}-{name}")
        assert folder_of_one is not None
        (adapters / name).symlink_to(folder_of_one)
    with serving(BASE, folder, adapters=str(adapters)) as running:
        yield running


@contextmanager
def serving(model: str, folder: Path, **settings: str) -> Iterator[Endpoint]:
    """The endpoint on a free port, with one token and all its files in the folder; ended afterwards."""
    options = {"port": 0, "token_env": "PAGE_TOKEN", "jobs_dir": str(folder / "jobs"), **settings}
    log = folder / "server.log"
    environment = {"PAGE_TOKEN": TOKEN}
    process = Python("-c", _SERVE, model, json.dumps(options), stdout=log, stderr=log, env=environment)
    try:
        yield Endpoint(process.printed(log, r"http://\S+"), TOKEN)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)
