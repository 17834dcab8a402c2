from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chaperonin.data.batching import make_batch, plan_batches
from chaperonin.protein.alphabet import ESM_ALPHABET

lengths_lists = st.lists(st.integers(1, 3000), max_size=200)
budgets = st.integers(1, 5000)


@given(lengths_lists, budgets)
def test_every_index_is_in_one_batch(lengths, budget):
    batches = plan_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)


@given(lengths_lists, budgets)
def test_no_batch_of_several_items_exceeds_the_budget(lengths, budget):
    for batch in plan_batches(lengths, budget):
        assert len(batch) == 1 or sum(lengths[index] for index in batch) <= budget


@given(lengths_lists, budgets)
def test_equal_lengths_meet(lengths, budget):
    order = [lengths[index] for batch in plan_batches(lengths, budget) for index in batch]
    assert order == sorted(lengths, reverse=True)


@given(lengths_lists, budgets)
def test_no_two_neighbouring_batches_would_fit_in_one(lengths, budget):
    totals = [sum(lengths[index] for index in batch) for batch in plan_batches(lengths, budget)]
    assert all(first + second > budget for first, second in pairwise(totals))


def test_the_order_of_equal_lengths_is_that_of_the_input():
    assert plan_batches([5, 7, 5, 7, 5], 12) == [[1], [3, 0], [2, 4]]
    assert plan_batches([], 10) == []


def test_a_batch_is_its_sequences_one_after_the_other():
    arrays = [ESM_ALPHABET.encode(sequence) for sequence in ("MKT", "GG")]
    batch = make_batch(arrays)
    assert batch.tokens.dtype == torch.int64
    assert batch.segments.lengths == (5, 4)
    assert torch.equal(batch.tokens, torch.from_numpy(np.concatenate(arrays)))
    moved = batch.to(torch.device("cpu"))
    assert moved.segments is batch.segments


def test_a_batch_needs_a_sequence():
    with pytest.raises(ValueError):
        make_batch([])
