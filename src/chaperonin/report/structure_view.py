"""A structure to turn in the report: its backbone as PDB text, and the program that draws it, all inside the page."""

from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path

import numpy as np
from markupsafe import Markup

from chaperonin.errors import InputError
from chaperonin.inference.fold_table import Row
from chaperonin.protein.atoms import ATOM37, ATOM_TYPES
from chaperonin.protein.structure import Structure, read_structure, write_pdb
from chaperonin.report.blocks import Paragraph, Section, StructureView
from chaperonin.report.wording import count

MOST_DRAWN = 10_000
"""Residues of all structures that a page carries, 270 bytes each."""
_BACKBONE = ("N", "CA", "C", "O")


def structure_part(
    number: int, row: Row, outdir: Path, warning: str, is_drawn: bool
) -> StructureView | Paragraph:
    """The best structure of a target, or a sentence on why it is not in the page."""
    if not is_drawn:
        return Paragraph(
            f"Not drawn here: a page draws {count(MOST_DRAWN)} residues at most. Its structure is {row.structure}."
        )
    try:
        structure = read_structure(outdir / row.structure)
    except (InputError, OSError):
        return Paragraph(f"Its structure, {row.structure}, is not in this folder any more or cannot be read.")
    caption = f"{row.id}, rank 1: mean pLDDT {structure.confidence.mean():.1f}. All atoms: {row.structure}."
    return StructureView(
        f"structure-{number}", backbone_pdb(structure), row.id, row.structure, caption, warning
    )


def backbone_pdb(structure: Structure) -> Markup:
    """PDB lines of N, CA, C and O without what follows the B-factor; safe inside a script element."""
    is_backbone = np.isin(np.arange(len(ATOM_TYPES)), [ATOM37[name] for name in _BACKBONE])
    kept = Structure(
        structure.aatype,
        structure.residue_index,
        structure.positions,
        structure.atom_mask & is_backbone,
        structure.confidence,
        structure.chain_ids,
    )
    lines = [line[:66].rstrip() for line in write_pdb(kept).splitlines() if line.startswith(("ATOM", "TER"))]
    return Markup("\n".join(lines).replace("<", " "))


def viewer_scripts(sections: Iterable[Section]) -> list[Markup]:
    """The scripts that a page with structures needs; none for a page without."""
    if not any(isinstance(part, StructureView) for section in sections for part in section.parts):
        return []
    return [_library(), Markup(_file("viewer.js"))]


def script_policy(scripts: Iterable[str]) -> str:
    """What a Content-Security-Policy says so that these scripts run, and no other."""
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f" script-src {sources};" if digests else ""


@cache
def _library() -> Markup:
    """3Dmol.js as it was published, its licence before it: whoever is given the page is given both."""
    return Markup(f"/*\n{_file('3Dmol-LICENSE.txt')}*/\n{_file('3Dmol-min.js')}")


def _file(name: str) -> str:
    return resources.files("chaperonin.report").joinpath("viewer", name).read_text(encoding="utf-8")
