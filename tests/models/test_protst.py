"""Our ProtST is the published one: features, agreement and fusion, from every published layout of its weights."""

import json
from pathlib import Path

import pytest
import torch
from tests.models.published_protst import CLS, PAD, SEP, Published, perceptron, published

from chaperonin.cli.main import main
from chaperonin.errors import WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.models.protst import ProtST, TextBatch
from chaperonin.models.protst.weights import LAYOUT
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.weights.pretrained import assemble, load_folder, save_folder

EQUAL = 1e-5
"""The project's stated equality, absolute, fp32."""


def proteins() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    found = []
    for length in (17, 1, 60):
        tokens = torch.randint(4, 24, (length + 2,), generator=generator)
        tokens[0], tokens[-1] = ESM_ALPHABET.cls, ESM_ALPHABET.eos
        found.append(tokens)
    return found


def texts() -> torch.Tensor:
    """Three texts as tokens: with and without `[SEP]`, filled up."""
    return torch.tensor([[CLS, 9, 44, 270, SEP], [CLS, 12, 13, 14, 15], [CLS, 200, SEP, PAD, PAD]])


def batch(tokens: torch.Tensor) -> TextBatch:
    is_token = tokens != PAD
    return TextBatch(tokens, is_token, is_token & (tokens != CLS) & (tokens != SEP))


def ours(model: Published, named: dict[str, torch.Tensor], origin: str = "huggingface") -> ProtST:
    config = LAYOUT.read_config(model.config() | {"projection_dim": 32}, "test")
    built = assemble(LAYOUT, config, named, origin, "test").eval()
    assert isinstance(built, ProtST)
    return built


def hidden(model: ProtST) -> tuple[torch.Tensor, Segments]:
    segments = Segments([len(tokens) for tokens in proteins()])
    return model.protein(torch.cat(proteins()), segments), segments


@pytest.mark.parametrize("learned", [True, False], ids=["ESM-1b", "ESM-2"])
def test_features_equal_the_published_ones(learned: bool) -> None:
    reference = published(learned=learned)
    model = ours(reference, reference.huggingface())
    with torch.inference_mode():
        theirs = [reference.protein(tokens) for tokens in proteins()]
        their_texts, their_words = reference.text(texts())
        found = model.protein_features(*hidden(model))
        torch.testing.assert_close(found, torch.stack([own for own, _ in theirs]), atol=EQUAL, rtol=0)
        residues = model.residue_features(*hidden(model))
        torch.testing.assert_close(residues, torch.cat([own for _, own in theirs]), atol=EQUAL, rtol=0)
        words = batch(texts())
        torch.testing.assert_close(model.text_features(words), their_texts, atol=EQUAL, rtol=0)
        found_words = model.word_features(model.text_tower(words))
        torch.testing.assert_close(
            found_words[words.is_token], their_words[words.is_token], atol=EQUAL, rtol=0
        )
        unit = [own / own.norm(dim=-1, keepdim=True) for own in (found, their_texts)]
        expected = reference.heads["logit_scale"].exp() * unit[0] @ unit[1].T
        torch.testing.assert_close(model.agreement(found, their_texts), expected, atol=EQUAL, rtol=0)


def torchdrug(model: Published) -> dict[str, torch.Tensor]:
    """The authors' own layout: fair-esm's names, perceptrons by number, BERT with its head."""
    named = {}
    for name, value in (
        LAYOUT.tables["huggingface"]
        .read(model.huggingface(), dict(ours(model, model.huggingface()).named_parameters()), "test")
        .items()
    ):
        named[name] = value
    theirs = LAYOUT.tables["torchdrug"].write(named)
    theirs |= {
        name: value for name, value in model.heads.items() if not name.startswith(("protein_", "text_"))
    }
    theirs["protein_model.mapping"] = torch.arange(20)
    theirs["text_model.model.cls.predictions.bias"] = torch.zeros(300)
    return theirs


