"""Which residues are compared: an alignment does not know where a missing loop was, numbers do."""

from dataclasses import replace

import numpy as np
import pytest
from tests.protein.trp_cage import model

from chaperonin.errors import InputError
from chaperonin.protein.atoms import RESIDUES
from chaperonin.protein.correspondence import correspond
from chaperonin.protein.structure import Structure


def with_sequence(sequence: str, first: int = 1) -> Structure:
    """A chain of these residues; where their atoms lie does not matter here."""
    some = model(1).keep(np.zeros(len(sequence), np.int64))
    aatype = np.array([RESIDUES.index(letter) for letter in sequence])
    return replace(some, aatype=aatype, residue_index=np.arange(first, first + len(sequence)))


def test_numbers_hold_a_gap_in_its_place() -> None:
    whole = with_sequence("MKTAGGGGGGGGSLWYHRE")
    seen = whole.keep(np.r_[0:6, 10:19])  # which of the glycines are missing, no alignment can tell
    found = correspond(whole, seen)
    assert found.rule == "number" and found.identity == 1
    np.testing.assert_array_equal(found.pairs[:, 0], np.r_[0:6, 10:19])


@pytest.mark.parametrize("shift", [-30, 226])
def test_numbers_may_be_shifted_by_a_constant(shift: int) -> None:
    whole = with_sequence("MKTAGGGGGGGGSLWYHRE")
    seen = whole.keep(np.r_[2:6, 10:19])
    found = correspond(replace(whole, residue_index=whole.residue_index + shift), seen)
    assert found.rule == f"number{shift:+d}"
    np.testing.assert_array_equal(found.pairs[:, 0], np.r_[2:6, 10:19])


def test_an_alignment_is_taken_where_it_pairs_more_equal_residues() -> None:
    whole = with_sequence("MKTAYIAKQRSLWYHREMNVCPDE")
    inserted = with_sequence("MKTAYIAKQRGGPGGSLWYHREMNVCPDE")
    found = correspond(whole, inserted)
    assert found.rule == "sequence" and found.identical == len(whole)
    assert correspond(whole, inserted, "number").identical < len(whole)


def test_mutations_change_nothing() -> None:
    whole, mutant = with_sequence("MKTAYIAKQRSLWYHRE"), with_sequence("MKTAYIWKQRSLWYARE")
    found = correspond(mutant, whole)
    assert found.rule == "number" and found.identical == 15 and len(found.pairs) == 17


def test_nothing_in_common_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no residue in common"):
        correspond(with_sequence("MKTAY"), with_sequence("MKTAY", 100), "number")
