"""Pre-train a masked language model from a YAML file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from chaperonin.data.sources import Rejected


def run(
    config: Path,
    outdir: Path,
    *,
    device: str = "auto",
    set: list[str] | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train the model that CONFIG describes into OUTDIR.

    Parameters
    ----------
    config
        YAML file with the sections model, data and training.
    outdir
        Folder for checkpoints, metrics and the model. The same command again goes on where it stopped.
    device
        auto, cpu, cuda, cuda:1 …
    set
        One setting as section.key=value; may be repeated.
    dry_run
        Print the resolved settings, the tokens, the predicted memory and time, and stop.
    """
    import sys

    from chaperonin.config import as_yaml, resolve
    from chaperonin.files import write_atomically
    from chaperonin.inference.memory import resident_bytes
    from chaperonin.inference.provenance import Provenance
    from chaperonin.report import write_report
    from chaperonin.training.device import training_device
    from chaperonin.training.forecast import forecast
    from chaperonin.training.pretrain import MODEL_FOLDER, Pretraining, pretrain, read_corpus

    settings = resolve(Pretraining, file=config, overrides=set or ())
    place = training_device(device)
    provenance = Provenance("train", settings, seed=settings.training.seed)
    with provenance.stage("read and split"):
        corpus = read_corpus(settings)
    held_bytes = resident_bytes() if place.type == "cpu" else 0
    with provenance.stage("forecast"):
        expected = forecast(settings, corpus, place)
    if dry_run:
        print(f"{as_yaml(settings)}\n{expected}")
        return 0
    print(expected, file=sys.stderr)
    outdir.mkdir(parents=True, exist_ok=True)
    write_atomically(outdir / "config.yaml", as_yaml(settings))
    write_atomically(outdir / "failures.jsonl", "".join(map(_failure, corpus.rejected)))
    with provenance.stage("train"):
        outcome = pretrain(settings, corpus, outdir, place)
    done, failed = len(corpus.sequences), len(corpus.rejected)
    provenance.model = {"name": str(outdir / MODEL_FOLDER), "parameters": expected.parameters}
    provenance.write(
        outdir,
        records={"read": done + failed, "done": done, "failed": failed, "unique": done},
        tokens=outcome.tokens,
        predicted_bytes=held_bytes + expected.memory_bytes,
    )
    report = write_report(outdir)
    print(f"{outcome}. Report: {report}", file=sys.stderr)
    return 3 if failed else 0


def _failure(record: "Rejected") -> str:
    error = record.error
    line = {"id": record.id, "record": record.number, "stage": "read", "error": error.what}
    return json.dumps({**line, "where": error.where, "advice": error.advice}, ensure_ascii=False) + "\n"
