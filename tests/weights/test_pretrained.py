"""Folders in Hugging Face layout: what we write transformers opens, what it writes we open, nothing else passes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, EsmConfig, EsmForMaskedLM, EsmModel

from chaperonin.errors import WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import FAIR_ESM, HUGGING_FACE, LAYOUT
from chaperonin.weights.pretrained import load_folder, save_folder

TOKENS = torch.tensor([0, 5, 20, 32, 7, 9, 2])


@pytest.fixture
def model() -> ESM:
    torch.manual_seed(3)
    model = ESM(ESMConfig(width=32, depth=3, heads=4, inner_width=64)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    return model


@pytest.fixture
def folder(model: ESM, tmp_path: Path) -> Path:
    save_folder(LAYOUT, model, tmp_path / "model")
    return tmp_path / "model"


def logits(model: ESM) -> torch.Tensor:
    with torch.inference_mode():
        return model.lm_head(model(TOKENS, Segments([len(TOKENS)])))


def test_round_trip_is_bit_equal(model: ESM, folder: Path) -> None:
    again = load_folder(LAYOUT, folder)
    for (name, before), (_, after) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(before, after), name


def test_weights_are_as_readable_as_any_new_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    modes = {(folder / name).stat().st_mode for name in ("model.safetensors", "config.json")}
    assert modes == {(tmp_path / "new").stat().st_mode}


def test_transformers_opens_what_we_save_with_equal_logits(model: ESM, folder: Path) -> None:
    theirs, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    with torch.inference_mode():
        torch.testing.assert_close(theirs.eval()(TOKENS[None]).logits[0], logits(model), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_we_open_what_transformers_saves(tmp_path: Path, dtype: torch.dtype) -> None:
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=64, position_embedding_type="rotary", token_dropout=True,
        layer_norm_eps=1e-5, emb_layer_norm_before=False,
    )  # fmt: skip
    theirs = EsmForMaskedLM(config).to(dtype).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_folder(LAYOUT, tmp_path).float()
    with torch.inference_mode():
        expected = theirs.float()(TOKENS[None]).logits[0]
    torch.testing.assert_close(logits(ours), expected, atol=1e-5, rtol=0)


def test_an_encoder_saved_alone_opens_without_its_heads(tmp_path: Path, model: ESM, folder: Path) -> None:
    theirs = EsmModel.from_pretrained(folder, add_pooling_layer=False)
    theirs.save_pretrained(tmp_path / "encoder")
    names = load_file(tmp_path / "encoder/model.safetensors")
    assert not any(name.startswith("esm.") for name in names)
    encoder = load_folder(LAYOUT, tmp_path / "encoder")
    assert torch.equal(encoder(TOKENS, Segments([len(TOKENS)])), model(TOKENS, Segments([len(TOKENS)])))
    with pytest.raises(WeightsError, match="no masked-language head"):
        encoder.lm_head(encoder(TOKENS, Segments([len(TOKENS)])))


def test_old_and_new_spellings_read_the_same(model: ESM, folder: Path) -> None:
    path = folder / "model.safetensors"
    stored = load_file(path)
    renamed = {}
    for name, tensor in stored.items():
        if "LayerNorm" in name:
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )
        if "rotary_embeddings" in name:
            name = "esm.encoder.layer.*.attention.self.rotary_embeddings.inv_freq"
        renamed[name] = tensor
    renamed["lm_head.decoder.weight"] = stored["esm.embeddings.word_embeddings.weight"].clone()
    save_file(renamed, path)
    assert torch.equal(logits(load_folder(LAYOUT, folder)), logits(model))


def test_sharded_checkpoints_open(model: ESM, folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    names = sorted(stored)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-0000{number + 1}-of-00002.safetensors"
        save_file({name: stored[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert torch.equal(logits(load_folder(LAYOUT, folder)), logits(model))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"not here: model-00002"):
        load_folder(LAYOUT, folder)


def change_tensor(folder: Path, name: str, tensor: torch.Tensor | None) -> None:
    stored = load_file(folder / "model.safetensors")
    if tensor is None:
        del stored[name]
    else:
        stored[name] = tensor
    save_file(stored, folder / "model.safetensors")


def test_the_unused_position_table_of_published_files_is_passed_over(model: ESM, folder: Path) -> None:
    change_tensor(folder, "esm.embeddings.position_embeddings.weight", torch.zeros(1026, 32))
    change_tensor(folder, "esm.embeddings.position_ids", torch.arange(1026)[None])
    assert torch.equal(logits(load_folder(LAYOUT, folder)), logits(model))


def test_loading_does_not_import_the_compiler(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from chaperonin.weights.pretrained import load_folder; "
        "from chaperonin.models.esm.weights import LAYOUT; load_folder(LAYOUT, Path(sys.argv[1])); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)]).returncode == 0


QUERY = "esm.encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (QUERY, None, r"1 tensors are missing: layers\.1\.attention\.project\.query\.weight"),
        ("esm.encoder.layer.7.adapter", torch.zeros(3), r"fit nothing in the model: esm\.encoder\.layer\.7\.adapter"),
        ("esm.encoder.layer.9.LayerNorm.bias", torch.zeros(32), r"fit nothing in the model: layers\.9"),
        (QUERY, torch.zeros(32, 16), r"query\.weight is \[32, 16\], config\.json makes it \[32, 32\]"),
        (QUERY, torch.zeros(32, 32, dtype=torch.int64), "not floating-point"),
        ("lm_head.decoder.weight", torch.zeros(33, 32), "says something else"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    folder: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    change_tensor(folder, name, tensor)
    with pytest.raises(WeightsError, match=message):
        load_folder(LAYOUT, folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "the file has [0-9,]+ for them"),
        (
            lambda path: path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}"),
            "the header claims",
        ),
        (lambda path: path.write_bytes(b""), "the header claims"),
        (lambda path: path.unlink(), "no model.safetensors"),
        (lambda path: (path.parent / "config.json").unlink(), "no config.json"),
        (lambda path: (path.parent / "config.json").write_text("{"), "not JSON"),
    ],
)
def test_damaged_files_are_refused(folder: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    damage(folder / "model.safetensors")
    with pytest.raises(WeightsError, match=message):
        load_folder(LAYOUT, folder)


def test_every_table_names_every_parameter_both_ways(model: ESM) -> None:
    learned = ESM(
        ESMConfig(width=16, depth=2, heads=2, inner_width=32, positions="learned", norm_embedding=True)
    )
    for built in (model, learned):
        parameters = dict(built.named_parameters())
        for table in (HUGGING_FACE, FAIR_ESM):
            again = table.read(table.write(parameters), parameters, "test")
            assert {name: id(tensor) for name, tensor in again.items() if name != "rotary_frequencies"} == {
                name: id(tensor) for name, tensor in parameters.items() if name != "rotary_frequencies"
            }