def test_the_authors_own_layout_is_the_same_model_and_has_the_fusion() -> None:
    reference = published()
    named = torchdrug(reference)
    assert "protein_model.model.layers.1.self_attn.q_proj.weight" in named
    assert "protein_model.graph_mlp.layers.1.bias" in named
    model = ours(reference, named, "torchdrug")
    plain = ours(reference, reference.huggingface())
    with torch.inference_mode():
        found, segments = hidden(model)
        torch.testing.assert_close(found, hidden(plain)[0], atol=0, rtol=0)
        words = batch(texts())
        residues = model.residue_features(found, segments)
        own = Segments([length - 2 for length in segments.lengths])
        assert model.fusion is not None and plain.fusion is None
        fused, fused_words = model.fusion(
            residues, own, model.word_features(model.text_tower(words)), words.is_token
        )
        theirs = [reference.protein(tokens)[1] for tokens in proteins()]
        expected, expected_words = reference.fusion(theirs, reference.text(texts())[1], words.is_token)
        torch.testing.assert_close(fused, torch.cat(expected), atol=EQUAL, rtol=0)
        torch.testing.assert_close(
            fused_words[words.is_token], expected_words[words.is_token], atol=EQUAL, rtol=0
        )
        for head, name in (
            (model.masked_residue, "mlm_head"),
            (model.fused_residue, "mmp_protein_head"),
            (model.masked_word, "mmp_text_head"),
        ):
            assert head is not None
            torch.testing.assert_close(head(fused), reference.perceptron(name, fused), atol=EQUAL, rtol=0)


def test_a_folder_is_written_and_read_with_every_number(tmp_path: Path) -> None:
    reference = published()
    model = ours(reference, torchdrug(reference), "torchdrug")
    save_folder(LAYOUT, model, tmp_path / "model")
    again = load_folder(LAYOUT, tmp_path / "model")
    named = dict(again.named_parameters())
    assert named.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(named[name], value) for name, value in model.named_parameters())
    with torch.inference_mode():
        torch.testing.assert_close(
            again.text_features(batch(texts())), model.text_features(batch(texts())), atol=0, rtol=0
        )


@pytest.mark.parametrize("learned", [True, False], ids=["ESM-1b", "ESM-2"])
def test_the_authors_file_is_converted(
    learned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reference = published(learned=learned)
    torch.save({"model": torchdrug(reference), "optimizer": {}}, tmp_path / "protst.pth")
    assert main(["weights", "convert", str(tmp_path / "protst.pth"), str(tmp_path / "out")]) == 0
    assert "vocab.txt" in caplog.text
    model = load_folder(LAYOUT, tmp_path / "out")
    direct = ours(reference, torchdrug(reference), "torchdrug")
    named = dict(direct.named_parameters())
    assert named.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(named[name], value) for name, value in model.named_parameters())
    with torch.inference_mode():
        torch.testing.assert_close(
            model.protein_features(*hidden(model)), direct.protein_features(*hidden(direct)), atol=0, rtol=0
        )
        torch.testing.assert_close(
            model.text_features(batch(texts())), direct.text_features(batch(texts())), atol=0, rtol=0
        )


def test_the_folder_with_a_pickle_is_converted(tmp_path: Path) -> None:
    reference = published()
    source = tmp_path / "ProtST-esm1b"
    source.mkdir()
    # What the published folder says besides, which must not be run: code of another repository.
    config = reference.config() | {"projection_dim": 32, "auto_map": {"AutoModel": "else--modeling.ProtST"}}
    (source / "config.json").write_text(json.dumps(config))
    torch.save(reference.huggingface(), source / "pytorch_model.bin")
    assert main(["weights", "convert", str(source), str(tmp_path / "out")]) == 0
    model = load_folder(LAYOUT, tmp_path / "out")
    named = dict(ours(reference, reference.huggingface()).named_parameters())
    assert all(torch.equal(named[name], value) for name, value in model.named_parameters())


def test_the_fine_tuned_layout_has_a_classifier_and_no_text_tower() -> None:
    reference = published()
    named = {
        name: value
        for name, value in reference.huggingface().items()
        if not name.startswith("text_") and "_mlp" not in name
    }
    named |= perceptron("classifier", 40, 2, ("dense", "out_proj"))
    config = reference.config() | {"architectures": ["ProtSTForProteinPropertyPrediction"]}
    model = assemble(LAYOUT, LAYOUT.read_config(config, "test"), named, "huggingface", "test").eval()
    assert isinstance(model, ProtST)
    assert model.text is None and model.protein_projection is None
    means = torch.randn(3, 40)
    reference.heads |= named
    torch.testing.assert_close(
        model.classify(means), reference.perceptron("classifier", means), atol=EQUAL, rtol=0
    )
    with pytest.raises(WeightsError, match="no text tower"):
        model.text_features(batch(texts()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda named: named | {"protein_model.strange_mlp.dense.weight": torch.ones(2)}, "strange_mlp"),
        (lambda named: {k: v for k, v in named.items() if "layer.1.attention.self.key" not in k}, "missing"),
        (lambda named: named | {"text_model.text_mlp.out_proj.weight": torch.ones(3, 3)}, "text_projection"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_name(change, said: str) -> None:
    reference = published()
    with pytest.raises(WeightsError, match=said):
        ours(reference, change(reference.huggingface()))
