"""Names and paths to model folders, without network."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from chaperonin.errors import WeightsError
from chaperonin.weights import hub

NAME = "someone/some-model"


def test_a_path_is_its_own_answer(tmp_path: Path) -> None:
    assert hub.resolve(tmp_path) == tmp_path
    assert hub.resolve(str(tmp_path)) == tmp_path


def test_a_bundled_name_is_a_folder_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "esm2-small").mkdir()
    (tmp_path / "esm2-small" / "config.json").write_text("{}")
    monkeypatch.setattr(hub, "BUNDLED", tmp_path)
    assert hub.resolve("chaperonin/esm2-small") == tmp_path / "esm2-small"
    assert hub.pull("chaperonin/esm2-small") == tmp_path / "esm2-small"
    with pytest.raises(WeightsError, match="Try chaperonin/esm2-small"):
        hub.resolve("chaperonin/esm2-smal")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (NAME, "Run `chaperonin weights pull someone/some-model` once"),
        ("esm2_t33_650M_UR50D", "Try facebook/esm2_t33_650M_UR50D"),
        ("esm2_t33_650M", "facebook/esm2_t33_650M_UR50D"),
        ("no such folder", "Try "),
        ("", "Try "),
        ("../../etc/passwd", "Try "),
        ("someone/../else", "Try "),
    ],
)
def test_a_model_that_is_not_here_is_an_error_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, advice: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError) as caught:
        hub.resolve(name)
    assert advice in caught.value.advice
