import gzip
import io
from dataclasses import fields
from pathlib import Path

import biotite.structure as structures
import gemmi
import numpy as np
import pytest
from biotite.structure.io.pdb import PDBFile
from biotite.structure.io.pdbx import CIFFile, get_structure
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chaperonin.errors import InputError
from chaperonin.protein.atoms import ATOM37, ATOM37_MASK, RESIDUES
from chaperonin.protein.structure import Structure, read_structure, write_pdb

UNRELAXED = "structures/predicted/openfold_6KWC/6KWC_1_model_1_ptm_unrelaxed.pdb.gz"


def make_structure(sequence: str, seed: int = 0, chains: str = "A", first: int = 1) -> Structure:
    """Atoms at random places, all that each residue has; chains of equal length."""
    generator = np.random.default_rng(seed)
    aatype = np.array([(RESIDUES + "X").index(letter) for letter in sequence], np.int64)
    mask = ATOM37_MASK[aatype].astype(bool)
    positions = np.where(mask[:, :, None], generator.normal(0, 30, (len(aatype), 37, 3)), 0).astype(
        np.float32
    )
    each = len(sequence) // len(chains)
    return Structure(
        aatype,
        np.tile(np.arange(first, first + each), len(chains)),
        positions.round(3),
        mask,
        generator.uniform(0, 100, len(aatype)).round(2).astype(np.float32),
        np.repeat(np.array(list(chains)), each),
    )


def written(tmp_path: Path, text: str, name: str = "file.pdb") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def assert_same(first: Structure, second: Structure, tolerance: float = 0) -> None:
    for field in fields(Structure):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=field.name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=field.name)


sequences = st.text(RESIDUES, min_size=2, max_size=12).filter(lambda text: len(text) % 2 == 0)


@given(sequences, st.integers(0, 99), st.sampled_from(["A", "AB", "zB"]), st.sampled_from([1, 27, -5, 9990]))
def test_what_is_written_is_read_back(tmp_path_factory, sequence, seed, chains, first):
    structure = make_structure(sequence, seed, chains, first)
    path = tmp_path_factory.mktemp("pdb") / "file.pdb"
    path.write_text(write_pdb(structure))
    read = read_structure(path)
    # The one thing reading changes: NH1 of an arginine is the one nearer to CD.
    keep = np.array([residue != "R" for residue in sequence])
    assert_same(read.keep(keep), structure.keep(keep), tolerance=1e-3)


def test_lines_are_laid_out_as_alphafold_does():
    structure = make_structure("GK")
    lines = write_pdb(structure, "random weights").splitlines()
    assert {len(line) for line in lines} == {80}
    assert lines[0].rstrip() == "REMARK   6 random weights"
    assert lines[1].rstrip() == "MODEL     1"
    x, y, z = structure.positions[0, 0]
    expected = f"ATOM      1  N   GLY A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00{structure.confidence[0]:6.2f}"
    assert lines[2] == f"{expected}           N  "
    assert [line.split()[0] for line in lines[-3:]] == ["TER", "ENDMDL", "END"]
    assert lines[-3].rstrip() == f"TER   {len(lines) - 4:5}      LYS A   2"


def test_a_published_prediction_is_written_as_it_was(real_data):
    path = real_data / UNRELAXED
    with gzip.open(path, "rt") as opened:
        published = [
            line for line in opened.read().splitlines() if line.startswith(("ATOM", "TER", "END", "MODEL"))
        ]
    assert write_pdb(read_structure(path)).splitlines() == published


@pytest.mark.parametrize("name", ["1pga.pdb.gz", "1gya.cif.gz", "5zng.cif.gz", "4zey.cif.gz", "T1026.pdb.gz"])
def test_biotite_and_gemmi_read_the_same_atoms(real_data, name):
    structure = read_structure(real_data / "structures/experimental" / name)
    text = write_pdb(structure)
    by_biotite = PDBFile.read(io.StringIO(text)).get_structure(model=1, extra_fields=["b_factor"])
    atoms = structure.atoms()
    np.testing.assert_allclose(by_biotite.coord, atoms.coord, atol=1e-3)
    np.testing.assert_allclose(by_biotite.b_factor, atoms.b_factor, atol=0.0051)
    for annotation in ("atom_name", "res_name", "res_id", "element"):
        np.testing.assert_array_equal(by_biotite.get_annotation(annotation), atoms.get_annotation(annotation))
    model = gemmi.read_pdb_string(text)[0]
    assert model.count_atom_sites() == len(atoms)
    assert [residue.seqid.num for chain in model for residue in chain] == structure.residue_index.tolist()


