"""./go bench proteingym_supervised: ProteinGym's supervised task on real assays, with the bundled model.

Read are the twelve assays of the data folder that cost least (variants × residues) among those with 200 variants or
more, and one of insertions and deletions (of which every sixth variant, as its protein is long). Five folds, drawn with
seed 0: the data folder has no fold columns. A head on the frozen model by the published recipe, the same head on
standardised vectors, a ridge regression on residues, BLOSUM62. Then LoRA on every fifth variant of one assay, in few
steps. Prints tables, writes JSON.

    ./go bench proteingym_supervised                    everything
    ./go bench proteingym_supervised --parts frozen     without LoRA
    ./go bench proteingym_supervised --quick            made-up assays and few steps: tries the benchmark itself
"""

import argparse
import csv
import gzip
import json
import os
import random
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.setting import add_data_option, residues
from benchmarks.table import load_average, machine, write

COUNT = 12
LEAST_VARIANTS = 200
INDELS, EVERY_INDEL = "A4_HUMAN_Seuma_2022_indels", 6
LORA, EVERY_LORA = "IF1_ECOLI_Kelsic_2016", 5
LORA_STEPS, LORA_RATE = 30, 1e-3
"""The published recipe has up to 10,000 steps at 1e-4, which take hours on a CPU."""
PREDICTORS = {"": "model", "one_hot_ridge_": "ridge", "BLOSUM62_": "BLOSUM62"}
"""Prefix of the columns in assays.csv → name in the tables."""


@dataclass(frozen=True)
class Source:
    """A table of an assay in the data folder, and its name in ProteinGym v1."""

    path: Path
    name: str
    cost: int


def cheapest(data: Path) -> list[Source]:
    """The assays of substitutions that cost least, by the manifest beside them."""
    folder = data / "dms"
    with (folder / "MANIFEST_singles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sources = [
        Source(
            folder / "substitutions_singles" / f"{row['DMS_id']}.csv.gz",
            _likest(row["DMS_id"], row["v1_same_target_and_year"].split(";")),
            int(row["rows"]) * int(row["seq_len"]),
        )
        for row in rows
        if int(row["rows"]) >= LEAST_VARIANTS and row["v1_same_target_and_year"]
    ]
    return sorted(sources, key=lambda source: source.cost)[:COUNT]


def _likest(name: str, candidates: list[str]) -> str:
    """The candidate that shares most words with the name that the assay had before v1."""
    return max(candidates, key=lambda candidate: len(set(candidate.split("_")) & set(name.split("_"))))


def copy_assays(data: Path, folder: Path) -> None:
    """The chosen tables under the names of ProteinGym v1, which its reference file knows."""
    for source in cheapest(data):
        write_table(folder / f"{source.name}.csv", read_lines(source.path))
    lines = read_lines(data / "dms" / "indels" / f"{INDELS}.csv.gz")
    write_table(folder / f"{INDELS}.csv", [lines[0], *lines[1::EVERY_INDEL]])


