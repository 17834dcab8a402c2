"""Loading by name or folder, in a precision, on a device."""

from pathlib import Path

import pytest
import torch

from chaperonin.errors import UsageError, WeightsError
from chaperonin.inference.load import load, origin_of
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM


def hidden(model: ESM) -> torch.Tensor:
    tokens = torch.from_numpy(model.alphabet.encode("MKTAYIAKQRQISFVKSHFSRQ"))
    with torch.inference_mode():
        return model(tokens, Segments([len(tokens)]))


def test_a_loaded_model_says_where_it_came_from(model_folder: Path) -> None:
    model = load(str(model_folder), precision="fp32", device="cpu")
    origin = origin_of(model)
    assert (origin.folder, origin.precision, origin.device) == (model_folder, "fp32", "cpu")
    assert len(origin.sha256) == 64 and origin.parameters > 1000
    with pytest.raises(UsageError, match="where it came from"):
        origin_of(torch.nn.Linear(1, 1))


def test_equal_hashes_mean_equal_files(model_folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((model_folder / name).read_bytes())
    assert origin_of(load(str(tmp_path))).sha256 == origin_of(load(str(model_folder))).sha256


def test_the_bundled_model_is_the_default_and_loads_without_network() -> None:
    model = load(device="cpu")
    assert origin_of(model).name == "chaperonin/esm2-tiny"
    assert torch.isfinite(hidden(model)).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"name": "facebook/esm2_t48_15B_UR50D"},
            WeightsError,
            "chaperonin weights pull facebook/esm2_t48_15B",
        ),
        ({"name": "no-such-folder"}, WeightsError, "neither a folder nor the name"),
        ({"device": "abacus"}, UsageError, "'abacus' is unknown"),
    ],
)
def test_what_cannot_be_loaded_is_said(
    arguments: dict[str, str],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(error, match=message):
        load(**arguments)  # type: ignore[arg-type]


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(WeightsError, match="model_type 'llama' is not known"):
        load(str(tmp_path))
