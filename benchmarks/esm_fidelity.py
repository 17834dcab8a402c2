"""What 8 bits change in the results of the bundled model."""

import csv
import gzip
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.setting import LONGEST, Setting
from benchmarks.table import Row, not_run
from chaperonin.errors import InputError
from chaperonin.kernels.linear import lacks_int8

MEASURE = "int8 fidelity on the bundled model"


def int8_fidelity(setting: Setting) -> list[Row]:
    """Embeddings and variant scores in int8 beside fp32."""
    bundled = files("chaperonin") / "pretrained" / "esm2-tiny"
    if not bundled.is_dir():
        return [not_run(MEASURE, "this checkout holds no bundled model")]
    if missing := lacks_int8():
        return [not_run(MEASURE, missing)]
    import torch

    from chaperonin.inference.load import load

    torch.set_num_threads(setting.threads)
    exact, rounded = (load(str(bundled), precision=precision, device="cpu") for precision in ("fp32", "int8"))
    return [_embeddings(setting, exact, rounded), *_scores(setting, exact, rounded)]


def _embeddings(setting: Setting, exact: Any, rounded: Any) -> Row:
    """Cosine of each residue's vectors; the bound is about the mean, the rest is in the notes."""
    from chaperonin.inference.embed import represent

    sequences, source = setting.proteins(16 if setting.quick else 200)
    pairs = zip(represent(exact, sequences, 4096), represent(rounded, sequences, 4096), strict=True)
    cosines, means = [], []
    for plain, eight in pairs:
        cosines.append(_cosine(plain, eight))
        means.append(_cosine(plain.mean(axis=0, keepdims=True), eight.mean(axis=0, keepdims=True)))
    residues, proteins = np.concatenate(cosines), np.concatenate(means)
    notes = f"{source}; lowest residue {residues.min():.4f}; protein means: lowest {proteins.min():.5f}"
    texts = (f"{residues.mean():.5f}", "1")
    return Row(
        f"{MEASURE}: cosine of residue vectors", *texts, float(residues.mean()), 0.99, 0.999, "", notes
    )


def _scores(setting: Setting, exact: Any, rounded: Any) -> list[Row]:
    """Rank correlation of int8 with fp32 scores, assay by assay; the bound is about the lowest assay."""
    measure = f"{MEASURE}: rank correlation of scores, lowest assay"
    folder = setting.data / "dms" / "substitutions_singles"
    paths = sorted(folder.glob("*.csv.gz"))[: 2 if setting.quick else None]
    assays = [assay for path in paths if (assay := _read(path)) is not None]
    if not assays:
        return [not_run(measure, "no assays (set CHAPERONIN_DATA)")]
    found: dict[str, float] = {}
    for assay in assays:
        plain, eight = (_wild_type_marginals(model, assay) for model in (exact, rounded))
        found[assay.name] = float(spearmanr(plain, eight).statistic)
    if not np.isfinite(list(found.values())).all():
        raise AssertionError(f"a rank correlation is not a number: {found}")
    lowest = min(found, key=lambda name: found[name])
    notes = (
        f"{len(found)} assays, wild-type marginals; mean {np.mean(list(found.values())):.5f}; lowest {lowest}"
    )
    texts = (f"{found[lowest]:.5f}", "1")
    return [Row(measure, *texts, found[lowest], 0.99, 0.999, "", notes, samples=dict(found))]


@dataclass(frozen=True)
class _Assay:
    name: str
    sequence: str
    """The wild type, put together again from the mutated sequences."""
    variants: list[tuple[int, str, str]]
    """(index, residue before, residue after) of every single substitution."""


def _read(path: Path) -> _Assay | None:
    """An assay of single substitutions; None where it holds none."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if ":" not in row["mutant"]]
    if not rows:
        return None
    variants = [(int(row["mutant"][1:-1]) - 1, row["mutant"][0], row["mutant"][-1]) for row in rows]
    index, before, after = variants[0]
    mutated = rows[0]["mutated_sequence"]
    if mutated[index] != after:
        raise InputError(f"{rows[0]['mutant']} is not in its mutated sequence", where=str(path))
    return _Assay(
        path.name.removesuffix(".csv.gz"), mutated[:index] + before + mutated[index + 1 :], variants
    )


def _wild_type_marginals(model: Any, assay: _Assay) -> NDArray[np.float32]:
    """log p(after) - log p(before) from one pass over the wild type, in long proteins the part that varies most."""
    import torch

    from chaperonin.kernels.segments import Segments

    middle = int(np.median([index for index, _, _ in assay.variants]))
    start = max(0, min(middle - LONGEST // 2, len(assay.sequence) - LONGEST))
    tokens = torch.from_numpy(model.alphabet.encode(assay.sequence[start : start + LONGEST]))
    with torch.inference_mode():
        logits = model.lm_head(model(tokens, Segments([len(tokens)])))
    table = logits.log_softmax(dim=-1).numpy()
    return np.array(
        [
            table[index - start + 1, model.alphabet.index(after)]
            - table[index - start + 1, model.alphabet.index(before)]
            for index, before, after in assay.variants
            if start <= index < start + LONGEST
        ]
    )


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / norms
