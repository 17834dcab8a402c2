"""Classes in words judged on labelled proteins: the published recipe, what a label may name, and what is refused."""

import csv
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, matthews_corrcoef
from tests.inference.published_localization import TEXTS, write_prompts, write_split
from tests.inference.tiny_protst import published_choice, write_protst
from tests.models.published_protst import Published
from transformers import BertTokenizerFast

from chaperonin.cli.main import main
from chaperonin.data.labelled import Dataset, Example
from chaperonin.data.prompts import Prompt, read_prompts
from chaperonin.errors import InputError
from chaperonin.inference.assess_zero_shot import ZeroShotEvaluation, evaluate_zero_shot_job, named
from chaperonin.inference.protst import load_protst
from chaperonin.protein.alphabet import ESM_ALPHABET

CONFIG = Path(__file__).parents[2] / "configs/protst-zero-shot-localization.yaml"


def sequence(number: int) -> str:
    """Of four letters, so that the model does not say the same of all."""
    generator = np.random.default_rng(number)
    letters = generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), 4, replace=False)
    return "".join(generator.choice(letters, 12 + 9 * number))


SEQUENCES = [*map(sequence, range(30)), "MKTAYIAKQR" * 110]


@pytest.fixture(scope="module")
def protst(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Published]:
    folder = tmp_path_factory.mktemp("protst") / "protst"
    return folder, write_protst(folder, seed=1)


@pytest.fixture(scope="module")
def choices(protst: tuple[Path, Published]) -> list[int]:
    """What the published evaluation chooses for each sequence."""
    folder, model = protst
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    prompts = [
        torch.tensor([tokenizer.cls_token_id, *tokenizer.encode(text, add_special_tokens=False)])
        for text in TEXTS
    ]
    tokens = [torch.from_numpy(ESM_ALPHABET.encode(sequence[:1022])) for sequence in SEQUENCES]
    return [int(published_choice(model, own, prompts).argmax()) for own in tokens]


@pytest.fixture
def labels(choices: list[int]) -> list[int]:
    """Of which two in three are chosen."""
    return [choice if number % 3 else (choice + 1) % 10 for number, choice in enumerate(choices)]


