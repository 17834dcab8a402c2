"""The part of the report about contacts/*.npz: maps and the strongest long-range contacts."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaperonin.report.blocks import Heading, Illustration, Paragraph, Part, Section, Table
from chaperonin.report.figures import LONGEST_SIDE, contact_map, save_contact_picture
from chaperonin.report.sampling import evenly
from chaperonin.report.style import as_svg, drawable
from chaperonin.report.wording import count
from chaperonin.shapes import Float

FOLDER = "contacts"
MOST_SHOWN = 12
LONG_RANGE = 24
"""Residues at least so far apart in the sequence make a long-range contact, as in CASP."""
_MOST_MEASURED = 2_000
_MOST_LISTED = 30


def contact_section(outdir: Path) -> Section | None:
    """None where the job left no contact maps."""
    paths = _paths(outdir)
    if not paths:
        return None
    parts: list[Part] = []
    if len(paths) > MOST_SHOWN:
        parts.append(
            Paragraph(
                f"The first {MOST_SHOWN} of {count(len(paths))} maps by file name; every map is in {FOLDER}/."
            )
        )
    for number, path in enumerate(paths[:MOST_SHOWN], start=1):
        parts += _protein(number, *_read(path))
    return Section("contacts", "Maps", parts, _READING)


def write_contact_pictures(outdir: Path) -> list[Path]:
    """Beside each contacts/ID.npz its picture ID.png, where there is none that is as new; returns the new ones."""
    written = []
    for path in _paths(outdir):
        picture = path.with_suffix(".png")
        if picture.is_file() and picture.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            continue
        name, _, probabilities = _read(path)
        residues = count(len(probabilities), "residue")
        save_contact_picture(picture, probabilities, f"{drawable(name, 40)} · {residues}")
        written.append(picture)
    return written


def read_lengths(outdir: Path) -> NDArray[np.int64]:
    """Lengths of the mapped proteins, of 2,000 evenly chosen ones where there are more."""
    paths = _paths(outdir)
    lengths = []
    for number in evenly(len(paths), _MOST_MEASURED):
        with np.load(paths[number], allow_pickle=False) as file:
            if "sequence" in file:
                lengths.append(len(str(file["sequence"])))
    return np.array(lengths, dtype=np.int64)


def long_range_contacts(
    probabilities: Float[np.ndarray, "residues residues"],
) -> list[tuple[int, int, float]]:
    """Pairs (i, j, probability), residues from 1, at least 24 apart: the strongest L/5, strongest first.

    Pairs without a probability (NaN) are no candidates; of equal ones the first in reading order is stronger.
    """
    wanted = max(1, len(probabilities) // 5)
    values, pairs = np.empty(0, dtype=probabilities.dtype), np.empty((0, 2), dtype=np.int64)
    for i in range(len(probabilities) - LONG_RANGE):  # by rows: all pairs of a long protein would not fit
        row = probabilities[i, i + LONG_RANGE :]
        least = values[-1] if len(values) == wanted else -np.inf
        better = np.flatnonzero(row > least)
        values = np.concatenate([values, row[better]])
        new = np.stack([np.full(len(better), i), better + i + LONG_RANGE], axis=1)
        pairs = np.concatenate([pairs, new])
        strongest = np.argsort(-values, kind="stable")[:wanted]
        values, pairs = values[strongest], pairs[strongest]
    return [(int(i) + 1, int(j) + 1, float(value)) for (i, j), value in zip(pairs, values, strict=True)]


def _paths(outdir: Path) -> list[Path]:
    return sorted((outdir / FOLDER).glob("*.npz"))


def _read(path: Path) -> tuple[str, str, np.ndarray]:
    """Name, sequence and probabilities."""
    with np.load(path, allow_pickle=False) as file:
        name = str(file["id"]) if "id" in file else path.stem
        sequence = str(file["sequence"]) if "sequence" in file else ""
        return name, sequence, np.asarray(file["contacts"], dtype=np.float32)


def _protein(number: int, name: str, sequence: str, probabilities: np.ndarray) -> list[Part]:
    length = len(probabilities)
    heading = Heading(name, count(length, "residue"))
    if not length:
        return [heading]
    description = f"Contact map of {name}, {count(length, 'residue')}, probabilities from 0 to 1"
    contacts = long_range_contacts(probabilities)
    confident = sum(probability >= 0.5 for *_, probability in contacts)
    caption = "Predicted probability that two residues touch."
    parts: list[Part] = [
        heading,
        Illustration(as_svg(contact_map(probabilities), f"contacts-{number}", description), caption),
    ]
    if not contacts:
        parts.append(Paragraph(f"No pair of residues {LONG_RANGE} or more apart has a probability."))
        return parts
    mean = sum(probability for *_, probability in contacts) / len(contacts)
    rows = [
        (_residue(sequence, i), _residue(sequence, j), str(j - i), f"{probability:.3f}")
        for i, j, probability in contacts[:_MOST_LISTED]
    ]
    note = (
        f"The strongest L/5 = {len(contacts)} long-range pairs have mean probability {mean:.2f}; "
        f"{confident} reach 0.5."
    )
    if len(contacts) > len(rows):
        note += f" {len(rows)} are listed."
    parts.append(
        Table(
            "Strongest long-range contacts",
            ("residue i", "residue j", "apart", "probability"),
            rows,
            frozenset({2, 3}),
            note,
        )
    )
    return parts


def _residue(sequence: str, position: int) -> str:
    return f"{sequence[position - 1]}{position}" if position <= len(sequence) else str(position)


_READING = (
    (
        "Contact map",
        "Row and column are residues, counted from 1; the darker the cell, the more probable that the two "
        "residues are in contact (C-beta atoms within 8 Å). The band along the diagonal is the chain "
        "itself: helices thicken it, hairpins leave it at right angles, lines parallel to it are parallel "
        f"strands. Maps of more than {LONGEST_SIDE} residues show the strongest contact of each square of residues; "
        "the npz files have all of them.",
    ),
    (
        "Long-range contacts",
        f"Pairs at least {LONG_RANGE} residues apart, the ones that decide the fold. Their number is a "
        "fifth of the length, the customary measure. When few of them reach 0.5 the model does not know "
        "the fold.",
    ),
)
