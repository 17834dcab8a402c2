"""Fine-tuning on the protein tower of a ProtST, with the published head, by every method."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score
from tests.inference.published_localization import write_parts
from tests.inference.tiny_protst import write_protst
from tests.models.published_protst import Published

from chaperonin.cli.main import main
from chaperonin.errors import WeightsError
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.tasks.encoder import read_encoder

CONFIG = Path(__file__).parents[2] / "configs/protst-binary-localization.yaml"


@pytest.fixture(scope="module")
def protst(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Published]:
    folder = tmp_path_factory.mktemp("base") / "protst"
    return folder, write_protst(folder)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(2)
    lines = ["id,sequence,label,stage"]
    for number in range(60):
        letters = "AILMFVWC" if number % 2 else "DEKRNQST"
        stage = ("train", "train", "train", "val", "test")[number // 2 % 5]
        lines.append(f"p{number},{''.join(generator.choice(list(letters), 25))},{'SM'[number % 2]},{stage}")
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def predictions(folder: Path) -> dict[str, str]:
    with (folder / "predictions.csv").open(newline="") as lines:
        return {row["id"]: row["label"] for row in csv.DictReader(lines)}


@pytest.mark.parametrize("method", ["frozen", "lora", "full"])
def test_the_tower_is_trained_with_the_published_head(
    protst: tuple[Path, Published], table: Path, tmp_path: Path, method: str
) -> None:
    words = ["train", str(table), str(tmp_path / "out"), "--model", str(protst[0]), "--device", "cpu"]
    for setting in (f"means.method={method}", "head.hidden=relu", "epochs=4", "training.precision=fp32"):
        words += ["--set", setting]
    assert main(words) == 0
    head = load_file(tmp_path / "out/model/head.safetensors")
    assert {name: tuple(own.shape) for name, own in head.items()} == {
        "dense.weight": (40, 40), "dense.bias": (40,), "out_proj.weight": (1, 40), "out_proj.bias": (1,)
    }  # fmt: skip
    figures = json.loads((tmp_path / "out/metrics.json").read_text())
    assert figures["parts"]["test"] == 12
    assert main(["predict", str(table), str(tmp_path / "told"), "--model", str(tmp_path / "out/model")]) == 0
    told = predictions(tmp_path / "told")
    assert len(told) == 60
    expected = {row: label for row, label in predictions(tmp_path / "out").items()}
    assert all(told[id] == label for id, label in expected.items())


def test_the_head_reads_the_published_tower(
    protst: tuple[Path, Published], table: Path, tmp_path: Path
) -> None:
    """Frozen: logits are those of the published classifier on transformers' ESM, up to the fitted temperature."""
    words = ["train", str(table), str(tmp_path / "out"), "--model", str(protst[0]), "--device", "cpu"]
    words += ["--set", "means.method=frozen", "--set", "head.hidden=relu", "--set", "epochs=2"]
    assert main([*words, "--set", "training.precision=fp32"]) == 0
    head = load_file(tmp_path / "out/model/head.safetensors")
    published = protst[1]
    assert main(["predict", str(table), str(tmp_path / "told"), "--model", str(tmp_path / "out/model")]) == 0
    told = predictions(tmp_path / "told")
    classes = json.loads((tmp_path / "out/model/task.json").read_text())["target"]["classes"]
    judged = 0
    with table.open(newline="") as lines, torch.inference_mode():
        for row in csv.DictReader(lines):
            tokens = torch.from_numpy(ESM_ALPHABET.encode(row["sequence"]))
            hidden = published.esm(tokens[None], torch.ones_like(tokens[None])).last_hidden_state[0, 1:-1]
            inner = (head["dense.weight"] @ hidden.mean(0) + head["dense.bias"]).relu()
            logit = float(head["out_proj.weight"][0] @ inner + head["out_proj.bias"][0])
            if abs(logit) > 1e-4:
                judged += 1
                assert told[row["id"]] == classes[logit > 0]
    assert judged > 50


def test_of_a_protst_the_tower_alone_is_kept(protst: tuple[Path, Published], tmp_path: Path) -> None:
    tower = read_encoder(protst[0])
    expected = dict(protst[1].esm.named_parameters())["embeddings.word_embeddings.weight"]
    assert torch.equal(tower.embedding.word.weight, expected)
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "config.json").write_text((protst[0] / "config.json").read_text())
    from safetensors.torch import save_file

    save_file(
        load_file(protst[0] / "model.safetensors") | {"strange.weight": torch.ones(2)},
        odd / "model.safetensors",
    )
    with pytest.raises(WeightsError, match=r"strange\.weight"):
        read_encoder(odd)


def test_the_published_recipe_trains_the_head_on_the_three_files(
    protst: tuple[Path, Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "protst").symlink_to(protst[0])
    write_parts(tmp_path / "ProtST-BinaryLocalization", {"train": 60, "validation": 20, "test": 24})
    monkeypatch.chdir(tmp_path)
    words = ["train", str(CONFIG), "out", "--device", "cpu", "--set", "epochs=6"]
    assert main([*words, "--set", "training.precision=fp32", "--set", "training.log_every=1"]) == 0
    figures = json.loads(Path("out/metrics.json").read_text())
    assert figures["parts"] == {"training": 60, "validation": 20, "test": 24} and figures["split"] == "given"
    events = [json.loads(line) for line in Path("out/metrics.jsonl").read_text().splitlines()]
    rates = [event["learning_rate"] for event in events if "learning_rate" in event]
    assert len(rates) == 11 and set(rates) == {5e-5}  # 6 passes over 60 proteins, 32 a step
    head = load_file("out/model/head.safetensors")
    assert head["dense.weight"].shape == (40, 40) and head["out_proj.weight"].shape == (2, 40)
    truth, chosen = [], []
    part = Path("ProtST-BinaryLocalization/binary-localization_test.csv")
    with part.open(newline="") as lines, torch.inference_mode():
        for row in csv.DictReader(lines):
            tokens = torch.from_numpy(ESM_ALPHABET.encode(row["prot_seq"].replace(" ", "")))
            hidden = protst[1].esm(tokens[None], torch.ones_like(tokens[None])).last_hidden_state[0, 1:-1]
            inner = (head["dense.weight"] @ hidden.mean(0) + head["dense.bias"]).relu()
            chosen.append(int((head["out_proj.weight"] @ inner + head["out_proj.bias"]).argmax()))
            truth.append(int(row["localization"]))
    assert figures["result"]["accuracy"]["value"] == pytest.approx(accuracy_score(truth, chosen))
