"""Classes described in words, by the published protocol and by ours; what is no prompt is said."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.inference.tiny_protst import published_choice, vocabulary, write_protst
from transformers import BertTokenizerFast

from chaperonin.cli.main import main
from chaperonin.data.prompts import Prompt, read_prompts
from chaperonin.data.words import WordPieces
from chaperonin.errors import InputError, UsageError, WeightsError
from chaperonin.inference.protst import load_protst
from chaperonin.inference.zero_shot import target_of, zero_shot
from chaperonin.protein.alphabet import ESM_ALPHABET

PROMPTS = (
    "label\tprompt\nM\ta protein located in the cell membrane\nC\tcytoplasm\nN\tlocated at the nucleus.  \n"
)
SEQUENCES = {"one": "MKTAYIAKQRQISFVKSHFSRQ", "two": "GATTACA" * 30, "long": "MKTAYIAKQR" * 110, "x": "M"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("protst") / "model"
    write_protst(place)
    return place


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    (tmp_path / "in.fasta").write_text(
        "".join(f">{id}\n{own}\n" for id, own in SEQUENCES.items()) + ">bad\nMK*A\n"
    )
    (tmp_path / "prompts.tsv").write_text(PROMPTS)
    return tmp_path


def rows(outdir: Path) -> dict[str, dict[str, str]]:
    with (outdir / "predictions.csv").open(newline="") as lines:
        return {row["id"]: row for row in csv.DictReader(lines)}


def run(inputs: Path, folder: Path, *options: str) -> int:
    words = [
        "predict",
        str(inputs / "in.fasta"),
        str(inputs / "out"),
        "--prompts",
        str(inputs / "prompts.tsv"),
    ]
    return main([*words, "--model", str(folder), "--set", "device=cpu", "--precision", "fp32", *options])


@pytest.mark.parametrize("compat", ["published", "none"])
def test_choices_are_those_of_the_protocol(inputs: Path, folder: Path, tmp_path: Path, compat: str) -> None:
    model = write_protst(tmp_path / "again")
    assert run(inputs, folder, "--set", f"compat={compat}") == 3
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    texts = [line.split("\t")[1] for line in PROMPTS.splitlines()[1:]]
    ends = [] if compat == "published" else [tokenizer.sep_token_id]
    prompts = [
        torch.tensor([tokenizer.cls_token_id, *tokenizer.encode(text, add_special_tokens=False), *ends])
        for text in texts
    ]
    found = rows(inputs / "out")
    assert list(found) == list(SEQUENCES)
    assert list(found["one"])[:2] == ["id", "label"] and list(found["one"])[-3:] == ["p_M", "p_C", "p_N"]
    for id, sequence in SEQUENCES.items():
        if compat == "none" and len(sequence) > 1022:
            continue  # windows, which the published code does not know
        tokens = torch.from_numpy(ESM_ALPHABET.encode(sequence[:1022]))
        logits = published_choice(model, tokens, prompts)
        shares = [float(found[id][f"p_{label}"]) for label in "MCN"]
        np.testing.assert_allclose(shares, logits.softmax(0), atol=1e-5)
        assert found[id]["label"] == "MCN"[int(logits.argmax())]
    assert json.loads((inputs / "out/run.json").read_text())["config"]["compat"] == compat
    page = (inputs / "out/report.html").read_text()
    assert "Classes in words" in page and "Calibrated on proteins" not in page


def test_the_same_in_memory(inputs: Path, folder: Path) -> None:
    assert run(inputs, folder) == 3
    found = zero_shot(
        load_protst(str(folder), "fp32", "cpu"), SEQUENCES, read_prompts(inputs / "prompts.tsv")
    )
    for id, prediction in found.items():
        assert prediction.label == rows(inputs / "out")[id]["label"]
        assert float(rows(inputs / "out")[id]["probability"]) == pytest.approx(
            prediction.probability, rel=1e-4
        )


def test_a_second_run_does_nothing_and_other_prompts_are_another_job(
    inputs: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(inputs, folder) == 3 and run(inputs, folder) == 3
    (inputs / "prompts.tsv").write_text(PROMPTS.replace("nucleus", "golgi apparatus"))
    capsys.readouterr()
    assert run(inputs, folder) == 1
    assert "other settings" in capsys.readouterr().err
    assert run(inputs, folder, "--overwrite") == 3


def test_pieces_are_those_of_transformers_on_the_published_prompts(real_data: Path, tmp_path: Path) -> None:
    vocabulary_file = tmp_path / "vocab.txt"
    vocabulary_file.write_text("\n".join(vocabulary()) + "\n")
    theirs = BertTokenizerFast(str(vocabulary_file), do_lower_case=True)
    ours = WordPieces(vocabulary_file)
    for path in sorted((real_data / "text/protst_zero_shot").glob("subloc_*.tsv")):
        prompts = read_prompts(path)
        assert len(prompts) == 10
        batch = ours.batch([prompt.text for prompt in prompts], separator=False)
        for prompt, tokens, real in zip(prompts, batch.tokens, batch.is_token, strict=True):
            expected = theirs.encode(prompt.text, add_special_tokens=False, max_length=128, truncation=True)
            assert tokens[real].tolist() == [theirs.cls_token_id, *expected]
    assert ours.pieces("Ärger 42nd Golgi") == theirs.encode("Ärger 42nd Golgi", add_special_tokens=False)


def test_enzymes_that_are_called_alike_are_told_apart(real_data: Path) -> None:
    for path in (real_data / "text/protst_zero_shot").glob("reaction_*.tsv"):
        prompts = read_prompts(path)
        assert len({prompt.label for prompt in prompts}) == len(prompts) == 384


def test_another_vocabulary_is_another_job_or_refused(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    write_protst(own)
    assert run(inputs, own) == 3
    pieces = (own / "vocab.txt").read_text().splitlines()
    (own / "vocab.txt").write_text("\n".join([*pieces[:5], *reversed(pieces[5:])]) + "\n")
    capsys.readouterr()
    assert run(inputs, own) == 1
    assert "other settings" in capsys.readouterr().err
    (own / "vocab.txt").write_text("\n".join([*pieces, *(f"word{n}" for n in range(300))]) + "\n")
    assert run(inputs, own, "--overwrite") == 1
    assert "word pieces, the text tower 300" in capsys.readouterr().err


def test_damaged_weights_choose_nothing(tmp_path: Path) -> None:
    model = load_protst(str(_written(tmp_path)), "fp32", "cpu")
    assert model.model.protein_projection is not None
    model.model.protein_projection.out.bias.fill_(torch.nan)
    with pytest.raises(WeightsError, match="not finite"):
        model.protein_vectors(["MKT"], 100)


def _written(tmp_path: Path) -> Path:
    write_protst(tmp_path / "nan")
    return tmp_path / "nan"


def test_published_is_cut_in_memory_too(folder: Path) -> None:
    model = load_protst(str(folder), "fp32", "cpu")
    whole, cut = "MKTAYIAKQR" * 110, ("MKTAYIAKQR" * 110)[:1022]
    published = model.protein_vectors([whole], 4096, "published")
    np.testing.assert_array_equal(published, model.protein_vectors([cut], 4096))
    assert not np.allclose(published, model.protein_vectors([whole], 4096), atol=1e-7)


def test_the_published_prompt_files_work_as_they_are(real_data: Path, inputs: Path, folder: Path) -> None:
    (inputs / "prompts.tsv").unlink()
    (inputs / "prompts.tsv").symlink_to(real_data / "text/protst_zero_shot/subloc_template.tsv")
    assert run(inputs, folder, "--set", "compat=published") == 3
    assert "SUBCELLULAR LOCATION: Golgi apparatus." in {row[2:] for row in rows(inputs / "out")["one"]}
    assert run(inputs, folder, "--set", "column=description", "--overwrite") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label\tprompt\nM\tmembrane\nC\t \n", "prompts.tsv:3: an empty prompt"),
        ("label\tprompt\nM\tmembrane\nM\tcell\n", "'M' stands in line 2 too"),
        ("label\tprompt\nM\tmembrane\n", "1 texts where 2 are needed"),
        ("label\tprompt\nM\tmembrane\nC\t" + "word " * 10_000 + "\n", "a prompt of 50,000 characters"),
        ("label\tprompt\nM\tmembrane\nC\t\U0001f9ec\U0001f9ec\n", "no word that the model knows"),
        ("label\tdescription\nM\tmembrane\nC\tcell\n", "no column prompt or text or name"),
        ("", "the file is empty"),
    ],
)
def test_what_is_no_prompt_is_said(
    inputs: Path, folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (inputs / "prompts.tsv").write_text(text)
    assert run(inputs, folder) == 1
    assert said in capsys.readouterr().err


def test_a_long_prompt_is_cut_and_said_to_be(
    inputs: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (inputs / "prompts.tsv").write_text(PROMPTS + "long\t" + "nucleus " * 200 + "\n")
    with caplog.at_level("INFO"):
        assert run(inputs, folder) == 3
    assert "only the first 126 word pieces are read of long" in caplog.text


def test_what_cannot_read_text_says_so(inputs: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not read text"):
        load_protst("chaperonin/esm2-tiny")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).symlink_to(folder / name)
    with pytest.raises(WeightsError, match=r"no vocab.txt.*PubMedBERT|no vocab.txt.*BiomedBERT"):
        load_protst(str(bare)).text_vectors(["nucleus"])
    with pytest.raises(InputError, match="no such file"):
        read_prompts(tmp_path / "absent.tsv")


def test_a_class_may_be_called_by_a_sign_that_elsewhere_means_not_known() -> None:
    target = target_of([Prompt("?", "nucleus"), Prompt(".", "cytoplasm")])
    assert [int(target.encode(label, 1)) for label in "?."] == [0, 1]
