"""Fine-tune a model on labelled sequences, or pre-train one: from a YAML file, or from the data alone."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from chaperonin.data.sources import Rejected
    from chaperonin.training.alignment import Alignment
    from chaperonin.training.finetune_settings import FineTuning
    from chaperonin.training.pretrain import Pretraining

CONFIG = "config.yaml"


def run(
    input: Path | None = None,
    outdir: Path | None = None,
    *,
    model: str | None = None,
    device: str = "auto",
    set: list[str] | None = None,
    sweep: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train on INPUT into OUTDIR.

    INPUT is a YAML file, or labelled sequences for a fine-tuning with usual settings: CSV, TSV or Parquet with the
    columns sequence, label and perhaps stage, or FASTA with SET= and TARGET= in its headers. Without INPUT, the folders
    of a SageMaker training job are used.

    Parameters
    ----------
    input
        YAML file, or labelled sequences.
    outdir
        Folder for checkpoints, metrics and the model. The same command again goes on where it stopped.
    model
        Model to fine-tune: hub name, folder, or the bundled chaperonin/esm2-tiny.
    device
        auto, cpu, cuda, cuda:1 …
    set
        One setting as section.key=value; may be repeated.
    sweep
        Try several learning rates and ranks first, in each fold anew, and train with the best.
    dry_run
        Print the resolved settings, what is trained, the predicted memory and time, and stop.
    """
    from chaperonin.errors import UsageError
    from chaperonin.kernels.hardware import choose_device
    from chaperonin.training.alignment import Alignment
    from chaperonin.training.finetune_settings import FineTuning
    from chaperonin.training.settings import resolve_training

    if input is None:
        from chaperonin.cli.sagemaker import train_as_sagemaker

        return train_as_sagemaker(device)
    if outdir is None:
        raise UsageError("no OUTDIR", advice="Write `chaperonin train INPUT OUTDIR`.")
    settings = resolve_training(input, set or (), model)
    place = choose_device(device)
    if isinstance(settings, FineTuning):
        return fine_tune(settings, outdir, place, sweep, dry_run)
    if isinstance(settings, Alignment):
        return align_texts(settings, outdir, place, dry_run)
    return pre_train(settings, outdir, place, dry_run)


def fine_tune(
    settings: "FineTuning", outdir: Path, place: "torch.device", sweep: bool = False, dry_run: bool = False
) -> int:
    """Fine-tune, judge, write the model and the report; returns the exit code."""
    from chaperonin.config import as_yaml
    from chaperonin.files import write_atomically
    from chaperonin.inference.provenance import Provenance
    from chaperonin.parallel.data import join_processes, leave_processes
    from chaperonin.training.finetune_forecast import forecast
    from chaperonin.training.material import material_of
    from chaperonin.training.study import study

    provenance = Provenance("train", settings, seed=settings.training.seed)
    processes, place = join_processes(place)
    with provenance.stage("read and split"):
        material = material_of(settings)
    with provenance.stage("forecast"):
        expected = forecast(settings, material, place)
    if dry_run:
        print(f"{as_yaml(settings)}\n{expected}")
        return 0
    if processes.is_first:
        begin(outdir, as_yaml(settings), material.dataset.rejected)
        print("\n".join([str(expected), *material.warnings]), file=sys.stderr)
    with provenance.stage("train"):
        result = study(settings, material, outdir, place, processes, expected.memory_bytes, sweep)
    leave_processes()
    failed = len(material.dataset.rejected)
    if not processes.is_first:
        return 3 if failed else 0
    provenance.model = {"name": settings.model, "parameters": result.figures["cost"]["parameters"]}
    provenance.config = result.settings
    write_atomically(outdir / CONFIG, as_yaml(result.settings))
    provenance.write(
        outdir,
        records=_counts(len(material.items), failed),
        tokens=result.outcome.tokens,
        predicted_bytes=expected.memory_bytes,
    )
    _end(outdir, str(result))
    return 3 if failed else 0


