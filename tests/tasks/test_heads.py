import numpy as np
import pytest
import torch
from torch import nn

from chaperonin.errors import UsageError
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.tasks import Predictor, Target, build_head, heads
from chaperonin.tasks.heads import PairHead, ResidueHead, SequenceHead
from chaperonin.weights.pretrained import load_folder

TEXTS = ["MKTAYIAKQRQISFVK", "GAVL", "WYHHDERKKSTNQCGPAVILMF"]


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Fresh initialisation has zeros and ones that hide errors."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3, generator=generator)


@pytest.fixture(scope="module", params=["EsmForSequenceClassification", "EsmForTokenClassification"])
def published(request, tmp_path_factory):
    """A random model of transformers with a head, and our backbone of the same weights."""
    transformers = pytest.importorskip("transformers", reason="the reference is not installed")
    config = transformers.EsmConfig(
        vocab_size=33,
        mask_token_id=32,
        pad_token_id=1,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        position_embedding_type="rotary",
        token_dropout=True,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    theirs = getattr(transformers, request.param)(config).eval()
    randomise(theirs)
    folder = tmp_path_factory.mktemp("model")
    encoder = transformers.EsmModel(config, add_pooling_layer=False)
    encoder.load_state_dict(theirs.esm.state_dict())
    encoder.save_pretrained(folder)
    return theirs, load_folder(LAYOUT, folder).eval()


@torch.no_grad()
def test_logits_are_those_of_transformers(published):
    theirs, backbone = published
    is_token = "Token" in type(theirs).__name__
    target = Target("residue" if is_token else "sequence", "multiclass", ("a", "b", "c"))
    head = build_head(target, 32, "cls", "none" if is_token else "tanh")
    head.load_state_dict((theirs if is_token else theirs.classifier).state_dict(), strict=not is_token)
    ids = [torch.from_numpy(backbone.alphabet.encode(text)) for text in TEXTS]
    ours = Predictor(backbone, head, target)(torch.cat(ids), Segments([len(own) for own in ids]))
    padded = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=1)
    reference = theirs(padded, attention_mask=(padded != 1).long()).logits
    if is_token:
        reference = torch.cat([row[1 : len(own) - 1] for row, own in zip(reference, ids, strict=True)])
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)


def test_the_mean_is_over_residues_and_cls_is_the_first_row():
    hidden = torch.randn(12, 5)
    segments = Segments([7, 5])
    mean = SequenceHead(5, 2).pool(hidden, segments)
    torch.testing.assert_close(mean, torch.stack([hidden[1:6].mean(dim=0), hidden[8:11].mean(dim=0)]))
    assert torch.equal(SequenceHead(5, 2, pooling="cls").pool(hidden, segments), hidden[[0, 7]])


@pytest.mark.parametrize(("hidden", "between"), [("tanh", nn.Tanh), ("relu", nn.ReLU)])
@pytest.mark.parametrize("level", ["sequence", "residue"])
def test_a_hidden_layer_of_its_own_width_is_a_perceptron_with_dropout(level, hidden, between):
    target = Target(level, "multiclass", ("a", "b", "c"))
    head = build_head(target, 8, "mean", hidden, 20, 0.25)
    last = head.out_proj if level == "sequence" else head.classifier
    usual = nn.Sequential(nn.Dropout(0.25), head.dense, between(), nn.Dropout(0.25), last)
    rows = torch.randn(6, 8)
    for mode in (True, False):
        torch.manual_seed(3)
        found = head.train(mode)(rows)
        torch.manual_seed(3)
        assert torch.equal(found, usual.train(mode)(rows))
    assert [tuple(own.shape) for own in head.parameters()] == [(20, 8), (20,), (3, 20), (3,)]


def test_pairs_take_another_width_and_no_dropout():
    target = Target("pairs", "binary", ("no", "yes"))
    assert build_head(target, 8, inner=16).dense.out_features == 16
    assert build_head(target, 8).dense.out_features == 128
    with pytest.raises(UsageError, match="no dropout"):
        build_head(target, 8, dropout=0.1)