def read_lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def write_table(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_up(folder: Path) -> None:
    """Two small assays that mean nothing."""
    draw = random.Random(0)
    for name in ("MADE_UP_1", "MADE_UP_2"):
        protein = residues(20, draw)
        lines = ["mutant,mutated_sequence,DMS_score"]
        for place in range(20):
            for letter in draw.sample([one for one in "ACDEFGHIKLMNPQRSTVWY" if one != protein[place]], 2):
                changed = protein[:place] + letter + protein[place + 1 :]
                lines.append(f"{protein[place]}{place + 1}{letter},{changed},{draw.gauss(place, 1):.3f}")
        write_table(folder / f"{name}.csv", lines)


def reference_of(data: Path, folder: Path) -> str:
    """Both reference files of ProteinGym as one."""
    rows: list[dict[str, str]] = []
    for name in ("DMS_substitutions.csv", "DMS_indels.csv"):
        with (data / "dms" / "reference" / name).open(encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    columns = ("DMS_id", "UniProt_ID", "taxon", "target_seq", "MSA_Neff_L_category", "coarse_selection_type")
    path = folder / "reference.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    return str(path)


def run(settings: Any, source: Path, outdir: Path) -> dict[str, list[dict[str, str]]]:
    """One benchmark as the command runs it; rows of its two tables."""
    from chaperonin.inference.load import load
    from chaperonin.inference.proteingym import supervised_job
    from chaperonin.training.fitness import FoldLearner

    model = load(settings.model, precision=settings.precision, device="cpu")
    learn = FoldLearner(settings.model, next(model.parameters()).device, settings.recipes, settings.seed)
    supervised_job(model, learn, source, outdir, settings)
    tables = {}
    for name in ("assays", "summary"):
        with (outdir / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    return tables


def frozen(options: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """The head on the frozen model, on vectors as they are and on standardised ones."""
    from chaperonin.inference.proteingym import SupervisedSettings
    from chaperonin.tasks.fitness import FrozenRecipe, Recipes

    source = scratch / "assays"
    if options.quick:
        make_up(source)
    else:
        copy_assays(options.data, source)
    steps = 10 if options.quick else FrozenRecipe().steps
    recipe = FrozenRecipe(steps=steps)
    settings = SupervisedSettings(
        method="frozen",
        reference=None if options.quick else reference_of(options.data, scratch),
        vectors=str(scratch / "vectors"),
        recipes=Recipes(frozen=recipe),
    )
    plain = run(settings, source, scratch / "frozen")
    scaled_recipes = Recipes(frozen=replace(recipe, standardised=True))
    scaled = run(replace(settings, recipes=scaled_recipes), source, scratch / "standardised")
    merged = [
        {**row, **{f"standardised_{name}": other[name] for name in ("Spearman", "MSE")}}
        for row, other in zip(plain["assays"], scaled["assays"], strict=True)
    ]
    columns = {"": "model", "standardised_": "standardised", **PREDICTORS}
    averages = [*plain["summary"], *(row for row in scaled["summary"] if "/" in row["Model_name"])]
    text = f"{assay_table(merged, columns)}\n\n{average_table(plain['summary'], scaled['summary'])}"
    return text, {"assays": merged, "summary": averages}


def lora(options: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """LoRA on some variants of one assay, and the head on the frozen model on the same folds."""
    from chaperonin.inference.proteingym import SupervisedSettings
    from chaperonin.tasks.fitness import FrozenRecipe, LoraRecipe, Recipes

    source = scratch / "lora-assays"
    if options.quick:
        make_up(source)
        (source / "MADE_UP_2.csv").unlink()
    else:
        lines = read_lines(options.data / "dms" / "substitutions_singles" / f"{LORA}.csv.gz")
        write_table(source / f"{LORA}.csv", [lines[0], *lines[1::EVERY_LORA]])
    steps = 1 if options.quick else LORA_STEPS
    recipes = Recipes(
        FrozenRecipe(steps=10 if options.quick else 1000),
        LoraRecipe(steps=steps, learning_rate=LORA_RATE, patience=0),
    )
    settings = SupervisedSettings(method="lora", recipes=recipes)
    trained = run(settings, source, scratch / "lora")["assays"]
    plain = run(replace(settings, method="frozen"), source, scratch / "lora-frozen")["assays"]
    merged = [
        {**row, **{f"frozen_{name}": other[name] for name in ("Spearman", "MSE")}}
        for row, other in zip(trained, plain, strict=True)
    ]
    columns = {"": "LoRA", "frozen_": "frozen", "one_hot_ridge_": "ridge", "BLOSUM62_": "BLOSUM62"}
    return assay_table(merged, columns), {"assays": merged, "steps": steps, "learning_rate": LORA_RATE}


def assay_table(rows: list[dict[str, str]], columns: dict[str, str]) -> str:
    """Spearman and MSE of each predictor, a line for each assay."""
    names = list(columns.values())
    lines = [
        f"| assay | variants | {' | '.join(f'{name} ρ | MSE' for name in names)} |",
        "|---|---" + "|---:" * (2 * len(names)) + "|",
    ]
    for row in rows:
        cells = [shown(row[f"{prefix}{metric}"]) for prefix in columns for metric in ("Spearman", "MSE")]
        lines.append(f"| {row['DMS_id']} | {int(row['variants']):,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def average_table(plain: list[dict[str, str]], scaled: list[dict[str, str]]) -> str:
    """Averages over assays, as ProteinGym makes them where its reference file is given."""
    found: dict[str, dict[str, str]] = {}
    for rows, ending in ((plain, ""), (scaled, ", standardised")):
        for row in rows:
            is_model = "/" in row["Model_name"]
            if is_model or not ending:
                own = found.setdefault(row["Model_name"] + ending, {"assays": row["assays"]})
                own[row["metric"]] = shown(row["Average"])
    lines = [
        f"| average over {plain[0]['average_over']} | assays | Spearman | MSE |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {row['assays']} | {row['Spearman']} | {row['MSE']} |" for name, row in found.items()
    ]
    return "\n".join(lines)


def shown(cell: str) -> str:
    return f"{float(cell):.3f}" if cell else "–"


PARTS = {"frozen": frozen, "lora": lora}
"""Name for `--parts` → what runs it."""


def main(arguments: list[str]) -> int:
    """Run, print, write."""
    options = _parse(arguments)
    names = options.parts.split(",") if options.parts else list(PARTS)
    if unknown := sorted(set(names) - set(PARTS)):
        print(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 1
    if not options.quick and not (options.data / "dms").is_dir():
        print(f"no assays in {options.data / 'dms'}: name the folder of real data by --data", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    facts = machine(options.threads)
    found: dict[str, Any] = {}
    for name in names:
        print(f"running {name}", file=sys.stderr, flush=True)
        text, found[name] = PARTS[name](options, options.scratch)
        print(f"{text}\n", flush=True)
    facts["load_average_at_end"] = load_average()
    print(f"{facts['processor']}, {options.threads} threads, PyTorch {facts['versions']['torch']}")
    write(options.out, json.dumps({"machine": facts, **found}, indent=2, ensure_ascii=False) + "\n")
    shutil.rmtree(options.scratch)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./go bench proteingym_supervised", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--parts", default="", help=f"comma-separated, of {', '.join(PARTS)}")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench_proteingym_supervised.json"), help="where the JSON goes"
    )
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path("runs/proteingym_supervised"),
        help="where it works; a run that was stopped goes on from there",
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    parser.add_argument("--quick", action="store_true", help="made-up assays, to try the benchmark itself")
    add_data_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
