"""ModelCIF files: mmCIF for predicted structures, with the confidence of each residue as data."""

import io
from collections.abc import Iterator, Mapping
from string import ascii_letters

import ihm
import modelcif
import modelcif.data
import modelcif.dumper
import modelcif.model
import modelcif.protocol
import modelcif.qa_metric
import numpy as np

from chaperonin.errors import InputError
from chaperonin.protein.atoms import ATOM_TYPES
from chaperonin.protein.structure import Structure, require_finite


def write_modelcif(
    structure: Structure,
    title: str,
    *,
    name: str = "model",
    software: Mapping[str, str] | None = None,
    details: str = "",
    ptm: float | None = None,
) -> str:
    """The text of a ModelCIF file (dictionary MA), with pLDDT as B-factor and as global and local metric.

    Chains of one sequence are one entity. `label_seq_id` counts the residues of a chain from 1, `auth_seq_id` is
    their number in the structure. `software` maps names to versions, of the program and of the model;
    `details` becomes `_struct.pdbx_model_details`, the place for a warning. InputError for values that are not
    finite, or no atoms.
    """
    require_finite(structure)
    if not structure.atom_mask.any():
        raise InputError(
            "a structure without atoms", advice="Fold a sequence with at least one known residue."
        )
    system = modelcif.System(title=_one_line(title), id="model", model_details=_one_line(details) or None)
    units = _chains(structure)
    assembly = modelcif.Assembly(list(units.values()), name="chains")
    model = _Model(assembly, name, structure, units)
    model.qa_metrics = list(_metrics(structure, units, ptm))
    system.model_groups.append(modelcif.model.ModelGroup([model], name=name))
    system.protocols.append(_protocol(units, model, software or {}))
    text = io.StringIO()
    modelcif.dumper.write(text, [system])
    return text.getvalue()


class _Model(modelcif.model.AbInitioModel):
    """The coordinates, given one atom at a time."""

    def __init__(
        self,
        assembly: modelcif.Assembly,
        name: str,
        structure: Structure,
        units: dict[str, modelcif.AsymUnit],
    ) -> None:
        super().__init__(assembly, name=name)
        self._structure, self._units = structure, units

    def get_atoms(self) -> Iterator[modelcif.model.Atom]:
        """Atoms residue by residue."""
        structure = self._structure
        places = _places_in_chains(structure)
        for residue, atom in zip(*(found.tolist() for found in np.nonzero(structure.atom_mask)), strict=True):
            x, y, z = structure.positions[residue, atom].tolist()
            yield modelcif.model.Atom(
                self._units[str(structure.chain_ids[residue])],
                places[residue],
                ATOM_TYPES[atom],
                ATOM_TYPES[atom][0],
                x,
                y,
                z,
                biso=float(structure.confidence[residue]),
                occupancy=1.0,
            )


class _LocalConfidence(modelcif.qa_metric.Local, modelcif.qa_metric.PLDDT):
    """Predicted lDDT-CA of a residue."""

    name = "pLDDT"
    software = None


class _GlobalConfidence(modelcif.qa_metric.Global, modelcif.qa_metric.PLDDT):
    """Mean predicted lDDT-CA of the residues."""

    name = "pLDDT"
    software = None


class _GlobalTM(modelcif.qa_metric.Global, modelcif.qa_metric.PTM):
    """Predicted TM-score."""

    name = "pTM"
    software = None


def _chains(structure: Structure) -> dict[str, modelcif.AsymUnit]:
    alphabet = ihm.LPeptideAlphabet()
    entities: dict[str, modelcif.Entity] = {}
    units = {}
    # A chain without a name, as some PDB files have it, cannot be written in mmCIF.
    unused = next((letter for letter in ascii_letters.swapcase() if letter not in structure.chains), "_")
    for chain in structure.chains:
        part = structure.keep(structure.chain_ids == chain)
        sequence = part.sequence
        if sequence not in entities:
            residues = [alphabet["UNK" if letter == "X" else letter] for letter in sequence]
            entities[sequence] = modelcif.Entity(residues, description=f"protein {len(entities) + 1}")
        numbers = dict(enumerate(part.residue_index.tolist(), start=1))
        units[chain] = modelcif.AsymUnit(entities[sequence], auth_seq_id_map=numbers, id=chain or unused)
    return units


def _places_in_chains(structure: Structure) -> list[int]:
    """Place from 1 of each residue in its chain."""
    seen: dict[str, int] = {}
    places = []
    for chain in structure.chain_ids.tolist():
        seen[chain] = seen.get(chain, 0) + 1
        places.append(seen[chain])
    return places


def _metrics(
    structure: Structure, units: dict[str, modelcif.AsymUnit], ptm: float | None
) -> Iterator[modelcif.qa_metric.Global | modelcif.qa_metric.Local]:
    yield _GlobalConfidence(round(float(structure.confidence.mean()), 2))
    if ptm is not None:
        yield _GlobalTM(round(ptm, 4))
    places = _places_in_chains(structure)
    for chain, place, value in zip(
        structure.chain_ids.tolist(), places, structure.confidence.tolist(), strict=True
    ):
        yield _LocalConfidence(units[chain].residue(place), round(value, 2))


def _protocol(
    units: Mapping[str, modelcif.AsymUnit], model: _Model, software: Mapping[str, str]
) -> modelcif.protocol.Protocol:
    programs = [
        modelcif.Software(
            name, "model building", "structure prediction", None, type="program", version=version or None
        )
        for name, version in software.items()
    ]
    entities = list(dict.fromkeys(unit.entity for unit in units.values()))
    protocol = modelcif.protocol.Protocol()
    protocol.steps.append(
        modelcif.protocol.ModelingStep(
            input_data=modelcif.data.DataGroup(entities),
            output_data=model,
            name="prediction",
            software=modelcif.SoftwareGroup(programs) if programs else None,
        )
    )
    return protocol


def _one_line(text: str) -> str:
    return " ".join("".join(letter if " " <= letter <= "~" else " " for letter in text).split())
