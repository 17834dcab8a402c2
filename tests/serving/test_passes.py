"""One pass over the items of many requests."""

import numpy as np
import pytest
import torch

from chaperonin.data.batching import make_batch
from chaperonin.models.esm import ESM
from chaperonin.serving.batcher import Item
from chaperonin.serving.models import Models, Served
from chaperonin.serving.passes import _STEP, _step, compute


@pytest.mark.parametrize("lengths", [(3,), (15, 40, 2), (64,), (511, 90, 17)])
def test_a_batch_gives_what_each_sequence_gives_alone(bundled: ESM, lengths: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    arrays = [draw.integers(4, 24, length + 2) for length in lengths]
    items = [Item(array, "vectors") for array in arrays]
    for array, result in zip(arrays, compute(Models(bundled, Served("x")), items), strict=True):
        alone = make_batch([array])
        with torch.inference_mode():
            expected = bundled(alone.tokens, alone.segments)[:-1].numpy()
        np.testing.assert_allclose(result, expected, atol=1e-5)  # sums in another order


def test_batches_come_in_few_sizes() -> None:
    sizes = {tokens + -tokens % _step(tokens) for tokens in range(1, 4097)}
    assert len(sizes) <= 32 * 4  # 32 sizes in each doubling from 512, and 32 below it
    assert all(-tokens % _step(tokens) <= max(_STEP - 1, tokens / 32) for tokens in range(1, 4097))
