"""The report on structures: the most confident first, pictures of what the files say, and every warning."""

from pathlib import Path

from tests.inference.test_fold_output import WARNING, make_prediction

from chaperonin.inference.fold_output import write_predictions
from chaperonin.inference.fold_table import Row, write_summary
from chaperonin.report.blocks import Heading, Illustration, Paragraph, Table
from chaperonin.report.fold_section import MOST_SHOWN, fold_section


def folded(outdir: Path, name: str, confidence: float, warning: str = "", has_error: bool = True) -> Row:
    ranked = [make_prediction(model, confidence, has_error=has_error) for model in ("model_1", "model_2")]
    write_predictions(outdir, name, ranked, warning=warning)
    return Row(name, name, 7, 3, "alphafold2_ptm_model_1_seed_000", confidence, 0.43, f"{name}.pdb", "")


def test_targets_stand_by_confidence_with_their_pictures(tmp_path: Path) -> None:
    write_summary(tmp_path, [folded(tmp_path, "low", 30), folded(tmp_path, "high", 90, has_error=False)])
    section = fold_section(tmp_path)
    assert section is not None
    table, *parts = section.parts
    assert isinstance(table, Table) and [row[0] for row in table.rows] == ["high", "low"]
    assert [part.text for part in parts if isinstance(part, Heading)] == ["high", "low"]
    captions = [part.caption for part in parts if isinstance(part, Illustration)]
    assert len(captions) == 3 and "1 lower rank" in captions[0]  # no aligned errors of the first
    assert captions[2].startswith("Predicted aligned error of low, rank 1")


def test_a_warning_in_the_files_stands_in_the_report(tmp_path: Path) -> None:
    write_summary(tmp_path, [folded(tmp_path, "random", 50, WARNING)])
    section = fold_section(tmp_path)
    assert section is not None
    assert WARNING in [part.text for part in section.parts if isinstance(part, Paragraph)]


def test_only_some_of_many_are_shown_and_the_page_says_so(tmp_path: Path) -> None:
    rows = [
        Row(str(number), str(number), 7, 1, "m", number, None, "", "") for number in range(MOST_SHOWN + 3)
    ]
    write_summary(tmp_path, rows)
    section = fold_section(tmp_path)
    assert section is not None
    assert len([part for part in section.parts if isinstance(part, Heading)]) == MOST_SHOWN
    texts = [part.text for part in section.parts if isinstance(part, Paragraph)]
    assert f"the {MOST_SHOWN} most confident of {MOST_SHOWN + 3}" in texts[0]
    assert "not in this folder any more" in texts[1]


def test_a_job_that_folded_nothing_has_no_such_part(tmp_path: Path) -> None:
    assert fold_section(tmp_path) is None
    write_summary(tmp_path, [])
    assert fold_section(tmp_path) is None
