"""A small random model on disk, for verbs that need one."""

from pathlib import Path

import pytest
import torch

from chaperonin.inference.load import load
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.weights.pretrained import save_folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with every tensor random."""
    folder = tmp_path_factory.mktemp("model")
    generator = torch.Generator().manual_seed(1)
    model = ESM(ESMConfig(width=32, depth=2, heads=4, inner_width=64))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2, generator=generator)
    save_folder(LAYOUT, model, folder)
    return folder


@pytest.fixture(scope="session")
def model(model_folder: Path) -> ESM:
    """The same model, loaded."""
    return load(str(model_folder), precision="fp32", device="cpu")
