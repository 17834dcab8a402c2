"""`chaperonin weights`: what is printed, where, and the exit code."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from chaperonin.cli.main import main
from chaperonin.models import layout_of
from chaperonin.models.esm.model import ESM, ESMConfig
from chaperonin.models.esm.weights import FAIR_ESM
from chaperonin.weights import hub
from chaperonin.weights.pretrained import save_folder

NAME = "someone/small-esm"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ESM:
    """A small model; the cache is empty and the hub out of reach."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    model = ESM(ESMConfig(width=16, depth=2, heads=4, inner_width=32))
    model.initialise()
    return model


@pytest.fixture
def snapshot(model: ESM) -> Path:
    """The model in the cache, as another program would have put it there."""
    folder = hub.repository(NAME) / "snapshots" / COMMIT
    save_folder(layout_of("esm"), model, folder)
    return folder


def test_list_shows_what_is_bundled_cached_and_to_be_had(
    snapshot: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "bundled").mkdir()
    (snapshot.parent / "bert").mkdir()
    (snapshot.parent / "bert" / "config.json").write_text('{"model_type": "bert"}')
    save_file({"a": torch.zeros(1)}, snapshot.parent / "bert" / "model.safetensors")
    save_folder(layout_of("esm"), ESM(ESMConfig(16, 1, 4, 32)), tmp_path / "bundled" / "esm2-mini")
    monkeypatch.setattr(hub, "BUNDLED", tmp_path / "bundled")
    assert main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = {line.split()[0]: line.split() for line in lines}
    assert lines[0].split() == ["NAME", "WHERE", "PARAMETERS", "SIZE", "COMMIT", "LICENCE"]
    assert words["chaperonin/esm2-mini"][1] == "bundled"
    assert words[NAME][1] == "cache" and words[NAME][-1] == COMMIT[:12]
    assert words["facebook/esm2_t33_650M_UR50D"][1:] == ["651.0", "M", "2.6", "GB", "08e4846e5371", "MIT"]
    assert len([line for line in lines if line.startswith(NAME)]) == 1
    (hint,) = [message for message in caplog.messages if "pickles" in message]
    assert "esm2_t36_3B" in hint and "esm1b_t33" in hint and "esm2_t33_650M" not in hint


def test_verify_is_silent_on_stdout_when_all_is_well(
    snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "verify", NAME]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "all well, no hashes on record" in captured.err


def test_verify_prints_every_problem_and_fails(snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = load_file(snapshot / "model.safetensors")
    stored["esm.encoder.layer.0.LayerNorm.bias"][3] = float("nan")
    save_file(stored, snapshot / "model.safetensors")
    assert main(["weights", "verify", str(snapshot)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "esm.encoder.layer.0.LayerNorm.bias: 1 of 16 numbers are NaN or infinite\n"
    assert "1 problem" in captured.err


def test_pull_offline_prints_the_folder_that_is_here(
    snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "pull", NAME, "--offline"]) == 0
    assert capsys.readouterr().out == f"{snapshot}\n"


def test_pull_without_network_fails_with_the_way_out(model: ESM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "pull", "facebook/esm2_t6_8M_UR50D"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the hub may not be asked (offline)" in captured.err and "give its path" in captured.err


def test_convert_prints_the_folder_that_verify_then_accepts(
    model: ESM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {
        f"encoder.{name}": tensor for name, tensor in FAIR_ESM.write(dict(model.named_parameters())).items()
    }
    torch.save({"model": {name: tensor.detach() for name, tensor in named.items()}}, tmp_path / "esm2.pt")
    assert main(["weights", "convert", "esm2.pt", "out"]) == 0
    assert capsys.readouterr().out == "out\n"
    assert main(["weights", "verify", "out"]) == 0
    assert "all well, hashes as recorded" in capsys.readouterr().err
    assert json.loads(Path("out/config.json").read_text())["num_attention_heads"] == 4


def test_convert_refuses_with_exit_code_1_and_writes_nothing(
    model: ESM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "esm2.pt").write_bytes(pickle.dumps(print))
    assert main(["weights", "convert", "esm2.pt", "out"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "esm2.pt" in captured.err
    assert not Path("out").exists()


@pytest.mark.parametrize("words", [[], ["pull"], ["convert", "one"], ["forget", "it"]])
def test_a_wrong_command_line_does_nothing(model: ESM, words: list[str]) -> None:
    assert main(["weights", *words]) == (0 if not words else 1)
