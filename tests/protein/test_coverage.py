import numpy as np

from chaperonin.protein.alignment import read_a3m
from chaperonin.protein.coverage import MOST_ROWS, coverage_of

ALIGNMENT = ">query\nMKTAYI\n>far\n--SAYL\n>near\nMKTaaAYL\n>half\nMKT---\n"


def test_rows_stand_by_identity_and_gaps_are_no_residues():
    coverage = coverage_of(read_a3m(ALIGNMENT))
    assert coverage.sequences == 4
    np.testing.assert_allclose(coverage.identity, [1, 5 / 6, 3 / 6, 2 / 6])
    np.testing.assert_array_equal(coverage.depth, [3, 3, 4, 3, 3, 3])
    np.testing.assert_array_equal(coverage.covered[3], [False, False, True, True, True, True])


def test_a_deep_alignment_keeps_evenly_chosen_rows_and_the_depth_of_all():
    generator = np.random.default_rng(0)
    query = "MKTAYIAKQR"
    rows = ["".join(generator.choice(list("ACDEFGHIKL-"), 10)) for _ in range(3 * MOST_ROWS)]
    text = f">query\n{query}\n" + "".join(f">{number}\n{row}\n" for number, row in enumerate(rows))
    coverage = coverage_of(alignment := read_a3m(text))
    assert coverage.sequences == len(alignment) and len(coverage.identity) == MOST_ROWS
    assert (np.diff(coverage.identity) <= 0).all()
    np.testing.assert_array_equal(coverage.depth, (alignment.residues != 21).sum(axis=0))
