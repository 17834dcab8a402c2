"""Predicted against measured: peak memory and time of real runs in fresh processes, and laws of the prediction."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chaperonin.adapt.lora import LoraSettings, add_lora
from chaperonin.config import resolve
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.models.protst import ProtSTConfig
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.training.alignment import Alignment, read_pairs, training_stream
from chaperonin.training.alignment_forecast import look_ahead
from chaperonin.training.finetune import fit
from chaperonin.training.finetune_forecast import forecast
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.training.material import read_material
from chaperonin.training.tensor_memory import peak_bytes, taken_bytes
from chaperonin.training.tracking import duration
from chaperonin.weights.pretrained import save_folder

CPU = torch.device("cpu")
WITHIN = 0.15


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of eight narrow layers and sixty proteins: some hundred megabytes a batch, little work."""
    folder = tmp_path_factory.mktemp("inputs")
    model = ESM(ESMConfig(width=64, depth=8, heads=4, inner_width=256))
    model.initialise(torch.Generator().manual_seed(1))
    save_folder(LAYOUT, model, folder / "base")
    generator = np.random.default_rng(0)
    lines, records = ["id,sequence,label,stage"], []
    for number in range(60):
        sequence = "".join(generator.choice(list(STANDARD_RESIDUES), generator.integers(150, 450)))
        stage = ("train", "train", "train", "val", "test")[number // 2 % 5]
        lines.append(f"p{number},{sequence},{'MS'[number % 2]},{stage}")
        records.append(f">p{number}\n{sequence}\n")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "proteins.fasta").write_text("".join(records))
    return folder


def train(inputs: Path, folder: Path, source: str, *overrides: str) -> tuple[dict, str]:
    """run.json, and what was printed, of `chaperonin train` in a process of its own with one thread."""
    options = [part for override in overrides for part in ("--set", override)]
    program = "from chaperonin.cli.main import main; main()"
    arguments = ["train", str(inputs / source), str(folder), "--device", "cpu", *options]
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "run.json").read_text()), done.stderr


@pytest.mark.parametrize(
    "means",
    [
        ("means.method=full",),
        pytest.param(("means.method=lora",), marks=pytest.mark.slow),
        pytest.param(
            ("means.method=lora", "means.recompute=true", "training.accumulate=2", "training.precision=auto"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("means.method=full", "means.recompute=true", "training.accumulate=2"), marks=pytest.mark.slow
        ),
        pytest.param(("means.method=lora", "means.base=int8"), marks=pytest.mark.slow),
        pytest.param(("means.method=frozen",), marks=pytest.mark.slow),
    ],
    ids=lambda means: " ".join(means),
)
def test_fine_tuning_takes_what_was_predicted(inputs: Path, tmp_path: Path, means: tuple[str, ...]) -> None:
    usual = (f"model={inputs / 'base'}", "training.precision=fp32", "training.steps=2", "batch_size=8")
    usual += ("training.tight_memory=true",)
    run, _ = train(inputs, tmp_path / "run", "table.csv", *usual, *means)
    memory = run["memory"]
    assert memory["predicted_bytes"] == pytest.approx(memory["measured_bytes"], rel=WITHIN)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("method", "steps"),
    [
        pytest.param("full", 4, marks=pytest.mark.slow),
        pytest.param("lora", 4, marks=pytest.mark.slow),
        pytest.param("frozen", 500, marks=pytest.mark.slow),
    ],
)
def test_time_is_foreseen_within_a_factor_either_way(
    inputs: Path, tmp_path: Path, method: str, steps: int
) -> None:
    options = [f"means.method={method}", f"training.steps={steps}", "batch_size=32", "training.patience=0"]
    # As with data of usual size: of 36 proteins every other step ends an epoch, and writes a checkpoint.
    options += ["training.evaluate_every=50", "training.checkpoint_every=500"]
    own = resolved(inputs, *options)
    material = read_material(own.data, own.split, own.task, own.kind, own.classes)
    foreseen = forecast(own, material, CPU)
    assert str(foreseen).endswith(duration(foreseen.seconds))
    begun = time.perf_counter()
    fit(own, material, material.splits[0], tmp_path, CPU)
    took = time.perf_counter() - begun
    assert took / 3 < foreseen.seconds < 3 * took


@pytest.mark.slow
@pytest.mark.alone
def test_pre_training_takes_what_was_predicted(inputs: Path, tmp_path: Path) -> None:
    (inputs / "pretrain.yaml").write_text(
        f"model: {{width: 64, depth: 8, heads: 4, inner_width: 256}}\n"
        f"data: {{input: {inputs / 'proteins.fasta'}, batch_tokens: 8192, holdout_share: 0}}\n"
        "training: {steps: 6, precision: fp32, tight_memory: true}\n"
    )
    run, _ = train(inputs, tmp_path / "run", "pretrain.yaml")
    memory = run["memory"]
    assert memory["predicted_bytes"] == pytest.approx(memory["measured_bytes"], rel=WITHIN)


