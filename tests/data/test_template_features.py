import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from chaperonin.data.template_features import read_chains, read_templates
from chaperonin.protein.atoms import ATOM37, ATOM37_MASK, ATOM_TYPES, RESIDUES, THREE_LETTER

QUERY = "MKTAYIAKQRQISFVKSHFSRQ"


def position(residue: int, atom: str, chain: str = "A") -> list[float]:
    """Where the made files have an atom: each in a place of its own, of three decimals."""
    return [residue + 0.125, ATOM37[atom] + 0.25, float(ord(chain))]


def pdb_line(
    number: int, atom: str, code: str, chain: str, residue: int, at: list[float], record: str = "ATOM"
) -> str:
    x, y, z = at
    element = atom[0] if atom != "SE" else "SE"
    place = f" {atom:<3}" if len(element) == 1 else f"{atom:<4}"
    return (
        f"{record:<6}{number:>5} {place} {code:>3} {chain}{residue:>4}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{1:6.2f}{0:6.2f}          {element:>2}"
    )


def pdb(chains: dict[str, str]) -> str:
    lines = []
    for chain, sequence in chains.items():
        for residue, letter in enumerate(sequence):
            for atom in np.array(ATOM_TYPES)[ATOM37_MASK[RESIDUES.index(letter)] > 0]:
                at = position(residue, atom, chain)
                lines.append(pdb_line(len(lines) + 1, atom, THREE_LETTER[letter], chain, residue + 1, at))
        lines.append("TER")
    return "\n".join([*lines, "END", ""])


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_template_of_the_same_sequence_stands_residue_by_residue(tmp_path: Path) -> None:
    templates, failures = read_templates(QUERY, [written(tmp_path, "same.pdb", pdb({"A": QUERY}))])
    assert not failures and templates is not None
    types = [RESIDUES.index(letter) for letter in QUERY]
    assert templates.aatype.tolist() == [types]
    mask = torch.from_numpy(ATOM37_MASK[types])
    torch.testing.assert_close(templates.atom_mask[0], mask)
    for residue, letter in enumerate(QUERY):
        swapped = {"NH1": "NH2", "NH2": "NH1"} if letter == "R" and not is_in_order(residue) else {}
        for atom in np.array(ATOM_TYPES)[ATOM37_MASK[types[residue]] > 0]:
            expected = torch.tensor(position(residue, swapped.get(atom, atom)))
            torch.testing.assert_close(templates.positions[0, residue, ATOM37[atom]], expected)
    assert not templates.positions[0][mask == 0].any()
    assert templates.mask.tolist() == [1]


def is_in_order(residue: int) -> bool:
    distances = [
        np.linalg.norm(np.subtract(position(residue, atom), position(residue, "CD")))
        for atom in ("NH1", "NH2")
    ]
    return bool(distances[0] <= distances[1])


def test_residues_the_template_lacks_are_gaps_without_atoms(tmp_path: Path) -> None:
    sequence = QUERY[2:9] + QUERY[12:]
    templates, _ = read_templates(QUERY, [written(tmp_path, "part.pdb", pdb({"A": sequence}))])
    assert templates is not None
    is_gap = templates.aatype[0] == 21
    assert is_gap.nonzero().flatten().tolist() == [0, 1, 9, 10, 11]
    assert not templates.atom_mask[0][is_gap].any() and not templates.positions[0][is_gap].any()
    assert templates.positions[0, 12, ATOM37["CA"]].tolist() == position(7, "CA")


def test_the_chain_that_aligns_best_is_taken(tmp_path: Path) -> None:
    path = written(tmp_path, "two.pdb", pdb({"A": "GGGGSSSSGGGG", "B": QUERY[:-2], "C": QUERY[:5]}))
    assert [chain.name for chain in read_chains(path)] == ["A", "B", "C"]
    templates, _ = read_templates(QUERY, [path])
    assert templates is not None
    assert templates.positions[0, 0, ATOM37["CA"]].tolist() == position(0, "CA", "B")


