"""./go bench aido_pretraining: a mixture of experts beside a dense model of as many active parameters.

Both are pre-trained by the shipped recipes on the same tokens and seed, judged on the same held-out clusters, and
timed in turn. Prints a table, writes results.json and a figure of which residue goes to which expert. A quarter of an
hour on one core beside other work; a run that is stopped goes on.

    ./go bench aido_pretraining --out runs/aido_pretraining
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.aido_routing import RESIDUES, information, residue_choices, routing_figure
from benchmarks.setting import add_data_option
from benchmarks.table import machine
from chaperonin.config import resolve
from chaperonin.files import write_atomically
from chaperonin.models.aido import AIDO
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES
from chaperonin.report.style import save_png
from chaperonin.tasks.masked_language import MASKED, REPLACED
from chaperonin.training.architecture import count_parameters, layout
from chaperonin.training.loop import Training
from chaperonin.training.pretrain import (
    MODEL_FOLDER,
    Corpus,
    Pretraining,
    evaluation_batches,
    new_model,
    new_task,
    pretrain,
    read_corpus,
    training_stream,
)
from chaperonin.training.tracking import perplexity, read_metrics
from chaperonin.weights.pretrained import load_folder

CONFIGS = Path(__file__).parents[1] / "configs"
SIDES = {"mixture": "aido-tiny-moe", "dense": "aido-tiny-dense"}
CPU = torch.device("cpu")
Figures = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Train both, time both, look where tokens go, print and write; returns the exit code."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    facts = machine(options.threads)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs = {name: settings_of(config, options.data, options.steps) for name, config in SIDES.items()}
    corpus = read_corpus(runs["mixture"])
    found = {name: trained(settings, corpus, options.out / name) for name, settings in runs.items()}
    for name, speeds in interleaved_speeds(runs, corpus, options.rounds).items():
        found[name]["tokens_per_second"] = speeds
    batches = evaluation_batches(corpus, runs["mixture"].data)
    model = load_folder(layout(runs["mixture"].model), options.out / "mixture" / MODEL_FOLDER)
    assert isinstance(model, AIDO)
    choices = residue_choices(model, batches)
    found["mixture"]["choices"] = {"residues": RESIDUES, "layers": [own.tolist() for own in choices]}
    found["mixture"]["bits"] = [information(own) for own in choices]
    found["frequencies"] = {"held_out_perplexity": frequency_perplexity(corpus, runs["mixture"])}
    save_png(options.out / "experts.png", routing_figure(choices))
    write_atomically(options.out / "results.json", json.dumps({**found, "machine": facts}, indent=2) + "\n")
    print(as_text(found))
    return 0


def settings_of(config: str, data: Path, steps: int | None) -> Pretraining:
    """A shipped recipe on this machine's data; other steps shorten its warm-up with it."""
    options = {"data.input": str(data / "sequences" / "*.fasta.gz"), "training.steps": steps}
    settings = resolve(Pretraining, file=CONFIGS / f"{config}.yaml", options=options)
    warmup = min(settings.training.schedule.warmup_steps, settings.training.steps // 5)
    schedule = replace(settings.training.schedule, warmup_steps=warmup)
    return replace(settings, training=replace(settings.training, schedule=schedule))


def trained(settings: Pretraining, corpus: Corpus, folder: Path) -> Figures:
    """One side's run, and what its log says of its end."""
    folder.mkdir(parents=True, exist_ok=True)
    outcome = pretrain(settings, corpus, folder, CPU)
    parameters = count_parameters(settings.model)
    last = [line for line in read_metrics(folder / "metrics.jsonl") if line["event"] == "evaluate"][-1]
    held_out = {name: value for name, value in last.items() if name.startswith("held_out_")}
    return {
        "parameters": parameters.total,
        "active": parameters.active,
        "tokens": outcome.tokens,
        "seconds": outcome.seconds,
        **held_out,
    }


def interleaved_speeds(runs: dict[str, Pretraining], corpus: Corpus, rounds: int) -> dict[str, list[float]]:
    """Tokens a second of each side, step by step in turn: what else the machine does meets both."""
    trainings = {}
    for name, settings in runs.items():
        model = new_model(settings, CPU)
        task, stream = new_task(settings, model), training_stream(corpus, settings)
        trainings[name] = Training(model, task, stream, [], settings.training)
        trainings[name].step()
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, training in trainings.items():
            tokens, began = training.progress.tokens, time.perf_counter()
            training.step()
            speeds[name].append((training.progress.tokens - tokens) / (time.perf_counter() - began))
    return speeds


def frequency_perplexity(corpus: Corpus, settings: Pretraining) -> float:
    """Of the residues of the evaluations, for one who knows how frequent each is among those that train.

    And who knows how residues are hidden: one that is shown is the true one, or a random one in its place.
    """
    standard = ESM_ALPHABET.indices(STANDARD_RESIDUES)
    training = corpus.sequences.choose(corpus.parts.training).residues
    counts = np.bincount(training, minlength=256)[standard]
    judged = np.concatenate([own for batch in evaluation_batches(corpus, settings.data) for own in batch])
    seen = np.bincount(judged, minlength=256)[standard]
    return perplexity(float((seen * hidden_losses(counts / counts.sum())).sum() / seen.sum()))


def hidden_losses(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected loss of each residue where nothing but frequencies and what stands in its place are known."""
    count = len(frequencies)
    shown = REPLACED / count + (1 - MASKED - REPLACED) * np.eye(count)  # [truth, what stands there]
    joint = frequencies[:, None] * shown
    told = -np.log(joint / joint.sum(axis=0))
    return MASKED * -np.log(frequencies) + (shown * told).sum(axis=1)


def as_text(found: Figures) -> str:
    """The comparison, and the use of the experts, as Markdown."""
    mixture, dense = found["mixture"], found["dense"]
    rows: list[tuple[str, Callable[[Figures], str]]] = [
        ("parameters", lambda own: f"{own['parameters']:,}"),
        ("of which a token goes through", lambda own: f"{own['active']:,}"),
        ("tokens trained on", lambda own: f"{own['tokens']:,}"),
        ("held-out perplexity", lambda own: f"{own['held_out_perplexity']:.2f}"),
        ("held-out accuracy", lambda own: f"{own['held_out_accuracy']:.4f}"),
        ("tokens/s, median of steps in turn", lambda own: f"{median(own['tokens_per_second']):,.0f}"),
    ]
    lines = [
        "| | mixture | dense |",
        "|---|---|---|",
        *(f"| {name} | {say(mixture)} | {say(dense)} |" for name, say in rows),
    ]
    frequencies = found["frequencies"]["held_out_perplexity"]
    lines += [
        "",
        f"Knowing only how frequent each residue is, and how they are hidden: {frequencies:.2f}.",
        "",
    ]
    lines += [
        "| layer | busiest expert | idlest expert | evenness | bits a choice says of its residue |",
        "|---|---|---|---|---|",
    ]
    for number, bits in enumerate(mixture["bits"], start=1):
        shares = [
            f"{mixture[f'held_out_{name}_expert_of_layer_{number}']:.3f}" for name in ("busiest", "idlest")
        ]
        evenness = mixture[f"held_out_expert_evenness_of_layer_{number}"]
        lines.append(f"| {number} | {' | '.join(shares)} | {evenness:.3f} | {bits:.2f} |")
    return "\n".join(lines)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./go bench aido_pretraining", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/aido_pretraining"), help="where everything goes"
    )
    parser.add_argument("--steps", type=int, help="of each training; by default the recipes'")
    parser.add_argument("--rounds", type=int, default=10, help="steps of each side that are timed")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    add_data_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
