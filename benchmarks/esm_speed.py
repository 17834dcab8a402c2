"""Embedding speed beside transformers."""

import importlib.util
import random
from collections.abc import Sequence

import numpy as np

from benchmarks.esm_sides import Shape, embed_openvino, embed_ours, embed_theirs, matrix_products
from benchmarks.setting import Setting, residues
from benchmarks.table import Row, not_run
from benchmarks.timing import Samples, Side
from chaperonin.cli.main import SLEEP
from chaperonin.kernels import hardware
from chaperonin.kernels.linear import lacks_int8

SMALL: Shape = {"width": 480, "depth": 12, "heads": 20}
"""ESM-2 35M, whole."""
LARGE: Shape = {"width": 1280, "depth": 3, "heads": 20}
"""ESM-2 650M, 3 of its 33 equal layers."""
BATCH = 8
"""Sequences of a padded batch, and of a call in the rows of equal lengths."""


def mixed_lengths(setting: Setting) -> list[Row]:
    """fp32 over proteins of real lengths, against padded batches in the order of the file."""
    sequences, source = setting.proteins(16 if setting.quick else 64)
    shape = SMALL | {"depth": 4}
    sides = [_ours(setting, shape, "fp32", sequences), _theirs(setting, shape, sequences)]
    samples = setting.interleave(sides, max(3, setting.repeats // 2))
    lengths = [len(sequence) + 2 for sequence in sequences]
    padded = sum(BATCH * max(lengths[start : start + BATCH]) for start in range(0, len(lengths), BATCH))
    bound = padded / sum(lengths)
    notes = f"{source}; {len(sequences)} proteins, 35M width, 4 layers; padding alone: {bound:.2f}x; "
    return [
        _row(
            f"embed fp32, mixed lengths, against padded batches of {BATCH}",
            samples,
            sum(lengths),
            (1.9, 2.2),
            notes + _difference(samples),
            {"padding_bound": bound, "lengths": lengths},
        )
    ]


def equal_lengths(setting: Setting) -> list[Row]:
    """fp32 without any padding on either side, and the share of the machine's matrix-product rate that is used."""
    rows = []
    for name, shape, bounds in (("35M shape", SMALL, (1.3, None)), ("650M width", LARGE, (1.15, None))):
        for length in (128, 512):
            rows += _equal(setting, name, shape, length, bounds)
    return rows


def _equal(
    setting: Setting, name: str, shape: Shape, length: int, bounds: tuple[float | None, float | None]
) -> list[Row]:
    sequences = _equal_sequences(setting, length)
    sides = [
        _ours(setting, shape, "fp32", sequences),
        _theirs(setting, shape, sequences),
        Side(matrix_products, {"shape": shape, "rows": 1024, "seconds": 0.05 if setting.quick else 0.5}),
    ]
    with_openvino = importlib.util.find_spec("openvino") is not None
    if with_openvino:
        arguments = {"folder": setting.model(shape), "sequences": sequences, "batch": len(sequences)}
        sides.append(Side(embed_openvino, arguments))
    samples = setting.interleave(sides)
    measure = f"embed fp32, equal lengths {length}, {name}"
    tokens = len(sequences) * (len(sequences[0]) + 2)
    work = matrix_operations(shape, [len(sequences[0]) + 2] * len(sequences)) / 1e9
    peak = samples.results[2]
    rate = work / samples.medians()[0]
    rows = [
        _row(measure, samples, tokens, bounds, _difference(samples), {"depth": shape["depth"]}),
        Row(
            f"{measure}: share of the matrix-product rate",
            f"{rate:.0f} GFLOP/s",
            f"{peak:.0f} GFLOP/s",
            rate / peak * 100,
            reach_for=90,
            unit="%",
            notes="all matrix products of the encoder over the whole time; beside it the best rate measured",
        ),
    ]
    if with_openvino:
        other = samples.medians()[3]
        ratio = other / samples.medians()[0]
        texts = (_speed(tokens, samples.medians()[0]), _speed(tokens, other))
        seconds = {"theirs": samples.seconds[3]}
        rows.append(Row(f"{measure}, against OpenVINO", *texts, ratio, reach_for=1.0, samples=seconds))
    return rows


def int8(setting: Setting) -> list[Row]:
    """8-bit products, equal lengths, against transformers in fp32."""
    if missing := lacks_int8():
        return [not_run("embed int8, equal lengths", missing)]
    bounds = {128: (3.0, 3.5), 512: (2.2, 3.0)}
    return [_reduced(setting, "int8", length, bounds[length]) for length in (128, 512)]


def bf16(setting: Setting) -> list[Row]:
    """bf16 products where the processor has them, equal lengths, against transformers in fp32."""
    import torch

    if missing := hardware.lacks_bf16(torch.device("cpu")):
        return [not_run("embed bf16, equal lengths", missing)]
    return [_reduced(setting, "bf16", length, (None, None)) for length in (128, 512)]


def _reduced(setting: Setting, precision: str, length: int, bounds: tuple[float | None, float | None]) -> Row:
    sequences = _equal_sequences(setting, length)
    sides = [_ours(setting, LARGE, precision, sequences), _theirs(setting, LARGE, sequences)]
    samples = setting.interleave(sides)
    measure = f"embed {precision}, equal lengths {length}, 650M width, against fp32"
    tokens = len(sequences) * (len(sequences[0]) + 2)
    return _row(measure, samples, tokens, bounds, _cosine(samples), {"depth": LARGE["depth"]})


def matrix_operations(shape: Shape, lengths: Sequence[int]) -> int:
    """Multiplications and additions in the encoder's products: 12 width² per token, attention 2 width · length."""
    width = shape["width"]
    layer = sum(length * (12 * width**2 + 2 * width * length) for length in lengths)
    return 2 * shape["depth"] * layer


def _equal_sequences(setting: Setting, length: int) -> list[str]:
    length, count = (length // 8, 4) if setting.quick else (length, BATCH)
    draw = random.Random(length)
    return [residues(length - 2, draw) for _ in range(count)]


def _ours(setting: Setting, shape: Shape, precision: str, sequences: list[str]) -> Side:
    arguments = {"precision": precision, "sequences": sequences}
    return Side(embed_ours, {"folder": setting.model(shape), **arguments}, environment=SLEEP)


def _theirs(setting: Setting, shape: Shape, sequences: list[str]) -> Side:
    return Side(embed_theirs, {"folder": setting.model(shape), "sequences": sequences, "batch": BATCH})


def _row(
    measure: str,
    samples: Samples,
    tokens: int,
    bounds: tuple[float | None, float | None],
    notes: str,
    more: dict[str, object],
) -> Row:
    ours, theirs = samples.medians()[:2]
    seconds = {"ours": samples.seconds[0], "theirs": samples.seconds[1], "tokens": tokens}
    texts = (_speed(tokens, ours), _speed(tokens, theirs))
    return Row(measure, *texts, theirs / ours, *bounds, notes=notes, samples=seconds | more)


def _speed(tokens: int, seconds: float) -> str:
    return f"{tokens / seconds:,.0f} tokens/s"


def _difference(samples: Samples) -> str:
    largest = float(np.abs(samples.results[0] - samples.results[1]).max())
    if largest > 1e-5:
        raise AssertionError(f"the two sides differ by {largest:.2g}: there is nothing to compare")
    return f"mean vectors differ by {largest:.1g} at most"


def _cosine(samples: Samples) -> str:
    ours, theirs = samples.results[:2]
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (
        f"cosine of mean vectors with fp32: {float(((ours * theirs).sum(axis=1) / norms).min()):.5f} at least"
    )
