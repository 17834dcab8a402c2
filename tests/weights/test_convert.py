"""Pickled checkpoints become folders with the same numbers, and nothing in them is run."""

import argparse
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoTokenizer, EsmConfig, EsmForMaskedLM

from chaperonin.errors import WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.models import layout_of
from chaperonin.models.esm.fair_esm import ORIGIN
from chaperonin.models.esm.model import ESM
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.weights.convert import convert
from chaperonin.weights.manifest import read_manifest, sha256_of
from chaperonin.weights.pretrained import load_folder

TOKENS = torch.tensor([0, 20, 5, 32, 7, 9, 4, 11, 2])
NAMES = [
    ("esm.embeddings.word_embeddings", "embed_tokens"),
    ("esm.embeddings.position_embeddings", "embed_positions"),
    ("esm.embeddings.layer_norm", "emb_layer_norm_before"),
    ("esm.encoder.emb_layer_norm_after", "emb_layer_norm_after"),
    ("esm.encoder.layer.", "layers."),
    ("attention.self.rotary_embeddings", "self_attn.rot_emb"),
    ("attention.self.query", "self_attn.q_proj"),
    ("attention.self.key", "self_attn.k_proj"),
    ("attention.self.value", "self_attn.v_proj"),
    ("attention.output.dense", "self_attn.out_proj"),
    ("attention.LayerNorm", "self_attn_layer_norm"),
    ("intermediate.dense", "fc1"),
    ("output.dense", "fc2"),
    ("LayerNorm", "final_layer_norm"),
    ("esm.contact_head", "contact_head"),
    ("lm_head.decoder", "lm_head"),
]
"""transformers' spelling → that of fair-esm 2.0.0."""