def test_reads_what_gemmi_reads(real_data):
    """Chains, numbers, names and places of all amino acids in an entry with several chains and ligands."""
    path = real_data / "structures/experimental/5yh2.cif.gz"
    structure = read_structure(path)
    model = gemmi.read_structure(str(path))[0]
    expected = {}
    for chain in model:
        for residue in chain:
            if residue.entity_type == gemmi.EntityType.Polymer:
                ca = residue.find_atom("CA", "*")
                expected[chain.name, residue.label_seq] = (residue.name, ca.pos.tolist() if ca else None)
    keys = list(zip(structure.chain_ids.tolist(), structure.residue_index.tolist(), strict=True))
    assert set(keys) == set(expected)
    for place, key in enumerate(keys):
        name, position = expected[key]
        assert gemmi.find_tabulated_residue(name).one_letter_code.upper() == structure.sequence[place]
        np.testing.assert_allclose(structure.positions[place, ATOM37["CA"]], position, atol=1e-3)


def test_numbers_of_a_sequence_not_fully_seen(real_data):
    structure = read_structure(real_data / "structures/experimental/1o1z.cif.gz")
    assert (structure.residue_index[0], structure.residue_index[-1], len(structure)) == (9, 234, 226)


def test_selenomethionine_is_methionine(real_data):
    structure = read_structure(real_data / "structures/experimental/1qys.pdb.gz")
    with gzip.open(real_data / "structures/experimental/1qys.pdb.gz", "rt") as opened:
        sulphurs = [line for line in opened if line.startswith("HETATM") and line[12:20] == "SE   MSE"]
    is_methionine = structure.aatype == RESIDUES.index("M")
    assert len(sulphurs) == is_methionine.sum() > 0
    position = [float(sulphurs[0][start : start + 8]) for start in (30, 38, 46)]
    np.testing.assert_allclose(structure.positions[is_methionine][0, ATOM37["SD"]], position, atol=1e-3)


def test_the_alternative_with_the_highest_occupancy(tmp_path):
    lines = [
        "ATOM      1  N   SER A   1      11.000  10.000  10.000  1.00  5.00           N",
        "ATOM      2  CA ASER A   1      10.000  10.000  10.000  0.30  5.00           C",
        "ATOM      3  CA BSER A   1      20.000  10.000  10.000  0.70  5.00           C",
        "ATOM      4  CA  GLY A   2      30.000  10.000  10.000  1.00  5.00           C",
        "HETATM    5  O   HOH A   3      40.000  10.000  10.000  1.00  5.00           O",
        "HETATM    6  CA  GLY A   4      50.000  10.000  10.000  1.00  5.00           C",
        "END",
    ]
    structure = read_structure(written(tmp_path, "\n".join(lines)))
    assert structure.sequence == "SG"
    np.testing.assert_array_equal(structure.positions[:, ATOM37["CA"], 0], [20, 30])


def test_of_two_kinds_at_one_place_the_fuller(tmp_path):
    lines = [
        "ATOM      1  CA AALA A   1      10.000  10.000  10.000  0.40  5.00           C",
        "ATOM      2  CA BSER A   1      20.000  10.000  10.000  0.60  5.00           C",
        "END",
    ]
    structure = read_structure(written(tmp_path, "\n".join(lines)))
    assert structure.sequence == "S"
    assert structure.positions[0, ATOM37["CA"], 0] == 20