@pytest.fixture(scope="module")
def described(inputs: Path) -> Path:
    """A YAML file for a ProtST of the base and the sixty proteins, with texts of some words."""
    generator = np.random.default_rng(1)
    words = ["a", "soluble", "protein", "located", "in", "the", "membrane", "or", "nucleus", "of", "cells"]
    lines = ["sequence,text"]
    for row in (inputs / "table.csv").read_text().splitlines()[1:]:
        said = " ".join(generator.choice(words, generator.integers(5, 60)))
        lines.append(f"{row.split(',')[1]},{said}")
    (inputs / "pairs.csv").write_text("\n".join(lines) + "\n")
    (inputs / "protst.yaml").write_text(
        f"""
task: protein-text
model: {inputs / "base"}
space: 64
text: {{width: 64, depth: 2, heads: 2, vocabulary: 100}}
data: {{input: {inputs / "pairs.csv"}, batch_pairs: 8, window: 300, holdout_share: 0}}
training: {{steps: 4, precision: fp32, tight_memory: true}}
"""
    )
    return inputs / "protst.yaml"


@pytest.mark.slow
@pytest.mark.alone
def test_a_protst_takes_the_memory_and_time_that_were_predicted(described: Path, tmp_path: Path) -> None:
    run, said = train(described.parent, tmp_path / "run", described.name)
    memory = run["memory"]
    assert memory["predicted_bytes"] == pytest.approx(memory["measured_bytes"], rel=WITHIN)
    found = re.search(r"time, at this speed +([\d.]+) (s|min)$", said, re.MULTILINE)
    assert found
    foreseen = float(found[1]) * (60 if found[2] == "min" else 1)
    assert run["seconds"]["train"] / 3 < foreseen < 3 * run["seconds"]["train"]


def test_the_forecast_of_a_protst_has_seen_every_batch(described: Path) -> None:
    """Counted by drawing them: all tokens, and the batch with the longest proteins where texts count for nothing."""
    settings = resolve(Alignment, file=described, overrides=["training.steps=9", "training.accumulate=2"])
    stream = training_stream(settings, read_pairs(settings))
    text = {"hidden_size": 0, "num_hidden_layers": 0}
    ahead = look_ahead(stream, 18, ProtSTConfig(ESMConfig(width=64, depth=8), text))
    drawn = [next(stream) for _ in range(18)]
    sizes = [sum(len(pair.residues) + 2 for pair in batch) for batch in drawn]
    assert ahead.tokens == sum(sizes)
    assert ahead.epochs == 18 * 8 / 60
    assert sum(len(pair.residues) + 2 for pair in ahead.largest) == max(sizes)
    largest = drawn[sizes.index(max(sizes))]
    assert all(
        np.array_equal(ours.residues, theirs.residues)
        for ours, theirs in zip(ahead.largest, largest, strict=True)
    )


def resolved(inputs: Path, *overrides: str) -> FineTuning:
    """Settings for the base and the table."""
    usual = [f"model={inputs / 'base'}", f"data.input={inputs / 'table.csv'}", "training.precision=fp32"]
    return resolve(FineTuning, overrides=[*usual, *overrides])


def predicted(inputs: Path, *overrides: str) -> int:
    """Peak that is foreseen in this process."""
    own = resolved(inputs, "training.steps=4", *overrides)
    material = read_material(own.data, own.split, own.task, own.kind, own.classes)
    return forecast(own, material, CPU).memory_bytes


@pytest.mark.slow
def test_more_tokens_take_more_and_means_spare(inputs: Path) -> None:
    predicted(inputs, "means.method=lora", "batch_size=1")  # loads the libraries that all of them need
    many = predicted(inputs, "means.method=full", "batch_size=8")
    assert predicted(inputs, "means.method=full", "batch_size=2") < many
    assert predicted(inputs, "means.method=full", "batch_size=8", "training.accumulate=4") < many
    assert predicted(inputs, "means.method=full", "batch_size=8", "means.recompute=true") < many
    assert predicted(inputs, "means.method=frozen", "batch_size=8") < many


def test_adapters_take_less_than_all_weights_where_weights_weigh() -> None:
    """With few tokens: gradients of the whole model are more than what adapters keep."""
    model = ESM(ESMConfig(width=64, depth=2, heads=4, inner_width=256))
    tokens, segments = torch.tensor([0, 5, 6, 2]), Segments([4])
    full = peak_bytes(model, lambda: model(tokens, segments).sum().backward())
    add_lora(model, LoraSettings(rank=4))
    assert peak_bytes(model, lambda: model(tokens, segments).sum().backward()) < full / 2


@pytest.mark.parametrize("bytes_of", [peak_bytes, taken_bytes])
def test_what_is_foreseen_is_what_pytorch_takes(bytes_of: Callable[..., int]) -> None:
    """Counted by hand: two products of which the first stays for the way back, and the gradient of the weight."""
    weight = nn.Linear(1000, 1000, bias=False)
    x = torch.randn(500, 1000)
    product = 4 * 500 * 1000
    assert bytes_of(weight, lambda: weight(x)) == product
    assert bytes_of(weight, lambda: weight(weight(x))) == 2 * product
    assert bytes_of(weight, lambda: weight(x).square().sum().backward()) >= 2 * product + weight.weight.nbytes
    assert weight.weight.grad is None