def outer_concatenation(head: PairHead, rows: torch.Tensor) -> torch.Tensor:
    """The pair head as it is usually written: every pair's two vectors side by side."""
    length = len(rows)
    first = rows[:, None].expand(length, length, -1)
    pairs = torch.cat([first, first.transpose(0, 1)], dim=-1)
    logits = head.out_proj(torch.relu(head.dense(pairs)))[..., 0]
    return (logits + logits.T) / 2


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rows_at_a_time", [1, 3, 50])
def test_pair_head_is_the_outer_concatenation(dtype, tolerance, rows_at_a_time, monkeypatch):
    length, width, hidden = 17, 24, 10
    monkeypatch.setitem(heads.BLOCK, "cpu", rows_at_a_time * length * hidden)
    head = PairHead(width, hidden).to(dtype)
    randomise(head)
    rows = torch.randn(length, width, dtype=dtype, generator=torch.Generator().manual_seed(1))
    direction = torch.randn(length, length, dtype=dtype, generator=torch.Generator().manual_seed(2))
    rows.requires_grad_()
    leaves = [rows, *head.parameters()]
    ours, expected = head(rows), outer_concatenation(head, rows)
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=tolerance)
    own = torch.autograd.grad(ours, leaves, direction)
    right = torch.autograd.grad(expected, leaves, direction)
    for gradient, wanted in zip(own, right, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=tolerance * 100, rtol=tolerance)


def test_pair_head_is_symmetric_and_takes_one_residue():
    head = PairHead(8)
    randomise(head)
    logits = head(torch.randn(9, 8))
    assert torch.equal(logits, logits.T)
    assert head(torch.randn(1, 8)).shape == (1, 1)


def test_pair_head_keeps_nothing_of_every_pair_but_the_logits():
    length, width, hidden = 64, 8, 128
    kept = []
    head = PairHead(width, hidden)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda own: kept.append(own.numel()) or own, lambda own: own
    ):
        head(torch.randn(length, width, requires_grad=True))
    assert 0 < max(kept) <= length * hidden


def test_pair_head_under_autocast_sums_in_full_precision():
    head = PairHead(16, 32)
    randomise(head)
    rows = torch.randn(11, 16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(rows)
    assert logits.dtype == torch.float32
    logits.sum().backward()
    torch.testing.assert_close(logits, head(rows), atol=0.3, rtol=0.05)
    assert rows.grad is not None and rows.grad.abs().min() > 0


def test_each_level_has_its_head():
    classes = ("a", "b", "c")
    assert build_head(Target("sequence", "multiclass", classes), 8).out_proj.out_features == 3
    assert build_head(Target("sequence", "regression"), 8, "cls", "tanh").pooling == "cls"
    assert isinstance(build_head(Target("residue", "multiclass", classes), 8), ResidueHead)
    assert isinstance(build_head(Target("pairs", "binary", ("no", "yes")), 8), PairHead)


@torch.no_grad()
def test_predictor_gives_rows_of_a_level():
    backbone = ESM(ESMConfig(width=32, depth=1, heads=4, inner_width=64))
    tokens, segments = torch.from_numpy(np.full(14, 5)), Segments([9, 5])
    shapes = {
        "sequence": [(2, 3)],
        "residue": [(10, 3)],
        "pairs": [(7, 7), (3, 3)],
    }
    for level, expected in shapes.items():
        kind, classes = ("binary", ("no", "yes")) if level == "pairs" else ("multiclass", ("a", "b", "c"))
        target = Target(level, kind, classes)
        logits = Predictor(backbone, build_head(target, 32), target)(tokens, segments)
        parts = logits if isinstance(logits, list) else [logits]
        assert [tuple(part.shape) for part in parts] == expected