def test_nitrogens_of_arginine_are_named_by_their_distance(tmp_path: Path) -> None:
    for near in ("NH1", "NH2"):
        places = {"CA": [0, 0, 0], "CD": [1, 0, 0], "NH1": [2, 0, 0], "NH2": [2, 0, 0], near: [1.5, 0, 0]}
        lines = [pdb_line(n, atom, "ARG", "A", 1, at) for n, (atom, at) in enumerate(places.items(), 1)]
        chain = read_chains(written(tmp_path, f"{near}.pdb", "\n".join([*lines, "END"])))[0]
        assert chain.positions[0, [ATOM37["NH1"], ATOM37["NH2"]], 0].tolist() == [1.5, 2.0]


def test_selenomethionine_is_methionine(tmp_path: Path) -> None:
    atoms = ("N", "CA", "C", "SE")
    lines = [pdb_line(n, atom, "MSE", "A", 1, position(0, "SD"), "HETATM") for n, atom in enumerate(atoms, 1)]
    chain = read_chains(written(tmp_path, "selenium.pdb", "\n".join([*lines, "END"])))[0]
    assert chain.sequence == "M"
    assert chain.atom_mask[0, ATOM37["SD"]] == 1
    assert chain.positions[0, ATOM37["SD"]].tolist() == position(0, "SD")


def test_of_too_many_templates_the_most_alike_stay_and_the_others_are_named(tmp_path: Path) -> None:
    lengths = {"short.pdb": 8, "whole.pdb": len(QUERY), "middle.pdb": 15}
    paths = [written(tmp_path, name, pdb({"A": QUERY[:length]})) for name, length in lengths.items()]
    templates, failures = read_templates(QUERY, paths, most=2)
    assert templates is not None
    assert (templates.aatype != 21).sum(1).tolist() == [22, 15]
    assert [failure.where for failure in failures] == ["short.pdb"]
    assert "8 residues" in str(failures[0])


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    whole = pdb({"A": QUERY})
    bad = {
        "empty.pdb": "",
        "text.pdb": "this is no structure\n",
        "water.pdb": pdb_line(1, "O", "HOH", "A", 1, [0, 0, 0], "HETATM") + "\nEND\n",
        "letters.pdb": whole.replace("0.125", "0.x25", 1),
        "cut.cif": "data_x\nloop_\n_atom_site.group_PDB\n_atom_site.id\nATOM\n",
    }
    paths = [written(tmp_path, name, text) for name, text in bad.items()]
    packed = tmp_path / "cut.pdb.gz"
    packed.write_bytes(gzip.compress(whole.encode())[:-20])
    good = written(tmp_path, "good.pdb", whole)
    templates, failures = read_templates(QUERY, [*paths, packed, tmp_path / "absent.pdb", good])
    assert templates is not None and len(templates.aatype) == 1
    assert [failure.where for failure in failures] == [*bad, "cut.pdb.gz", "absent.pdb"]
    assert all(failure.what for failure in failures)


def test_without_any_usable_file_there_are_no_templates(tmp_path: Path) -> None:
    templates, failures = read_templates(QUERY, [tmp_path / "absent.pdb"])
    assert templates is None and len(failures) == 1
    assert read_templates(QUERY, []) == (None, [])


def test_a_query_with_letters_that_are_no_residues_still_aligns(tmp_path: Path) -> None:
    templates, _ = read_templates("XU" + QUERY[2:], [written(tmp_path, "same.pdb", pdb({"A": QUERY}))])
    assert templates is not None
    assert (templates.aatype[0, 2:] != 21).all()


@pytest.mark.parametrize("name", ["1qys.pdb.gz", "5eil.cif.gz", "2q2k.cif.gz", "1psm.cif.gz"])
def test_real_structures_are_templates_of_their_own_chains(real_data: Path, name: str) -> None:
    path = real_data / "structures/experimental" / name
    for chain in read_chains(path):
        templates, failures = read_templates(chain.sequence, [path])
        assert not failures and templates is not None
        assert (templates.aatype[0] != 21).all()
        bonds = templates.positions[0, :, ATOM37["CA"]] - templates.positions[0, :, ATOM37["N"]]
        is_there = templates.atom_mask[0, :, ATOM37["N"]] > 0
        lengths = bonds[is_there].norm(dim=-1)
        assert ((lengths > 1.3) & (lengths < 1.6)).all()  # N to CA: 1.46 Å