@pytest.fixture
def inputs(
    protst: tuple[Path, Published], labels: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Where the files of the recipe lie, under the names that it gives them."""
    (tmp_path / "protst").symlink_to(protst[0])
    for name in ("subloc_template.tsv", "subloc_template.csv"):
        write_prompts(tmp_path / name)
    write_split(tmp_path / "test.parquet", SEQUENCES, labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(outdir: Path) -> list[dict[str, str]]:
    with (outdir / "predictions.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def metrics(outdir: Path) -> dict:
    return json.loads((outdir / "metrics.json").read_text())


def failures(outdir: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (outdir / "failures.jsonl").read_text().splitlines()]


SHORT = ("--precision", "fp32", "--set", "device=cpu", "--set", "draws=50")


def test_the_recipe_measures_what_the_published_evaluation_does(
    inputs: Path, choices: list[int], labels: list[int]
) -> None:
    words = ["evaluate", "test.parquet", "out", "--config", str(CONFIG), *SHORT]
    assert main(words) == 0
    assert len(set(choices)) > 1
    judged, told = metrics(inputs / "out"), rows(inputs / "out")
    assert [row["label"] for row in told] == [TEXTS[choice].strip() for choice in choices]
    assert [row["truth"] for row in told] == [TEXTS[label].strip() for label in labels]
    accuracy, mcc = accuracy_score(labels, choices), matthews_corrcoef(labels, choices)
    assert 0 < accuracy < 1
    assert judged["result"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert judged["result"]["mcc"]["value"] == pytest.approx(mcc)
    page = (inputs / "out/report.html").read_text()
    (row,) = re.findall(r'<th scope="row">accuracy</th>(.*?)</tr>', page)
    shown = [float(cell.split()[0]) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", row)]
    majority = np.bincount(labels).max() / len(labels)
    assert shown == pytest.approx([accuracy, majority, 0.1], abs=5e-4)
    for said in (
        "Evaluation",
        "Classes in words",
        "Confusion matrix",
        "look at no protein",
        ">Golgi apparatus.<",
    ):
        assert said in page
    assert "logistic regression" not in page and "Calibrated on" not in page
    assert json.loads((inputs / "out/run.json").read_text())["config"]["compat"] == "published"


def test_the_formats_are_found_without_naming_their_columns(inputs: Path) -> None:
    words = ["evaluate", "test.parquet", "--prompts", "subloc_template.tsv", "--model", "protst", *SHORT]
    assert main([*words[:2], "short", *words[2:], "--set", "compat=published"]) == 0
    assert main([*words[:2], "out", "--config", str(CONFIG), *SHORT]) == 0
    assert metrics(inputs / "short") == metrics(inputs / "out")
    assert rows(inputs / "short") == rows(inputs / "out")


def test_guessing_is_the_figure_to_beat(inputs: Path, labels: list[int]) -> None:
    assert main(["evaluate", "test.parquet", "out", "--config", str(CONFIG), *SHORT]) == 0
    baselines = metrics(inputs / "out")["baselines"]
    most = np.bincount(labels).argmax()
    assert baselines["majority"]["accuracy"]["value"] == pytest.approx(np.mean(np.array(labels) == most))
    assert baselines["majority"]["mcc"]["value"] == 0
    # Any class alike: the mean over all classes of always saying that one.
    said = [np.full(len(labels), number) for number in range(10)]
    assert baselines["chance"]["accuracy"]["value"] == pytest.approx(
        np.mean([accuracy_score(labels, own) for own in said])
    )


def test_two_classes_are_binary(inputs: Path) -> None:
    (inputs / "two.tsv").write_text("label\tprompt\nS\tcytoplasm soluble\nM\tlocated in the cell membrane\n")
    lines = [f"p{number},{own},{'SM'[number % 2]},{number}" for number, own in enumerate(SEQUENCES)]
    (inputs / "two.csv").write_text("\n".join(["id,sequence,label,other", *lines]) + "\n")
    assert main(["evaluate", "two.csv", "out", "--prompts", "two.tsv", "--model", "protst", *SHORT]) == 0
    judged, told = metrics(inputs / "out"), rows(inputs / "out")
    assert judged["target"]["kind"] == "binary"
    expected = matthews_corrcoef([row["truth"] for row in told], [row["label"] for row in told])
    assert judged["result"]["mcc"]["value"] == pytest.approx(expected)


def test_a_label_that_names_no_prompt_fails_alone(inputs: Path, labels: list[int]) -> None:
    lines = [f"p{number},{own},{labels[number]}.0" for number, own in enumerate(SEQUENCES)]
    lines[3:6] = ["high,MKTAYIAKQR,10.0", "word,MKTAYIAKQR,Nucleus", "none,MKTAYIAKQR,"]
    (inputs / "in.csv").write_text("\n".join(["id,prot_seq,localization", *lines]) + "\n")
    assert main(["evaluate", "in.csv", "out", "--config", str(CONFIG), *SHORT]) == 3
    assert metrics(inputs / "out")["parts"] == {"test": len(SEQUENCES) - 3}
    found = {one["id"]: one for one in failures(inputs / "out")}
    assert list(found) == ["high", "word", "none"]
    assert found["high"]["error"] == "the label '10.0' names no prompt"
    assert found["word"]["where"] == "in.csv:6" and "'0', '1', '2'" in found["word"]["advice"]
    assert "missing" in found["none"]["error"]


def dataset(*labels: str) -> Dataset:
    return Dataset(
        [Example(n, f"p{n}", "MKT", own, "", f"in.csv:{n}") for n, own in enumerate(labels, 2)], []
    )


ODD = [Prompt("1", "one", "0"), Prompt("2", "two", "1"), Prompt("3", "three", "2")]
WORDS = [Prompt("M", "membrane"), Prompt("S", "soluble")]


@pytest.mark.parametrize(
    ("prompts", "labels", "expected"),
    [
        (WORDS, "M S", "M S"),
        (ODD, "1 2 3", "1 2 3"),  # labels
        (ODD, "0 1 2", "1 2 3"),  # ids: more records are named so
        (ODD, "1 2", "1 2"),  # both would do: labels
        (ODD, "0 0 0 3 1", "1 1 1 - 2"),  # one way for all records
        ([Prompt("M", "m", "7"), Prompt("S", "s", "07")], "M S", "M S"),  # ids that are none
        ([Prompt("M", "m", "7"), Prompt("S", "s", "")], "7 M", "- M"),
    ],
)
def test_labels_or_ids_name_the_prompts_of_a_whole_table(
    prompts: list[Prompt], labels: str, expected: str
) -> None:
    found = named(dataset(*labels.split()), prompts, "in.csv")
    assert [one.label for one in found.examples] == [own for own in expected.split() if own != "-"]
    assert len(found.rejected) == expected.count("-")


def test_no_label_at_all_names_a_prompt(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        InputError, match=r"in.csv: no label names a prompt; the labels are 'A', 'B'"
    ) as caught:
        named(dataset("A", "B", "A"), WORDS, "in.csv")
    assert "The prompts are 'M', 'S'." in caught.value.advice
    (inputs / "words.tsv").write_text("label\tprompt\nM\tmembrane\nC\tcell\n")
    words = ["evaluate", "test.parquet", "out", "--prompts", "words.tsv", "--model", "protst"]
    assert main(words) == 1
    assert "no label names a prompt" in capsys.readouterr().err
    assert not (inputs / "out").exists()


def test_only_one_stage(inputs: Path) -> None:
    lines = [f"{own},{number % 10},{('train', 'test')[number % 2]}" for number, own in enumerate(SEQUENCES)]
    # What another stage is labelled with does not count.
    lines = [line.replace(",0,train", ",odd,train") for line in lines]
    (inputs / "in.csv").write_text("\n".join(["prot_seq,localization,stage", *lines]) + "\n")
    words = ["evaluate", "in.csv", "out", "--config", str(CONFIG), "--stage", "test", *SHORT]
    assert main(words) == 0
    assert {row["stage"] for row in rows(inputs / "out")} == {"test"}
    assert metrics(inputs / "out")["parts"] == {"test": len(SEQUENCES) // 2}


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_protst("protst", "fp32", "cpu")
    settings = ZeroShotEvaluation(
        prompts="subloc_template.tsv", compat="published", draws=20, batch_tokens=200
    )
    source = Path("test.parquet")
    evaluate_zero_shot_job(model, source, Path("whole"), settings)
    monkeypatch.setattr("chaperonin.inference.jobs.FLUSH_BYTES", 1)
    child = os.fork()
    if child == 0:
        real, left = type(model).protein_vectors, 4

        def dying(*arguments: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)  # type: ignore[arg-type]

        type(model).protein_vectors = dying  # type: ignore[assignment,method-assign]
        torch.set_num_threads(1)
        evaluate_zero_shot_job(model, source, Path("killed"), settings)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not Path("killed/metrics.json").exists()
    evaluate_zero_shot_job(model, source, Path("killed"), settings)
    for name in ("predictions.csv", "metrics.json", "failures.jsonl"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()


def test_other_prompts_are_another_job(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "test.parquet", "out", "--config", str(CONFIG), *SHORT]
    assert main(words) == 0 and main(words) == 0
    assert main([*words, "--set", "column=description"]) == 1
    assert "other settings" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "test.parquet", "out", "--config", str(CONFIG), *SHORT, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "compat: published" in said and f"{len(SEQUENCES)} distinct sequences" in said
    assert not (inputs / "out").exists()


def test_what_does_not_go_together_is_said(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = ["--prompts", "subloc_template.tsv"]
    for words, said in (
        ([*prompts, "--reference", "test.parquet"], "--prompts is for labelled proteins, --reference for"),
        ([*prompts, "--model", "chaperonin/esm2-tiny"], "does not read text"),
        ([*prompts, "--model", "chaperonin/esm2-tiny-membrane"], "does not read text"),
        (["--model", "protst"], "--prompts run a ProtST"),
        (["--prompts", "absent.tsv", "--model", "protst"], "absent.tsv: no such file"),
        (["--set", "prompts=absent.tsv"], "absent.tsv: no such file"),
        (["--set", 'prompts=""'], "no prompts"),
    ):
        assert main(["evaluate", "test.parquet", "out", *words]) == 1
        assert said in capsys.readouterr().err, words
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["subloc_template.tsv", "subloc_template.csv"])
def test_ids_of_the_published_prompts(inputs: Path, name: str) -> None:
    prompts = read_prompts(name)
    assert [prompt.text for prompt in prompts] == list(TEXTS)
    assert [prompt.id for prompt in prompts] == list("0123456789")