def test_nh1_is_the_one_nearer_to_cd(tmp_path):
    structure = make_structure("R")
    read = read_structure(written(tmp_path, write_pdb(structure)))
    names = ["CD", "NH1", "NH2"]
    carbon, first, second = (read.positions[0, ATOM37[name]] for name in names)
    assert np.linalg.norm(first - carbon) <= np.linalg.norm(second - carbon)
    places = [ATOM37["NH1"], ATOM37["NH2"]]
    assert set(read.positions[0, places, 0].tolist()) == set(structure.positions[0, places, 0].tolist())


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no amino acids|understood"),
        ("hello\nworld\n", "understood|no amino acids"),
        ("data_x\nloop_\n_atom_site.id\n1\n", "understood"),
        ("data_x\n_cell.length_a 1\n", "understood"),
        (
            "HETATM    1  O   HOH A   1      10.000  10.000  10.000  1.00  5.00           O\n",
            "no amino acids",
        ),
    ],
)
def test_a_file_without_a_protein_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_structure(written(tmp_path, text))


def test_insertion_codes_are_refused(tmp_path):
    lines = [
        f"ATOM      {place}  CA  GLY A  52{code}     10.000  10.000  10.000  1.00  5.00           C"
        for place, code in enumerate(" A")
    ]
    with pytest.raises(InputError, match="share a number"):
        read_structure(written(tmp_path, "\n".join(lines)))


def test_a_chain_that_is_not_there_names_those_that_are(real_data):
    path = real_data / "structures/experimental/5zng.cif.gz"
    assert read_structure(path, "C").chains == ("C",)
    with pytest.raises(InputError, match="'A', 'C'"):
        read_structure(path, "B")


def test_a_truncated_file_is_refused(real_data, tmp_path):
    path = tmp_path / "cut.cif.gz"
    path.write_bytes((real_data / "structures/experimental/5zng.cif.gz").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.cif\.gz"):
        read_structure(path)


@pytest.mark.parametrize("first", [9_998, 99_998])
def test_long_chains_are_numbered_in_hybrid_36(first, tmp_path):
    structure = make_structure("GGGG", first=first)
    text = write_pdb(structure)
    assert {len(line) for line in text.splitlines()} == {80}
    assert read_structure(written(tmp_path, text)).residue_index.tolist() == list(range(first, first + 4))
    residues = list(gemmi.read_pdb_string(text)[0][0])
    assert [residue.seqid.num for residue in residues] == list(range(first, first + 4))


def test_more_atoms_than_five_digits():
    structure = make_structure("W" * 7_200)
    lines = write_pdb(structure).splitlines()
    assert {len(line) for line in lines} == {80}
    atoms = PDBFile.read(io.StringIO("\n".join(lines))).get_structure(model=1)
    assert len(atoms) == structure.atom_mask.sum() == 100_800
    assert structures.get_residue_count(atoms) == 7_200


def test_what_pdb_cannot_hold_is_refused():
    structure = make_structure("GG")
    positions = structure.positions.copy()
    positions[0, 0, 0] = 10_000
    with pytest.raises(InputError, match="coordinates"):
        write_pdb(_with(structure, positions=positions))
    positions[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        write_pdb(_with(structure, positions=positions))
    with pytest.raises(InputError, match="several letters"):
        write_pdb(_with(structure, chain_ids=np.array(["AA", "AA"])))
    with pytest.raises(InputError, match="residue numbers"):
        write_pdb(_with(structure, residue_index=np.array([1, 10_000_000])))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="confidence"):
        _with(make_structure("GG"), confidence=np.zeros(3, np.float32))


@given(arrays.arrays(bool, 6))
def test_keep_takes_the_same_residues_of_everything(mask):
    structure = make_structure("ACDEFG")
    part = structure.keep(mask)
    assert part.sequence == "".join(letter for letter, kept in zip("ACDEFG", mask, strict=True) if kept)
    np.testing.assert_array_equal(part.positions, structure.positions[mask])


def test_atoms_of_a_structure_are_those_of_the_file(real_data):
    path = real_data / "structures/experimental/4i39.cif.gz"
    with gzip.open(path, "rt") as opened:
        atoms = get_structure(CIFFile.read(opened), model=1, altloc="occupancy")
    atoms = atoms[structures.filter_amino_acids(atoms) & (atoms.element != "H") & ~atoms.hetero]
    own = read_structure(path).atoms()
    assert len(own) == len(atoms)
    assert {tuple(position) for position in own.coord.tolist()} == {tuple(p) for p in atoms.coord.tolist()}


def _with(structure: Structure, **changes) -> Structure:
    values = {field.name: getattr(structure, field.name) for field in fields(Structure)}
    return Structure(**{**values, **changes})
