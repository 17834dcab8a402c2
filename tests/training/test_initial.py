import pytest
import torch

from chaperonin.errors import UsageError
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.training.initial import look_at_neighbours


def maps(model: ESM, layer: int, length: int) -> torch.Tensor:
    """Attention of every head of a layer in a random protein."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, 24, (length,), generator=generator)
    segments = Segments([length])
    with torch.no_grad():
        x = model.embedding(tokens, segments)
        own = model.layers[layer]
        query, key, _ = own.attention.heads(own.attention_norm(x), model.rotation(segments, x))
        return torch.einsum("qhd,khd->hqk", query, key).softmax(dim=-1)


def fresh(**changes: object) -> ESM:
    model = ESM(ESMConfig(**{"width": 192, "depth": 2, "heads": 6, "inner_width": 64, **changes}))
    model.initialise(torch.Generator().manual_seed(0))
    return model


def test_each_head_begins_by_looking_at_its_own_neighbour():
    model = fresh()
    look_at_neighbours(model, 1)
    attention = maps(model, 0, 250)
    for head, offset in enumerate((1, -1, 2, -2, 3, -3)):
        looked_at = attention[head].diagonal(offset)
        assert looked_at.median() > 0.7
        assert looked_at.quantile(0.05) > 0.5


def test_other_layers_begin_even():
    model = fresh()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    look_at_neighbours(model, 1)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"layers.0.attention.project.{name}.bias" for name in ("query", "key")}
    look_at_neighbours(fresh(), 0)
    assert maps(model, 1, 100).max() < 0.05


def test_learned_positions_are_refused():
    with pytest.raises(UsageError, match="rotary"):
        look_at_neighbours(fresh(positions="learned"), 1)
