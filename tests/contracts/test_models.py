"""What every registered model promises; a new one is picked up from the table by itself."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from chaperonin.kernels.segments import Segments
from chaperonin.models import MODELS, layout_of
from chaperonin.models.aido import AIDOConfig
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.models.esm import ESMConfig
from chaperonin.models.protst import ProtSTConfig
from chaperonin.weights.pretrained import Layout, load_folder, save_folder

# model_type: small configurations of it, one per way to build it.
SMALL: dict[str, list[Any]] = {
    "esm": [
        ESMConfig(width=32, depth=2, heads=4, inner_width=64),
        ESMConfig(width=32, depth=2, heads=4, inner_width=48, positions="learned", norm_embedding=True),
    ],
    "alphafold": [
        AlphaFoldConfig(
            aligned_error=True, msa_width=16, extra_msa_width=8, pair_width=12, single_width=10, template_width=8,
            blocks=2, extra_msa_blocks=1, template_blocks=1, outer_product_width=4,
        ),
        AlphaFoldConfig(
            templates=False, msa_width=16, extra_msa_width=8, pair_width=12, single_width=10, blocks=1,
            extra_msa_blocks=1, outer_product_width=4,
        ),
    ],
    "protst": [
        ProtSTConfig(
            ESMConfig(width=32, depth=2, heads=4, inner_width=64),
            dict(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=40,
                max_position_embeddings=64,
            ),
            width=24,
        ),
        ProtSTConfig(
            ESMConfig(width=32, depth=1, heads=4, inner_width=64, positions="learned", norm_embedding=True), None,
            width=16, labels=("M", "S"),
        ),
    ],
    "fm4bio": [
        AIDOConfig(width=32, depth=2, heads=4, inner_width=48, experts=4),
        AIDOConfig(
            width=32, depth=2, heads=4, inner_width=48, experts=0, post_norm_residual=True, transform=True, tied=True,
        ),
    ],
}  # fmt: skip
CASES = [(name, config) for name in MODELS for config in SMALL[name]]
STREAMS = [case for case in CASES if case[0] in ("esm", "fm4bio")]
"""Models that read a stream of tokens."""


@pytest.fixture(params=CASES, ids=lambda case: case[0])
def case(request: pytest.FixtureRequest) -> tuple[Layout, nn.Module]:
    return built(*request.param)


@pytest.fixture(params=STREAMS, ids=lambda case: case[0])
def stream_case(request: pytest.FixtureRequest) -> tuple[Layout, nn.Module]:
    return built(*request.param)


def built(name: str, config: Any) -> tuple[Layout, nn.Module]:
    layout = layout_of(name)
    model = layout.build(config)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2, generator=generator)
    return layout, model.eval()


def tokens(*lengths: int) -> tuple[torch.Tensor, Segments]:
    generator = torch.Generator().manual_seed(sum(lengths))
    parts = [torch.randint(4, 24, (length,), generator=generator) for length in lengths]
    return torch.cat(parts), Segments(lengths)


def test_neighbours_in_the_stream_change_nothing(stream_case: tuple[Layout, nn.Module]) -> None:
    _, model = stream_case
    stream, segments = tokens(7, 30, 12)
    together = model(stream, segments)
    for start, length in zip(segments.starts, segments.lengths, strict=True):
        own = slice(start, start + length)
        alone = model(stream[own], Segments([length]))
        torch.testing.assert_close(together[own], alone, atol=1e-5, rtol=0)


def test_saved_and_loaded_is_the_same_model(case: tuple[Layout, nn.Module], tmp_path: Path) -> None:
    layout, model = case
    save_folder(layout, model, tmp_path)
    again = load_folder(layout, tmp_path)
    assert again.config == model.config and not again.training
    parameters = dict(again.named_parameters())
    assert parameters.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(parameters[name], own) for name, own in model.named_parameters())


def test_a_loaded_model_computes_the_same(stream_case: tuple[Layout, nn.Module], tmp_path: Path) -> None:
    layout, model = stream_case
    save_folder(layout, model, tmp_path)
    stream, segments = tokens(9, 5)
    assert torch.equal(load_folder(layout, tmp_path)(stream, segments), model(stream, segments))


def test_every_table_reads_what_it_writes(case: tuple[Layout, nn.Module]) -> None:
    layout, model = case
    parameters = dict(model.named_parameters())
    for table in layout.tables.values():
        again = table.read(table.write(parameters), parameters, "test")
        assert again.keys() == parameters.keys()
        assert all(torch.equal(again[name], parameter) for name, parameter in parameters.items())


def test_a_model_is_built_without_memory(case: tuple[Layout, nn.Module]) -> None:
    layout, model = case
    with torch.device("meta"):
        empty = layout.build(model.config)
    trained = [parameter for parameter in empty.parameters() if parameter.requires_grad]
    assert trained and all(parameter.is_meta for parameter in trained)


def test_a_model_owns_parameters_only(case: tuple[Layout, nn.Module]) -> None:
    _, model = case
    assert not list(model.named_buffers())
