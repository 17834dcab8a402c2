"""Rules translate names both ways and let nothing pass that they do not know."""

import pytest
import torch

from chaperonin.errors import WeightsError
from chaperonin.weights.rules import Drop, Rename, Shared, Table, Tied

TABLE = Table(
    rules=(
        Rename("net.embed", "embedding"),
        Rename("net.layer.{}.gain", "layers.{}.norm", also=("net.layer.{}.gamma",)),
        Shared("net.layer.{}.angles", "angles"),
        Tied("net.head", "embedding"),
        Rename("net.extra", "extra", is_spare=True),
        Drop("net.counter", why="a step count"),
    ),
    optional=("angles",),
    prefixes=("net.",),
)
OURS = {
    "embedding": torch.arange(4.0),
    "layers.0.norm": torch.ones(2),
    "layers.1.norm": torch.zeros(2),
    "angles": torch.tensor([0.5, 0.25]),
}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_writing_and_reading_are_inverse() -> None:
    theirs = TABLE.write(OURS)
    assert sorted(theirs) == [
        "net.embed", "net.layer.0.angles", "net.layer.0.gain", "net.layer.1.angles", "net.layer.1.gain",
    ]  # fmt: skip
    assert equal(TABLE.read(theirs, OURS, "test"), OURS)


def test_other_spellings_ties_spares_drops_and_lost_prefixes_are_read() -> None:
    theirs = {name.removeprefix("net."): tensor for name, tensor in TABLE.write(OURS).items()}
    theirs["layer.0.gamma"] = theirs.pop("layer.0.gain")
    theirs |= {"head": OURS["embedding"].clone(), "extra": torch.ones(1), "counter": torch.ones(1)}
    assert equal(TABLE.read(theirs, OURS, "test"), OURS)


def test_optional_tensors_may_be_missing() -> None:
    theirs = {name: tensor for name, tensor in TABLE.write(OURS).items() if "angles" not in name}
    assert "angles" not in TABLE.read(theirs, OURS, "test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net.surprise": torch.ones(1)}, "fit nothing in the model: net.surprise"),
        ({"net.layer.5.gain": torch.ones(2)}, "fit nothing in the model: layers.5.norm"),
        ({"net.head": torch.zeros(4)}, "net.head says something else"),
        ({"net.layer.1.angles": torch.zeros(2)}, "net.layer.1.angles says something else"),
        ({"net.layer.0.gamma": torch.ones(2)}, "net.layer.0.gamma says something else"),
        ({"net.embed": None}, "1 tensors are missing: embedding"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, torch.Tensor | None], message: str) -> None:
    changed = {**TABLE.write(OURS), **change}
    theirs = {name: tensor for name, tensor in changed.items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        TABLE.read(theirs, OURS, "test")


def test_a_tensor_that_no_rule_writes_is_an_error() -> None:
    with pytest.raises(WeightsError, match="no rule writes the tensor surprise"):
        TABLE.write({**OURS, "surprise": torch.ones(1)})
