"""What every task with labels promises; a new one is picked up from the table by itself."""

from typing import Any

import numpy as np
import pytest
import torch

from chaperonin.errors import UsageError
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.tasks import (
    TASKS,
    FeatureItem,
    Item,
    Predictor,
    Supervised,
    Target,
    build_head,
)
from chaperonin.tasks.target import PAIR_CLASSES, kinds_of

TEXTS = ["MKTAYIAKQR", "GAVL", "WYHHDERKKSTNQCG", "GG", "MKKLLPTAAAGLLLLAAQPAMA", "W"]
CLASSES = {
    "binary": ("a", "b"),
    "multiclass": ("a", "b", "c"),
    "multilabel": ("a", "b", "c"),
    "regression": (),
}
CASES = [
    pytest.param((level, kind, weighted), id=f"{level}-{kind}{'-weighted' * weighted}")
    for level in TASKS
    for kind in kinds_of(level)
    for weighted in (False, True)
    if not (weighted and kind == "regression")
]
WIDTH = 32


def label(level: str, kind: str, length: int, draw: np.random.Generator) -> np.ndarray:
    """A random label, some of it unknown."""
    if level == "pairs":
        first, second = np.triu_indices(length, 1)
        is_chosen = draw.random(len(first)) < 0.3
        return np.stack([first, second], axis=1)[is_chosen]
    shape: tuple[int, ...] = (length,) if level == "residue" else ()
    if kind == "regression":
        values = draw.normal(5, 3, shape)
        return np.where(draw.random(shape) < 0.2, np.nan, values).astype(np.float32)
    if kind == "multilabel":
        return draw.integers(-1, 2, (*shape, 3))
    return np.asarray(draw.integers(-1, len(CLASSES[kind]), shape))


Case = tuple[Supervised, Predictor, list[Item]]


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    level, kind, weighted = request.param
    draw = np.random.default_rng(3)
    scale = {"mean": 5.0, "deviation": 3.0} if kind == "regression" else {}
    target = Target(level, kind, PAIR_CLASSES if level == "pairs" else CLASSES[kind], **scale)
    items = [Item(ESM_ALPHABET.indices(text), label(level, kind, len(text), draw)) for text in TEXTS]
    backbone = ESM(ESMConfig(width=WIDTH, depth=2, heads=4, inner_width=64))
    predictor = Predictor(backbone, build_head(target, WIDTH), target)
    generator = torch.Generator().manual_seed(0)
    for parameter in predictor.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2, generator=generator)
    task = TASKS[level].weighted(target, items, "balanced" if weighted else "none")
    assert (task.class_weights is not None) == weighted
    return task, predictor, items


for_every_task = pytest.mark.parametrize("case", CASES, indirect=True)


@for_every_task
def test_outputs_have_the_shape_of_the_level(case: Case) -> None:
    task, predictor, items = case
    outputs = task.outputs(predictor, task.collate(items))
    shapes: dict[str, Any] = {
        "sequence": lambda length: (task.target.outputs,),
        "residue": lambda length: (length, task.target.outputs),
        "pairs": lambda length: (length, length),
    }
    assert [own.shape for own in outputs] == [shapes[task.level](len(text)) for text in TEXTS]
    assert all(own.dtype == np.float32 and np.isfinite(own).all() for own in outputs)


@for_every_task
def test_packed_is_single(case: Case) -> None:
    task, predictor, items = case
    together = task.outputs(predictor, task.collate(items))
    for item, own in zip(items, together, strict=True):
        alone = task.outputs(predictor, task.collate([item]))[0]
        np.testing.assert_allclose(own, alone, atol=1e-5, rtol=1e-5)


