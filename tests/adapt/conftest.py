"""Random models and adapters: nowhere zero, so that nothing hides behind a fresh initialisation."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from chaperonin.adapt.lora import Adapter
from chaperonin.adapt.lora_names import roles_of
from chaperonin.kernels.segments import Segments
from chaperonin.layers.linear import Linear
from chaperonin.models.esm import ESM, ESMConfig

CONFIG = ESMConfig(width=32, depth=3, heads=4, inner_width=96)


@pytest.fixture(scope="session")
def random_model() -> Callable[..., ESM]:
    """Make a model with every tensor random."""

    def make(config: ESMConfig = CONFIG, seed: int = 0) -> ESM:
        generator = torch.Generator().manual_seed(seed)
        model = ESM(config).eval()
        for name, parameter in model.named_parameters():
            if name != "rotary_frequencies":
                scale = 0.5 if parameter.ndim == 1 else 1.5 * parameter.shape[-1] ** -0.5
                parameter.data.normal_(std=scale, generator=generator)
        return model

    return make


@pytest.fixture(scope="session")
def random_adapter() -> Callable[..., Adapter]:
    """Make an adapter of the linear layers whose name holds one of the parts."""

    def make(
        model: ESM, seed: int, parts: tuple[str, ...] = ("",), rank: int = 4, **settings: float
    ) -> Adapter:
        generator = torch.Generator().manual_seed(seed)
        tensors = {
            name: (
                torch.randn(rank, layer.in_features, generator=generator) * layer.in_features**-0.5,
                torch.randn(layer.out_features, rank, generator=generator) * 0.3,
            )
            for name, layer in model.named_modules()
            if isinstance(layer, Linear) and any(part in name for part in parts)
        }
        return Adapter(rank, 6.0, roles_of(tensors), tensors, **settings)

    return make


@pytest.fixture(scope="session")
def stream() -> Callable[[list[int]], tuple[Tensor, Segments]]:
    """Make a packed stream of random residues between `<cls>` and `<eos>`."""

    def make(lengths: list[int]) -> tuple[Tensor, Segments]:
        segments = Segments(lengths)
        generator = torch.Generator().manual_seed(segments.total)
        tokens = torch.randint(4, 24, (segments.total,), generator=generator)
        for start, length in zip(segments.starts, lengths, strict=True):
            tokens[start], tokens[start + length - 1] = 0, 2
        return tokens, segments

    return make