def pre_train(settings: "Pretraining", outdir: Path, place: "torch.device", dry_run: bool = False) -> int:
    """Pre-train, write the model and the report; returns the exit code."""
    from chaperonin.config import as_yaml
    from chaperonin.inference.provenance import Provenance
    from chaperonin.kernels.host_memory import resident_bytes
    from chaperonin.parallel.data import join_processes, leave_processes
    from chaperonin.training.forecast import forecast, require_room
    from chaperonin.training.pretrain import MODEL_FOLDER, pretrain, read_corpus

    provenance = Provenance("train", settings, seed=settings.training.seed)
    processes, place = join_processes(place)
    with provenance.stage("read and split"):
        corpus = read_corpus(settings)
    held_bytes = resident_bytes() if place.type == "cpu" else 0
    with provenance.stage("forecast"):
        expected = forecast(settings, corpus, place, processes)
    if dry_run:
        leave_processes()
        if processes.is_first:
            print(f"{as_yaml(settings)}\n{expected}")
        return 0
    require_room(expected, place)
    if processes.is_first:
        begin(outdir, as_yaml(settings), corpus.rejected)
        print(expected, file=sys.stderr)
    with provenance.stage("train"):
        outcome = pretrain(settings, corpus, outdir, place, processes)
    leave_processes()
    failed = len(corpus.rejected)
    if processes.is_first:
        provenance.model = {"name": str(outdir / MODEL_FOLDER), "parameters": expected.parameters}
        provenance.write(
            outdir,
            records=_counts(len(corpus.sequences), failed),
            tokens=outcome.tokens,
            predicted_bytes=held_bytes + expected.memory_bytes,
        )
        _end(outdir, str(outcome))
    return 3 if failed else 0


def align_texts(settings: "Alignment", outdir: Path, place: "torch.device", dry_run: bool = False) -> int:
    """Pre-train a ProtST, write the model and the report; returns the exit code."""
    from chaperonin.config import as_yaml
    from chaperonin.inference.provenance import Provenance
    from chaperonin.kernels.host_memory import resident_bytes
    from chaperonin.parallel.data import join_processes, leave_processes
    from chaperonin.training.alignment import MODEL_FOLDER, align, read_pairs
    from chaperonin.training.alignment_forecast import forecast_alignment

    provenance = Provenance("train", settings, seed=settings.training.seed)
    processes, place = join_processes(place)
    with provenance.stage("read and split"):
        pairs = read_pairs(settings)
    held_bytes = resident_bytes() if place.type == "cpu" else 0
    with provenance.stage("forecast"):
        expected = forecast_alignment(settings, pairs, place, processes)
    if dry_run:
        leave_processes()
        if processes.is_first:
            print(f"{as_yaml(settings)}\n{expected}")
        return 0
    if processes.is_first:
        begin(outdir, as_yaml(settings), pairs.described.rejected)
        print(expected, file=sys.stderr)
    with provenance.stage("train"):
        outcome, found = align(settings, pairs, outdir, place, processes)
    leave_processes()
    failed = len(pairs.described.rejected)
    if processes.is_first:
        provenance.model = {"name": str(outdir / MODEL_FOLDER), "parameters": expected.parameters}
        provenance.write(
            outdir,
            records=_counts(len(pairs.sequences), failed),
            tokens=outcome.tokens,
            predicted_bytes=held_bytes + expected.memory_bytes,
        )
        recalls = "\n".join(f"{name:<28} {value:.4f}" for name, value in found.items() if name != "pairs")
        _end(outdir, f"{outcome}\n{recalls}" if found else str(outcome))
    return 3 if failed else 0


def begin(outdir: Path, settings: str, rejected: "Sequence[Rejected]") -> None:
    """Write the settings and the records that were refused, before anything is computed."""
    from chaperonin.files import write_atomically

    outdir.mkdir(parents=True, exist_ok=True)
    write_atomically(outdir / CONFIG, settings)
    write_atomically(outdir / "failures.jsonl", "".join(map(_failure, rejected)))


def _counts(done: int, failed: int) -> dict[str, int]:
    """Records as run.json counts them."""
    return {"read": done + failed, "done": done, "failed": failed, "unique": done}


def _end(outdir: Path, outcome: str) -> None:
    from chaperonin.report import write_report

    print(f"{outcome}\nReport: {write_report(outdir)}", file=sys.stderr)


def _failure(record: "Rejected") -> str:
    error = record.error
    line = {"id": record.id, "record": record.number, "stage": "read", "error": error.what}
    return json.dumps({**line, "where": error.where, "advice": error.advice}, ensure_ascii=False) + "\n"
