import csv

import numpy as np
import pytest

from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.report.score_table import read_scores

SEQUENCE = "MKTAYIAKQRQISFVKSH"


def only_target(job):
    (target,) = read_scores(job.path / "scores.csv").targets.values()
    return target


def test_cells_hold_the_score_of_their_mutation(new_job, scan):
    job = new_job("score")
    rows = scan(SEQUENCE)
    job.scores(rows)
    cells = only_target(job).cells(1_000)
    assert (cells.first, cells.sequence, cells.scores.shape) == (1, SEQUENCE, (len(SEQUENCE), 20))
    for row in rows:
        mutant = str(row["mutant"])
        value = cells.scores[int(mutant[1:-1]) - 1, STANDARD_RESIDUES.index(mutant[-1])]
        assert value == np.float32(row["score"])
    wild = [STANDARD_RESIDUES.index(residue) for residue in SEQUENCE]
    assert np.isnan(cells.scores[range(len(SEQUENCE)), wild]).all()


def test_wild_type_between_scored_positions_comes_from_the_mutated_sequence(new_job):
    job = new_job("score")
    rows = [("K2A", "MATAYI", -1), ("I6V", "MKTAYV", -2)]
    job.scores([{"mutant": m, "mutated_sequence": s, "score": v} for m, s, v in rows])
    cells = only_target(job).cells(1_000)
    assert (cells.first, cells.sequence) == (2, "KTAYI")
    job.scores([{"mutant": m, "score": v} for m, _, v in rows])
    assert only_target(job).cells(1_000).sequence == "K···I"


def test_rows_that_are_no_single_substitution_have_no_cell_but_a_rank(new_job):
    job = new_job("score")
    mutants = ["A1P:D2N", "A1P", "A1*", "a1P", "", "A0P", "A999999P", "G1P"]
    job.scores([{"mutant": m, "score": n} for n, m in enumerate(mutants)])
    target = only_target(job)
    assert (target.variants, target.drawn, target.misfits) == (8, 1, 1)
    assert target.cells(10).scores.shape == (1, 20)
    assert [variant.name for _, variant in target.highest.ranked()] == mutants[::-1]


def test_repeated_mutations_show_their_mean(new_job):
    job = new_job("score")
    job.scores([{"mutant": "A1P", "score": value} for value in (1, 2, 6)])
    assert np.nanmax(only_target(job).cells(10).scores) == 3


@pytest.mark.parametrize(
    ("columns", "targets"),
    [
        ({"target": ["x", "x", "y"], "id": ["1", "2", "3"]}, ["x", "y"]),
        ({"id": ["x", "x", "y"]}, ["x", "y"]),
        ({"id": ["1", "2", "3"]}, [""]),
        ({"other": ["1", "2", "3"]}, [""]),
    ],
)
def test_the_column_that_names_the_protein(new_job, columns, targets):
    job = new_job("score")
    names = list(columns)
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    job.scores([row | {"mutant": f"A{n}C", "score": n} for n, row in enumerate(rows, start=1)])
    assert list(read_scores(job.path / "scores.csv").targets) == targets


def test_rows_without_a_score_are_counted(new_job):
    job = new_job("score")
    job.scores([{"mutant": "A1C", "score": score} for score in ("", "nan", "inf", "x", "1.5")])
    scores = read_scores(job.path / "scores.csv")
    assert (scores.variants, scores.without_score) == (1, 4)


def test_the_last_score_column_is_ours(new_job):
    path = new_job("score").path / "scores.csv"
    path.write_text("score,mutant,score\n5,A1C,7\n")
    assert read_scores(path).scores.items == [7]


def test_targets_beyond_the_twelfth_are_counted(new_job, scan):
    job = new_job("score")
    job.scores([row for n in range(15) for row in scan("MK", f"target {n}")])
    scores = read_scores(job.path / "scores.csv")
    assert list(scores.targets) == [f"target {n}" for n in range(12)]
    assert (scores.target_count, scores.variants) == (15, 15 * 38)
    assert set(scores.variants_by_target.values()) == {38}


def test_a_scan_tells_the_lengths_of_its_proteins(new_job, scan):
    job = new_job("score")
    rows = [row for n in range(1, 15) for row in scan("MKTAYIAKQRQISFV"[:n], f"p{n}")]
    job.scores([{"id": row["target"], "mutant": row["mutant"], "score": row["score"]} for row in rows])
    assert read_scores(job.path / "scores.csv").lengths == {f"p{n}": n for n in range(1, 15)}


def test_fields_longer_than_the_csv_module_allows_are_read(new_job):
    job = new_job("score")
    before = csv.field_size_limit()
    job.scores([{"mutated_sequence": "A" * 200_000, "score": 1}])
    assert read_scores(job.path / "scores.csv").lengths == {"": 200_000}
    assert csv.field_size_limit() == before


def test_a_table_without_scores_is_empty(tmp_path):
    for content in ("", "a,b\n1,2\n"):
        (tmp_path / "scores.csv").write_text(content)
        assert read_scores(tmp_path / "scores.csv").variants == 0
