"""ProtST's pre-training task: its formulas, what it hides, and the contrast over several processes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.forked import run_together
from tests.inference.tiny_protst import vocabulary
from tests.models.published_protst import published
from tests.models.test_protst import torchdrug
from tests.tasks import gathered_contrast
from torch.nn import functional as F

from chaperonin.data.pairs import Pair
from chaperonin.data.words import WordPieces
from chaperonin.models.protst import ProtST
from chaperonin.models.protst.model import RESIDUES
from chaperonin.models.protst.weights import LAYOUT
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.tasks.protein_text import ProteinText, contrast
from chaperonin.weights.pretrained import assemble

TEXTS = ["a protein located in the nucleus", "membrane", "enzyme of the golgi apparatus", "function : cell"]
SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ" * 2, "GATTACAXB", "ACDEFGHIKLMNPQRSTVWY", "MMK"]


@pytest.fixture
def words(tmp_path: Path) -> WordPieces:
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    return WordPieces(tmp_path / "vocab.txt")


@pytest.fixture
def pairs(words: WordPieces) -> list[Pair]:
    return [
        Pair(ESM_ALPHABET.indices(sequence).astype(np.uint8), np.array(words.pieces(text)))
        for sequence, text in zip(SEQUENCES, TEXTS, strict=True)
    ]


@pytest.fixture
def model() -> ProtST:
    reference = published()
    config = LAYOUT.read_config(reference.config() | {"projection_dim": 32}, "test")
    built = assemble(LAYOUT, config, torchdrug(reference), "torchdrug", "test").eval()
    assert isinstance(built, ProtST)
    return built


def test_the_loss_is_that_of_the_paper(words: WordPieces, pairs: list[Pair], model: ProtST) -> None:
    reference = published()
    task = ProteinText(words)
    batch = task.collate(pairs, np.random.default_rng(1))
    assert len(batch.residues) > 3 and len(batch.words) > 1
    with torch.no_grad():
        loss, metrics = task.loss(model, batch)
        proteins = [reference.protein(tokens) for tokens in batch.tokens.split(batch.segments.lengths)]
        # What the published code calls special is told apart by number; a hidden word counts among the words.
        text, word_features = reference.text(batch.texts.tokens)
        unit = [F.normalize(own, dim=-1) for own in (torch.stack([own for own, _ in proteins]), text)]
        logits = reference.heads["logit_scale"].exp() * unit[0] @ unit[1].T
        own = torch.arange(len(pairs))
        align = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
        residues = [features for _, features in proteins]
        fused, fused_words = reference.fusion(residues, word_features, batch.texts.is_token)

        def hidden(of_proteins: list[torch.Tensor]) -> torch.Tensor:
            ends = [F.pad(features, (0, 0, 1, 1)) for features in of_proteins]
            return torch.cat(ends)[batch.residue_places]

        texts, places = batch.word_places.T
        others = (
            ("mlm_head", hidden(residues), batch.residues),
            ("mmp_protein_head", hidden(fused), batch.residues),
            ("mmp_text_head", fused_words[texts, places], batch.words),
        )
        expected = [F.cross_entropy(reference.perceptron(name, x), targets) for name, x, targets in others]
    torch.testing.assert_close(loss / len(pairs), align + sum(expected), atol=1e-4, rtol=1e-5)
    found = [metrics[name] / len(pairs) for name in ("masked_residues", "fused_residues", "fused_words")]
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), atol=1e-4, rtol=1e-5)
    assert metrics["protein_to_text"] == (logits.argmax(1) == own).sum()
    assert metrics["text_to_protein"] == (logits.argmax(0) == own).sum()


def test_what_is_hidden_can_be_put_back(words: WordPieces, pairs: list[Pair]) -> None:
    batch = ProteinText(words).collate(pairs, np.random.default_rng(2))
    tokens = batch.tokens.clone()
    assert (tokens[batch.residue_places] == ESM_ALPHABET.mask).all()
    letters = [RESIDUES[number] for number in batch.residues]
    tokens[batch.residue_places] = torch.from_numpy(ESM_ALPHABET.indices("".join(letters)).astype(np.int64))
    for own, sequence in zip(tokens.split(batch.segments.lengths), SEQUENCES, strict=True):
        np.testing.assert_array_equal(own, ESM_ALPHABET.encode(sequence))
    texts = batch.texts.tokens.clone()
    texts[batch.word_places[:, 0], batch.word_places[:, 1]] = batch.words
    for row, own, text in zip(texts, batch.texts.is_token, TEXTS, strict=True):
        assert row[own].tolist() == [words.cls, *words.pieces(text), words.sep]


def test_without_weights_nothing_is_hidden(words: WordPieces, pairs: list[Pair], model: ProtST) -> None:
    task = ProteinText(words, residue_weight=0, fusion_weight=0)
    batch = task.collate(pairs, np.random.default_rng(2))
    assert not len(batch.residues) and not len(batch.words)
    with torch.no_grad():
        loss, metrics = task.loss(model, batch)
        found = contrast(
            model.protein_features(model.protein(batch.tokens, batch.segments), batch.segments),
            model.text_features(batch.texts),
            model.log_scale,
        )
    torch.testing.assert_close(loss, found.loss)
    assert set(metrics) == {"protein_to_text", "text_to_protein"}


def test_equal_texts_are_no_opposites() -> None:
    torch.manual_seed(0)
    proteins, texts = torch.randn(4, 6), torch.randn(4, 6)
    scale = torch.tensor(1.0)
    apart = contrast(proteins, texts, scale)
    assert torch.equal(contrast(proteins, texts, scale, torch.tensor([3, 1, 4, 5])).loss, apart.loss)
    texts[2] = texts[0]
    joined = contrast(proteins, texts, scale, torch.tensor([7, 1, 7, 5]))
    unit = [F.normalize(own, dim=-1) for own in (proteins, texts)]
    shares = [(scale.exp() * logits).softmax(1) for logits in (unit[0] @ unit[1].T, unit[1] @ unit[0].T)]
    same = torch.eye(4)
    same[0, 2] = same[2, 0] = 1
    torch.testing.assert_close(joined.loss, -sum((own * same).sum(1).log().sum() for own in shares))
    assert joined.loss < contrast(proteins, texts, scale).loss


def test_every_part_learns(words: WordPieces, pairs: list[Pair], model: ProtST) -> None:
    model.train().requires_grad_(True)
    loss, _ = ProteinText(words).loss(model, ProteinText(words).collate(pairs, np.random.default_rng(1)))
    loss.backward()
    for name, parameter in model.named_parameters():
        unused = name.startswith(("protein.masked_language", "protein.contact")) or name.endswith(
            ("norms.0.mean", "norms.0.variance", "rotary_frequencies")
        )
        assert (parameter.grad is None) == unused, name
        # A key's bias shifts all scores of a query alike, which softmax takes back: its gradient is rounding.
        assert unused or parameter.grad.any() or name.endswith("key.bias"), name


@pytest.mark.parametrize("world", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_several_processes_have_the_loss_and_gradients_of_one(world: int, tmp_path: Path) -> None:
    run_together(world, gathered_contrast.__file__, tmp_path)
    towers = gathered_contrast.Towers()
    sums = torch.stack([own.float() for own in towers.step(slice(None))])
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    torch.testing.assert_close(sum(own["sums"] for own in found), sums, atol=1e-5, rtol=1e-6)
    for own in found:
        for name, parameter in towers.named_parameters():
            torch.testing.assert_close(own[name], parameter.grad, atol=1e-6, rtol=0, msg=name)