@for_every_task
def test_a_batch_cut_in_two_adds_up(case: Case) -> None:
    task, predictor, items = case
    losses, targets, metrics = [], [], []
    for chosen in (items, items[:2], items[2:]):
        batch = task.collate(chosen)
        loss, sums = task.loss(predictor, batch)
        losses.append(loss)
        targets.append(batch.targets)
        metrics.append(sums)
    assert losses[0].item() > 0 and targets[0] > 0
    torch.testing.assert_close(losses[1] + losses[2], losses[0], rtol=1e-5, atol=1e-5)
    assert targets[1] + targets[2] == pytest.approx(targets[0], rel=1e-6)
    for name, value in metrics[0].items():
        torch.testing.assert_close(metrics[1][name] + metrics[2][name], value, rtol=1e-5, atol=1e-5)


@for_every_task
def test_gradient_reaches_head_and_backbone(case: Case) -> None:
    task, predictor, items = case
    loss, _ = task.loss(predictor, task.collate(items))
    loss.backward()
    for name, parameter in predictor.named_parameters():
        # The heads of pre-training have no part in this loss, and the rotary frequencies are never trained.
        is_idle = any(part in name for part in ("masked_language", "contact.", "rotary_frequencies"))
        assert (parameter.grad is None) == is_idle, name
        # A key's bias shifts all scores of a query alike, which softmax does not see.
        if not is_idle and "key.bias" not in name:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


# Every pair is known: those that touch are listed.
@pytest.mark.parametrize("case", [own for own in CASES if "pairs" not in own.values[0]], indirect=True)
def test_what_is_not_known_changes_nothing(case: Case) -> None:
    task, predictor, items = case
    unknown = np.nan if task.target.kind == "regression" else -1
    blank = Item(items[0].tokens, np.full_like(items[0].target, unknown))
    loss, sums = task.loss(predictor, task.collate(items[1:]))
    again, same = task.loss(predictor, task.collate([blank, *items[1:]]))
    torch.testing.assert_close(again, loss, rtol=1e-5, atol=1e-5)
    assert all(torch.isclose(same[name], sums[name], rtol=1e-5) for name in sums)
    empty = task.collate([blank])
    assert empty.targets == 0 and task.loss(predictor, empty)[0].item() == 0


@for_every_task
def test_features_of_a_frozen_backbone_give_the_same_loss_and_gradients(case: Case) -> None:
    task, predictor, items = case
    batch = task.collate(items)
    loss, sums = task.loss(predictor, batch)
    wanted = torch.autograd.grad(loss, list(predictor.head.parameters()))
    with torch.no_grad():
        hidden = predictor.backbone(batch.tokens, batch.segments)
        features = predictor.features(hidden, batch.segments)
    rows = features.unbind() if task.level == "sequence" else features.split(batch.lengths)
    cached = task.collate(
        [FeatureItem(own.numpy(), item.target) for own, item in zip(rows, items, strict=True)]
    )
    assert cached.targets == batch.targets
    for model in (predictor.head, predictor):
        again, same = task.loss(model, cached)
        torch.testing.assert_close(again, loss)
        assert all(torch.isclose(same[name], sums[name]) for name in sums)
    own = torch.autograd.grad(task.loss(predictor.head, cached)[0], list(predictor.head.parameters()))
    for gradient, right in zip(own, wanted, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-4)
    for one, other in zip(task.outputs(predictor.head, cached), task.outputs(predictor, batch), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@for_every_task
def test_a_batch_goes_to_a_device_as_a_whole(case: Case) -> None:
    task, _, items = case
    moved = task.collate(items).to(torch.device("meta"))
    assert moved.tokens.is_meta and moved.truth.values.is_meta and moved.truth.weights.is_meta
    assert moved.size == sum(map(len, TEXTS)) + 2 * len(TEXTS)


@pytest.mark.parametrize("level", TASKS)
def test_a_task_refuses_the_target_of_another_level(level: str) -> None:
    other = "residue" if level == "sequence" else "sequence"
    with pytest.raises(UsageError, match=f"predicts for {level}, the target is for {other}"):
        TASKS[level](Target(other, "regression"))
