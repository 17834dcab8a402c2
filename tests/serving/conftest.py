"""An endpoint in this process, over the bundled model, and a browser on the page of one in a process of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, sync_playwright
from tests.chromium import QUIET, chromium
from tests.serving.page_server import Endpoint
from tests.serving.visitor import Visitor

from chaperonin.adapt.lora import LoraSettings, add_lora
from chaperonin.inference.load import BUNDLED, load
from chaperonin.models import layout_of
from chaperonin.models.esm import ESM
from chaperonin.serving.app import build_app, build_parts
from chaperonin.serving.auth import Guard, digest_of
from chaperonin.serving.models import Models, Served, load_models
from chaperonin.serving.settings import Limits, ServeSettings
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.folder import Base, save_trained
from chaperonin.tasks.heads import build_head
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.target import Target
from chaperonin.weights.hub import resolve
from chaperonin.weights.pretrained import load_folder

TOKEN = "a-token-of-many-letters"

Make = Callable[..., TestClient]


@pytest.fixture(scope="session")
def bundled() -> ESM:
    """The bundled model."""
    return load(BUNDLED, precision="fp32", device="cpu")


@pytest.fixture
def make(bundled: ESM, tmp_path: Path) -> Iterator[Make]:
    """Makes clients of endpoints; each is closed after the test."""
    opened: list[TestClient] = []

    def client(
        secrets: tuple[str, ...] = (),
        platform: bool = False,
        models: Models | None = None,
        address: str = "testclient",
        **limits: Any,
    ) -> TestClient:
        settings = ServeSettings(jobs_dir=str(tmp_path / "jobs"), platform=platform, limits=Limits(**limits))
        models = models or Models(bundled, Served(BUNDLED))
        guard = Guard([digest_of(token, "test") for token in secrets], platform)
        app = build_app(build_parts(settings, models, guard))
        made = TestClient(app, raise_server_exceptions=False, client=(address, 1))
        made.__enter__()
        opened.append(made)
        return made

    yield client
    for one in opened:
        one.__exit__(None, None, None)


@pytest.fixture
def client(make: Make) -> TestClient:
    """An endpoint that is open, as on a laptop."""
    return make()


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder over the bundled base with a random head, classes M and S."""
    folder = tmp_path_factory.mktemp("trained") / "membrane"
    target = Target("sequence", "binary", ("M", "S"))
    torch.manual_seed(3)
    plain = load(BUNDLED, precision="fp32", device="cpu")
    head = build_head(target, plain.config.width, "mean", "none")
    for parameter in head.parameters():
        parameter.data.normal_(std=0.5)
    predictor = Predictor(plain, head, target)
    save_trained(folder, predictor, Base.of(BUNDLED), Calibration(), None, method="frozen")
    return folder


@pytest.fixture
def trained_client(make: Make, trained_folder: Path) -> TestClient:
    """An endpoint over a trained model."""
    return make(models=load_models(str(trained_folder), ServeSettings(device="cpu")))


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two LoRA models over the bundled base, and of one that is none."""
    folder = tmp_path_factory.mktemp("adapters")
    _write_lora(folder / "membrane", 1, ("M", "S"))
    _write_lora(folder / "place", 2, ("Nucleus", "Cytoplasm", "Membrane"))
    (folder / "notes").mkdir()
    return folder


def _write_lora(folder: Path, seed: int, classes: tuple[str, ...]) -> None:
    """A LoRA model folder with random adapter and head."""
    torch.manual_seed(seed)
    plain = load_folder(layout_of("esm"), resolve(BUNDLED))
    add_lora(plain, LoraSettings(rank=4))
    target = Target("sequence", "binary" if len(classes) == 2 else "multiclass", classes)
    head = build_head(target, plain.config.width, "mean", "none")
    for name, parameter in [*plain.named_parameters(), *head.named_parameters()]:
        if "lora" in name or name.startswith("out"):
            parameter.data.normal_(std=0.08)
    save_trained(folder, Predictor(plain, head, target), Base.of(BUNDLED), Calibration(), None, method="lora")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=[*QUIET, "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def visitor(browser: Browser, endpoint: Endpoint, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Options of the window come as the fixture's parameter. Afterwards: no error in the console, no other host."""
    context = browser.new_context(
        **{"viewport": {"width": 1280, "height": 860}, **getattr(request, "param", {})}
    )
    visitor = Visitor(context, endpoint)
    yield visitor
    context.close()
    unexpected = [said for said in visitor.wrong if not any(part in said for part in visitor.expected)]
    assert not unexpected
