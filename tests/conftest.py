"""What every test may use."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure, and continuous integration tries the same examples each time.
settings.register_profile("usual", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "usual")

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """What was imported stays: nobody has to look through it again for what can go."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def threads_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a verb says of OpenMP's threads is gone with the test that called it."""
    before = os.environ.get("OMP_WAIT_POLICY")
    monkeypatch.setenv("OMP_WAIT_POLICY", before or "")  # remembers that there was none
    if before is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")


@pytest.fixture
def no_byte_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of bytes are scaled back for each product, and rows are not rounded: no body multiplies integers."""
    from chaperonin.kernels.linear import int8_frozen, int8_native

    monkeypatch.setattr(int8_frozen, "lacks_byte_products", lambda: "an old processor")
    monkeypatch.setattr(int8_native, "multiplies", lambda *weight: False)
    monkeypatch.setattr(int8_native, "lacks", lambda: "an old processor")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the project, or a skip that says it is absent."""
    folder = Path(os.environ.get("CHAPERONIN_DATA", REPOSITORY / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set CHAPERONIN_DATA to the folder that holds it")
    return folder
