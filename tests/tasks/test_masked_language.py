import numpy as np
import pytest
import torch

from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES
from chaperonin.tasks.masked_language import CHOSEN, MaskedBatch, MaskedLanguage

STANDARD = set(ESM_ALPHABET.indices(STANDARD_RESIDUES).tolist())


def encode(text: str) -> np.ndarray:
    return ESM_ALPHABET.indices(text).astype(np.uint8)


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, MaskedBatch]:
    """A hundred thousand random residues, and the batch made of them."""
    generator = np.random.default_rng(0)
    residues = generator.choice(ESM_ALPHABET.indices(STANDARD_RESIDUES), 100_000).astype(np.uint8)
    return residues, MaskedLanguage().collate([residues], np.random.default_rng(1))


def test_fifteen_percent_are_chosen(large):
    # Four standard deviations of 100,000 draws.
    assert large[1].targets / 100_000 == pytest.approx(CHOSEN, abs=0.0046)


def test_chosen_residues_are_masked_replaced_or_kept(large):
    _, batch = large
    shown = batch.tokens[batch.positions]
    masked = (shown == ESM_ALPHABET.mask).float().mean().item()
    kept = (shown == batch.residues).float().mean().item()
    # A random residue is the right one in one of twenty cases.
    assert masked == pytest.approx(0.8, abs=0.014)
    assert kept == pytest.approx(0.1 + 0.1 / 20, abs=0.011)
    replaced = shown[(shown != ESM_ALPHABET.mask) & (shown != batch.residues)]
    assert set(replaced.tolist()) == STANDARD


def test_targets_are_the_truth_and_the_rest_is_shown(large):
    residues, batch = large
    truth = torch.from_numpy(np.concatenate(([ESM_ALPHABET.cls], residues, [ESM_ALPHABET.eos])))
    assert torch.equal(batch.residues, truth[batch.positions])
    is_shown = torch.ones(len(truth), dtype=torch.bool)
    is_shown[batch.positions] = False
    assert torch.equal(batch.tokens[is_shown], truth[is_shown])


def test_ends_and_unusual_residues_are_never_chosen():
    records = [encode("AXUBZOX") for _ in range(3000)]
    batch = MaskedLanguage().collate(records, np.random.default_rng(0))
    assert batch.size == 9 * 3000
    assert set(batch.residues.tolist()) == {ESM_ALPHABET.index("A")}
    assert set((batch.positions % 9).tolist()) == {1}


def test_same_generator_gives_the_same_batch():
    records = [encode("MKTAYIAKQRQISFVKSHFSRQ" * 10)]
    first, again, other = (
        MaskedLanguage().collate(records, np.random.default_rng([0, n])) for n in (5, 5, 6)
    )
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.positions, again.positions)
    assert not torch.equal(first.positions, other.positions)


def test_loss_is_the_sum_over_chosen_positions_of_the_whole_logits():
    torch.manual_seed(0)
    model = ESM(ESMConfig(width=32, depth=2, heads=2, inner_width=64))
    model.initialise(torch.Generator().manual_seed(0))
    task = MaskedLanguage()
    batch = task.collate([encode("MKTAYIAKQRQISF" * 5), encode("GAVLKW" * 4)], np.random.default_rng(0))
    loss, metrics = task.loss(model, batch)
    logits = model.lm_head(model(batch.tokens, batch.segments))
    log_probabilities = logits.log_softmax(dim=-1)[batch.positions]
    expected = -log_probabilities.gather(1, batch.residues[:, None]).sum()
    assert torch.allclose(loss, expected, rtol=1e-5)
    assert metrics["accuracy"] == (logits[batch.positions].argmax(-1) == batch.residues).sum()


def test_batch_without_targets_has_loss_zero():
    model = ESM(ESMConfig(width=32, depth=1, heads=2, inner_width=64))
    task = MaskedLanguage()
    batch = task.collate([encode("XX")], np.random.default_rng(0))
    loss, _ = task.loss(model, batch)
    assert batch.targets == 0
    assert loss.item() == 0.0