def published(kind: str, heads: int = 4) -> EsmForMaskedLM:
    """A small model of either generation with random numbers everywhere."""
    torch.manual_seed(7)
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=heads, intermediate_size=32, token_dropout=True, layer_norm_eps=1e-5,
        position_embedding_type="rotary" if kind == "esm2" else "absolute", max_position_embeddings=34,
        emb_layer_norm_before=kind == "esm1b", tie_word_embeddings=True,
    )  # fmt: skip
    config._attn_implementation = "eager"  # the others give no attention maps
    model = EsmForMaskedLM(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    model.tie_weights()
    if kind != "esm2":  # what fair-esm does when it loads one of these
        model.esm.embeddings.word_embeddings.weight.data[32] = 0
    return model


def spelled_as_fair_esm(model: EsmForMaskedLM) -> dict[str, Tensor]:
    theirs = {name: tensor for name, tensor in model.state_dict().items() if "decoder.bias" not in name}
    theirs |= {"lm_head.decoder.weight": theirs["esm.embeddings.word_embeddings.weight"]}
    if model.config.position_embedding_type == "rotary":
        frequencies = theirs.pop("esm.rotary_embeddings.inv_freq")
        for layer in range(model.config.num_hidden_layers):
            theirs[f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"] = frequencies
    renamed = {}
    for name, tensor in theirs.items():
        for old, new in NAMES:
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


def write_pt(model: EsmForMaskedLM, folder: Path, kind: str, **noted: object) -> Path:
    """The two files that fair-esm publishes of a model, keys and arguments as it writes them."""
    path = folder / {"esm2": "esm2_t2_UR50D.pt", "esm1b": "esm1b_t2_UR50S.pt", "esm1v": "esm1v_t2_1.pt"}[kind]
    named = spelled_as_fair_esm(model)
    contact = {name: named.pop(name) for name in list(named) if name.startswith("contact_head")}
    config = model.config
    shape = {
        "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads,
        "token_dropout": True,
        **noted,
    }
    heads = ("lm_head", "contact_head")
    named = {
        ("encoder." if name.startswith(heads) else "encoder.sentence_encoder.") + name: tensor
        for name, tensor in named.items()
    }
    if kind == "esm2":
        torch.save({"cfg": {"model": argparse.Namespace(**shape)}, "model": named}, path)
    else:
        if kind == "esm1b":
            named["encoder.sentence_encoder.embed_tokens.weight"][32] = 5.0  # not zero in the file
        shape |= {"arch": "roberta_large", "max_positions": 32}
        torch.save({"args": argparse.Namespace(**shape), "model": named}, path)
    if kind != "esm1v":
        torch.save({"model": contact}, path.with_name(f"{path.stem}-contact-regression.pt"))
    return path


def run(source: Path, out: Path, regression: Path | None = None) -> Path:
    return convert(layout_of, ORIGIN, source, out, regression)


@pytest.mark.parametrize("kind", ["esm2", "esm1b", "esm1v"])
def test_a_converted_checkpoint_gives_the_published_logits_in_both_programs(
    tmp_path: Path, kind: str
) -> None:
    model = published(kind)
    with torch.inference_mode():
        expected = model(TOKENS[None]).logits[0].clone()
    out = run(write_pt(model, tmp_path, kind), tmp_path / "out")
    ours = load_folder(layout_of("esm"), out)
    assert isinstance(ours, ESM)
    theirs, report = AutoModelForMaskedLM.from_pretrained(
        out, output_loading_info=True, attn_implementation="eager"
    )
    without_contacts = {"esm.contact_head.regression.weight", "esm.contact_head.regression.bias"}
    assert set(report["missing_keys"]) == (without_contacts if kind == "esm1v" else set())
    with torch.inference_mode():
        hidden = ours(TOKENS, Segments([len(TOKENS)]))
        torch.testing.assert_close(ours.lm_head(hidden), expected, atol=1e-5, rtol=0)
        assert torch.equal(theirs.eval()(TOKENS[None]).logits[0], expected)


@pytest.mark.parametrize("kind", ["esm2", "esm1b"])
def test_contacts_come_from_the_regression_beside_the_checkpoint(tmp_path: Path, kind: str) -> None:
    model = published(kind)
    with torch.inference_mode():
        expected = model.predict_contacts(TOKENS[None], torch.ones_like(TOKENS[None]))[0]
    ours = load_folder(layout_of("esm"), run(write_pt(model, tmp_path, kind), tmp_path / "out"))
    with torch.inference_mode():
        [contacts] = ours.contacts(TOKENS, Segments([len(TOKENS)]))
    torch.testing.assert_close(contacts, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_number_keeps_its_bits_and_its_type(tmp_path: Path, dtype: torch.dtype) -> None:
    model = published("esm2").to(dtype)
    source = write_pt(model, tmp_path, "esm2")
    stored = load_file(run(source, tmp_path / "out") / "model.safetensors")
    given = model.state_dict()
    shared = set(stored) & set(given)
    assert len(shared) == len(given) - 2  # the tied matrix is written once, the frequencies under each layer
    assert all(torch.equal(stored[name], given[name]) and stored[name].dtype == dtype for name in shared)
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == str(dtype).removeprefix(
        "torch."
    )


def test_the_regression_can_be_given_and_can_be_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_pt(published("esm2"), tmp_path, "esm2")
    beside = tmp_path / "esm2_t2_UR50D-contact-regression.pt"
    elsewhere = beside.rename(tmp_path / "head.pt")
    assert load_folder(layout_of("esm"), run(source, tmp_path / "without")).contact is None
    assert "will have no contact maps" in caplog.text
    assert load_folder(layout_of("esm"), run(source, tmp_path / "with", elsewhere)).contact is not None


def test_transformers_tokenizes_with_what_is_written(tmp_path: Path) -> None:
    out = run(write_pt(published("esm2"), tmp_path, "esm2"), tmp_path / "out")
    ids = AutoTokenizer.from_pretrained(out)("MKTAYIAKQR<mask>X")["input_ids"]
    expected = [*ESM_ALPHABET.encode("MKTAYIAKQR")[:-1], ESM_ALPHABET.mask, ESM_ALPHABET.index("X")]
    assert ids == [int(number) for number in expected] + [ESM_ALPHABET.eos]


def test_what_was_converted_is_recorded(tmp_path: Path) -> None:
    source = write_pt(published("esm1v"), tmp_path, "esm1v")
    manifest = read_manifest(run(source, tmp_path / "out"))
    assert manifest is not None
    assert manifest.source == f"esm1v_t2_1.pt sha256:{sha256_of(source)}"
    assert set(manifest.files) == {path.name for path in (tmp_path / "out").iterdir()} - {"chaperonin.json"}
    assert list(manifest.problems(tmp_path / "out")) == []


@pytest.mark.parametrize("says", ["nothing", "frequencies", "regression"])
def test_heads_are_found_where_the_arguments_do_not_say_them(tmp_path: Path, says: str) -> None:
    path = write_pt(published("esm2", heads=8), tmp_path, "esm2")
    content = torch.load(path, weights_only=False)
    named = content["model"]
    if says != "frequencies":
        named = {name: tensor for name, tensor in named.items() if "rot_emb" not in name}
    torch.save({"model": named}, path)
    if says == "nothing":
        path.with_name("esm2_t2_UR50D-contact-regression.pt").unlink()
        with pytest.raises(WeightsError, match="number of attention heads is not known"):
            run(path, tmp_path / "out")
    else:
        assert load_folder(layout_of("esm"), run(path, tmp_path / "out")).config.heads == 8


@pytest.mark.parametrize(
    ("noted", "message"),
    [
        ({"encoder_layers": 3}, "notes layers = 3, its tensors make 2"),
        ({"encoder_embed_dim": 32}, "notes embed_dim = 32, its tensors make 16"),
        ({"encoder_attention_heads": 2}, "speaks of . and of . attention heads"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(
    tmp_path: Path, noted: dict[str, object], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        run(write_pt(published("esm2"), tmp_path, "esm2", **noted), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def write_bin(model: EsmForMaskedLM, folder: Path, shards: int) -> Path:
    folder.mkdir()
    model.config.save_pretrained(folder)
    (folder / "vocab.txt").write_text("as it was\n")
    stored = model.state_dict()
    names = sorted(stored)
    if shards == 1:
        torch.save(stored, folder / "pytorch_model.bin")
        return folder
    weight_map = {}
    for number in range(shards):
        file = f"pytorch_model-0000{number + 1}-of-0000{shards}.bin"
        torch.save({name: stored[name] for name in names[number::shards]}, folder / file)
        weight_map |= dict.fromkeys(names[number::shards], file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("shards", [1, 2])
def test_a_folder_with_pytorch_model_bin_converts(tmp_path: Path, shards: int) -> None:
    model = published("esm1b")
    out = run(write_bin(model, tmp_path / "in", shards), tmp_path / "out")
    assert (out / "vocab.txt").read_text() == "as it was\n"
    theirs = AutoModelForMaskedLM.from_pretrained(out, attn_implementation="eager")
    with torch.inference_mode():
        assert torch.equal(theirs.eval()(TOKENS[None]).logits, model(TOKENS[None]).logits)


def test_the_bin_file_itself_may_be_named(tmp_path: Path) -> None:
    folder = write_bin(published("esm2"), tmp_path / "in", 1)
    assert (run(folder / "pytorch_model.bin", tmp_path / "out") / "model.safetensors").is_file()


class Malicious:
    """Unpickled by an unwary program it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, old_format: bool) -> None:
    marker = tmp_path / "it ran"
    path = tmp_path / "esm2_t6_8M_UR50D.pt"
    content = {"model": {"embed_tokens.weight": torch.zeros(2), "trap": Malicious(marker)}}
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(WeightsError, match=r"refused: the file wants to use posix\.system"):
        run(path, tmp_path / "out")
    assert not marker.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, share: float, old_format: bool) -> None:
    path = write_pt(published("esm2"), tmp_path, "esm2")
    content = torch.load(path, weights_only=False)
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="cut off, damaged or no checkpoint"):
        run(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"<html>not found</html>"), "damaged or no checkpoint"),
        (write_zip, "damaged or no checkpoint"),
        (lambda path: torch.save(torch.zeros(3), path), "holds a Tensor"),
        (lambda path: torch.save({"model": {}}, path), "no tensors"),
        (lambda path: torch.save({"model": 3}, path), "no dictionary of tensors"),
        (lambda path: torch.save({"step": 3, "weights": {"a": torch.zeros(2)}}, path), "'step' is a int"),
        (lambda path: torch.save({"layers.0.weight": torch.zeros(2)}, path), "this is no ESM-1b"),
        (
            lambda path: torch.save({"model": {"layers.1.fc1.weight": torch.zeros(2)}}, path),
            "this is no ESM-1b",
        ),
        (lambda path: None, "no such file"),
    ],
)
def test_another_file_is_refused_with_its_reason(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "esm2_t6_8M_UR50D.pt"
    write(path)
    with pytest.raises(WeightsError, match=message):
        run(path, tmp_path / "out")


def test_other_models_of_the_same_authors_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "esm_msa1b_t12_100M_UR50S.pt"
    named = {"encoder.sentence_encoder.msa_position_embedding": torch.zeros(1)}
    torch.save({"args": argparse.Namespace(arch="msa_transformer"), "model": named}, path)
    with pytest.raises(WeightsError, match=r"no ESM-1b, ESM-1v or ESM-2 \(msa_transformer\)"):
        run(path, tmp_path / "out")


def test_another_vocabulary_and_an_extra_tensor_are_refused(tmp_path: Path) -> None:
    path = write_pt(published("esm2"), tmp_path, "esm2")
    content = torch.load(path, weights_only=False)
    content["model"]["encoder.sentence_encoder.layers.1.adapter.weight"] = torch.zeros(3)
    torch.save(content, path)
    with pytest.raises(WeightsError, match="adapter"):
        run(path, tmp_path / "out")
    content["model"]["encoder.sentence_encoder.embed_tokens.weight"] = torch.zeros(35, 16)
    torch.save(content, path)
    with pytest.raises(WeightsError, match="the vocabulary has 35 tokens"):
        run(path, tmp_path / "out")


def test_an_output_with_files_is_not_overwritten(tmp_path: Path) -> None:
    source = write_pt(published("esm2"), tmp_path, "esm2")
    out = tmp_path / "out"
    out.mkdir()
    run(source, out)
    with pytest.raises(WeightsError, match="not an empty folder"):
        run(source, out)
