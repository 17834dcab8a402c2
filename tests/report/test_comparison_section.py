"""The report on structures and references: best first, and whether the confidence was right."""

from pathlib import Path

import numpy as np
import pytest

from chaperonin.inference.compare_table import (
    METRICS,
    RESIDUES,
    STRUCTURES,
    ComparedResidues,
    ComparedRow,
    agreement,
    metrics,
    write_metrics,
    write_residues,
    write_structures,
)
from chaperonin.report.blocks import Illustration, Paragraph, Table
from chaperonin.report.comparison_figures import accuracy_lines, confidence_and_truth
from chaperonin.report.comparison_section import MOST_SHOWN, comparison_section


def row(id: str, lddt: float, plddt: float = 80) -> ComparedRow:
    return ComparedRow(
        id, f"{id}.pdb", "A", "number", 1, 9, 8, 9, 0.8, 0.7, 0.6, lddt, lddt, 1.5, 3, plddt, ""
    )


def left(outdir: Path, rows: list[ComparedRow], plddt: float = 80) -> None:
    proteins = []
    for one in rows:
        truth = np.append(np.linspace(one.lddt - 0.1, one.lddt + 0.1, 8), np.nan)
        columns = {"plddt": np.append(np.full(8, plddt), np.nan), "lddt": truth, "lddt_ca": truth}
        numbers = np.r_[3:9, 12:15]  # a loop was not seen
        proteins.append(ComparedResidues(one.id, numbers, "MKTAYIAKQ", columns))
    write_structures(outdir / STRUCTURES, rows)
    write_residues(outdir / RESIDUES, proteins)
    write_metrics(outdir / METRICS, metrics(rows, proteins))


def test_structures_stand_by_lddt_below_their_mean(tmp_path: Path) -> None:
    left(tmp_path, [row("=low", 0.4), row("high", 0.8), row("none", np.nan)])
    section = comparison_section(tmp_path)
    assert section is not None
    table, calibration, *lines = section.parts
    assert isinstance(table, Table) and [cells[0] for cells in table.rows] == [
        "mean of 3",
        "high",
        "=low",
        "none",
    ]
    assert table.rows[0][4] == "0.600" and table.rows[3][4] == "" and table.rows[1][3] == "8 of 9"
    assert isinstance(calibration, Illustration) and "of 16 residues" in calibration.caption
    assert "mean error of pLDDT +20.0" in calibration.caption
    captions = [part.caption for part in lines if isinstance(part, Illustration)]
    assert captions[0].startswith("high: lDDT 0.800") and len(captions) == 3


def test_only_some_of_many_are_shown_and_the_page_says_so(tmp_path: Path) -> None:
    left(tmp_path, [row(f"p{number}", 0.5) for number in range(MOST_SHOWN + 2)])
    section = comparison_section(tmp_path)
    assert section is not None
    assert len([part for part in section.parts if isinstance(part, Illustration)]) == MOST_SHOWN + 1
    (said,) = (part.text for part in section.parts if isinstance(part, Paragraph))
    assert f"the {MOST_SHOWN} best of {MOST_SHOWN + 2}" in said


def test_predictions_without_plddt_are_no_error(tmp_path: Path) -> None:
    left(tmp_path, [row("p", 0.5, np.nan)], plddt=np.nan)
    section = comparison_section(tmp_path)
    assert section is not None
    assert any("no pLDDT" in part.text for part in section.parts if isinstance(part, Paragraph))


def test_a_job_that_compared_nothing_has_no_such_part(tmp_path: Path) -> None:
    assert comparison_section(tmp_path) is None
    left(tmp_path, [])
    assert comparison_section(tmp_path) is None


def test_agreement_is_of_the_residues_that_have_both() -> None:
    found = agreement(np.array([50, 60, 70, np.nan]), np.array([40, 60, 80, 10.0]))
    assert found == {
        "residues": 3,
        "pearson": 1.0,
        "mean_error": 0.0,
        "mean_absolute_error": pytest.approx(6.67),
    }
    assert agreement(np.array([50.0]), np.array([40.0]))["pearson"] is None


@pytest.mark.parametrize("count", [10, 5_000])
def test_every_residue_is_in_the_figure(count: int) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (2, count))
    axes = confidence_and_truth(*values).axes[0]
    if count == 10:
        np.testing.assert_array_equal(axes.collections[0].get_offsets(), values.T)
    else:
        assert np.expm1(axes.images[0].get_array()).sum() == pytest.approx(count)


def test_lines_have_gaps_where_residues_were_not_seen() -> None:
    numbers, values = np.array([3, 4, 8]), np.array([10.0, 20, 30])
    line = accuracy_lines(numbers, values, values).axes[0].lines[1]
    np.testing.assert_array_equal(line.get_xdata(), np.arange(3, 9))
    np.testing.assert_array_equal(line.get_ydata(), [10, 20, np.nan, np.nan, np.nan, 30])
