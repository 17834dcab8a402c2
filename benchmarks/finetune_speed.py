"""Rows about time: all means against none, a cached frozen base, and the Trainer of transformers."""

import argparse
from typing import Any

from benchmarks import finetune_sides
from benchmarks.finetune_data import TABLE, made_up, membrane, mixed_lengths, random_model
from benchmarks.table import Row
from benchmarks.timing import Samples, Side, interleave

TINY = {"width": 32, "depth": 2, "heads": 2}
SMALL = {"width": 320, "depth": 6, "heads": 20}
"""The shape of the published 8M model."""
ALIKE = 2e-3
"""Largest difference of the first loss: the two sides then train the same model on the same batch."""
EPOCHS = 100


def all_against_base(options: argparse.Namespace) -> list[Row]:
    """All means together against full fp32 training in one batch, at the 650M shape."""
    shape, length = {"width": 1280, "depth": options.depth, "heads": 20}, 510
    if options.quick:
        shape, length = TINY, 30
    model = random_model(options.scratch, shape)
    table = options.scratch / f"equal-{length}-{options.batch}.csv"
    given = made_up(table, [length] * max(20, 5 * options.batch))
    given += [f"model={model}", f"batch_size={options.batch}", "epochs=100", "means.recompute=selective"]
    arguments = {"overrides": given, "steps": 1}
    sides = [Side(finetune_sides.our_steps, {**arguments, "means": means}) for means in ("all", "base")]
    samples = _interleave(options, sides)
    (own, plain), (fast, slow) = samples.results, samples.medians()
    peaks = own["peak_bytes"], plain["peak_bytes"]
    what = f"{options.batch} x {length + 2} tokens, {shape['depth']} layers of {shape['width']:,}"
    kept = {"seconds": samples.seconds, "peak_bytes": peaks, "first_loss": [own["loss"], plain["loss"]]}
    texts = (f"{fast:.2f} s", f"{slow:.2f} s")
    notes = "one optimizer step: accumulation, selective recomputation, LoRA, bf16 where native, against every weight "
    notes += "in fp32"
    return [
        _ratio(f"all against base, {what}: time of a step", texts, fast / slow, (0.5, 0.43), notes, kept),
        _ratio(
            f"all against base, {what}: peak memory",
            (f"{peaks[0] / 1e9:.2f} GB", f"{peaks[1] / 1e9:.2f} GB"),
            peaks[0] / peaks[1],
            (0.2, 0.146),
            "highest memory of the process, from its start, loading included",
        ),
    ]


def frozen(options: argparse.Namespace) -> list[Row]:
    """A head trained on cached vectors against one that runs the base in each epoch."""
    given = [*_proteins(options, 60), "batch_size=32", f"epochs={1 if options.quick else EPOCHS}"]
    sides = [Side(finetune_sides.cached_epochs, {"overrides": given})]
    sides += [Side(finetune_sides.backbone_epoch, {"overrides": given})]
    samples = _interleave(options, sides)
    cached, epoch = samples.medians()
    texts = (f"{cached:.1f} s", f"{EPOCHS * epoch:,.0f} s")
    notes = f"bundled model, membrane or soluble; the other side is {EPOCHS} times one measured epoch of {epoch:.1f} s"
    kept = {"cached_seconds": samples.seconds[0], "epoch_seconds": samples.seconds[1]}
    return [
        Row(
            f"frozen base, {EPOCHS} epochs, against running it each epoch",
            *texts,
            EPOCHS * epoch / cached,
            30,
            80,
            notes=notes,
            samples=kept,
        )
    ]


def trainer(options: argparse.Namespace) -> list[Row]:
    """Samples per second of full fp32 training beside the Trainer of transformers, on the same batches."""
    steps, batch = (2, 4) if options.quick else (16, 8)
    model = random_model(options.scratch, TINY if options.quick else SMALL)
    shared = ["head.pooling=cls", "head.hidden=tanh", f"batch_size={batch}", "epochs=10"]
    given = [*_proteins(options, 60, recipe=False), f"model={model}", *shared]
    ours = Side(finetune_sides.our_steps, {"overrides": given, "means": "base", "steps": steps, "warm": 0})
    folder = str(options.scratch / "trainer")
    theirs = Side(finetune_sides.their_steps, {"overrides": given, "steps": steps, "folder": folder})
    samples = _interleave(options, [ours, theirs])
    own, other = (found["loss"] for found in samples.results)
    if abs(own - other) > ALIKE:
        raise AssertionError(f"the first losses are {own:.5f} and {other:.5f}: there is nothing to compare")
    fast, slow = samples.medians()
    notes = (
        f"8M shape, batch {batch}, {steps} steps, DeepLoc 1 proteins up to 1,022 residues in random order; "
        f"first loss {own:.5f} and {other:.5f}"
    )
    texts = (f"{steps * batch / fast:.2f}/s", f"{steps * batch / slow:.2f}/s")
    kept = dict(zip(("ours", "theirs"), samples.seconds, strict=True))
    return [
        Row(
            "against transformers' Trainer: samples/s",
            *texts,
            slow / fast,
            1.8,
            2.5,
            notes=notes,
            samples=kept,
        )
    ]


def _proteins(options: argparse.Namespace, count: int, recipe: bool = True) -> list[str]:
    """Settings for DeepLoc 1, or for made-up proteins where it is absent."""
    if options.quick or not (options.data / TABLE).exists():
        lengths = mixed_lengths(count, 3.0 if options.quick else 5.9)
        name = f"mixed{'-quick' * options.quick}.csv"
        return made_up(options.scratch / name, lengths)
    return membrane(options.data, *([] if recipe else ["data.shortest=1", "data.longest=0"]))


def _interleave(options: argparse.Namespace, sides: list[Side]) -> Samples:
    repeats = 1 if options.quick else options.repeats
    return interleave(sides, repeats, options.threads, apart=not options.quick)


def _ratio(
    measure: str,
    texts: tuple[str, str],
    value: float,
    bounds: tuple[float, float],
    notes: str,
    kept: dict[str, Any] | None = None,
) -> Row:
    """A row whose value should be small."""
    return Row(measure, *texts, value, *bounds, notes=notes, lower_is_better=True, samples=kept or {})
