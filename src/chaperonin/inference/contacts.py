"""Which residues touch: a probability map per protein."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chaperonin.data.batching import make_batch
from chaperonin.data.sources import Rejected
from chaperonin.data.windows import WINDOW, blend_maps, windows
from chaperonin.errors import InputError, UsageError
from chaperonin.files import atomic_file
from chaperonin.inference.jobs import Job, Outcome
from chaperonin.inference.load import origin_of
from chaperonin.inference.memory import free_bytes
from chaperonin.inference.sequences import SequenceJob, SequenceSettings, fit, forecast, read_source
from chaperonin.layers.language import LanguageModel
from chaperonin.protein.sequence import file_names


@dataclass(frozen=True)
class ContactSettings(SequenceSettings):
    """What `contacts` computes."""


@dataclass(frozen=True)
class ContactMap:
    """Contacts of one record."""

    id: str
    sequence: str
    contacts: NDArray[np.float32]
    """`[length, length]` probabilities; NaN where no window saw both residues (above 1,022 residues only)."""


def contact_map(model: LanguageModel, sequence: str) -> NDArray[np.float32]:
    """Probability that residues i and j are in contact, `[length, length]`; long proteins in blended windows."""
    spans = windows(len(sequence))
    if len(spans) == 1:
        return _map(model, sequence)
    return blend_maps((_map(model, sequence[span.start : span.stop]) for span in spans), len(sequence))


def _map(model: LanguageModel, sequence: str) -> NDArray[np.float32]:
    batch = make_batch([model.alphabet.encode(sequence)]).to(next(model.parameters()).device)
    with torch.inference_mode():
        (contacts,) = model.contacts(batch.tokens, batch.segments)
    return contacts.float().cpu().numpy()


def contacts(
    model: LanguageModel, source: str | Path | Mapping[str, str], settings: ContactSettings | None = None
) -> Iterator[ContactMap | Rejected]:
    """Contact maps of a file, a folder or a mapping id → sequence, one at a time, in input order.

    A protein whose map does not fit into memory is rejected, as one that cannot be read.
    """
    settings = settings or ContactSettings()
    for record in read_source(source, settings.unknown):
        if isinstance(record, Rejected):
            yield record
            continue
        try:
            sequence, _ = fit(record.sequence, settings.long, record.where)
            _require_memory(len(sequence), record.where)
        except InputError as error:
            yield Rejected(record.number, record.id, record.where, error)
            continue
        yield ContactMap(record.id, sequence, contact_map(model, sequence))


def contacts_job(
    model: LanguageModel,
    source: Path,
    outdir: Path,
    settings: ContactSettings | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Maps into OUTDIR/contacts/ID.npz; resumes after a kill."""
    if model.contact is None:
        raise UsageError(
            f"{origin_of(model).name} has no contact head",
            advice="Use an ESM; convert a published .pt together with its -contact-regression.pt.",
        )
    return SequenceJob(
        "contacts", settings or ContactSettings(), _compute, _write, _result_bytes, _alone_bytes
    ).run(model, source, outdir, overwrite)


def _compute(model: LanguageModel, sequences: Sequence[str], budget: int) -> list[dict[str, Any]]:
    # One sequence at a time: a map is the square of a length, and batching gains nothing on it.
    return [
        {"contacts": contact_map(model, sequence), "sequence": np.frombuffer(sequence.encode(), np.uint8)}
        for sequence in sequences
    ]


def forecast_contacts(model: LanguageModel, source: Path, settings: ContactSettings) -> str:
    """What a run would take: records, tokens, memory, disk, time."""
    return forecast(model, source, settings, _result_bytes)


def _result_bytes(model: LanguageModel, length: int) -> int:
    return 4 * length**2


def _alone_bytes(length: int) -> int:
    # Above one window: the sums, the weights, the map in the shard and in the file.
    return 4 * 4 * length**2 if length > WINDOW else 0


def _require_memory(length: int, where: str) -> None:
    """InputError where the map of one protein is larger than the free memory."""
    needed, free = _alone_bytes(length), free_bytes(torch.device("cpu"))
    if needed > free:
        raise InputError(
            f"the contact map of {length:,} residues needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
            where=where,
            advice='Use a machine with more memory, or ContactSettings(long="truncate").',
        )


def _write(job: Job, outdir: Path, model: LanguageModel) -> list[Path]:
    folder = outdir / "contacts"
    folder.mkdir(exist_ok=True)
    done = [record for record in job.records() if not record.failed]
    names = file_names(record.id for record in done)
    files = []
    for record in done:
        path = folder / f"{names[record.id]}.npz"
        with atomic_file(path) as temporary, temporary.open("wb") as opened:
            result = job.result(record.unit)
            sequence = np.array(result["sequence"].tobytes().decode())
            np.savez_compressed(
                opened, contacts=result["contacts"], sequence=sequence, id=np.array(record.id)
            )
        files.append(path)
    return files
