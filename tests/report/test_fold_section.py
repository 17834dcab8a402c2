"""The report on structures: the most confident first, pictures of what the files say, and every warning."""

from pathlib import Path

import numpy as np
import pytest
from tests.inference.test_fold_output import WARNING, make_prediction

from chaperonin.inference.fold import Folded
from chaperonin.inference.fold_output import file_name_of, rank_predictions, write_predictions
from chaperonin.inference.fold_store import read_coverage, to_arrays, write_coverage
from chaperonin.inference.fold_table import Row, write_summary
from chaperonin.protein.alignment import read_a3m
from chaperonin.protein.coverage import coverage_of
from chaperonin.report import write_fold_pictures
from chaperonin.report.blocks import Heading, Illustration, Paragraph, StructureView, Table
from chaperonin.report.fold_figures import aligned_error_maps, coverage_map
from chaperonin.report.fold_section import MOST_SHOWN, fold_section


def folded(outdir: Path, name: str, confidence: float, warning: str = "", has_error: bool = True) -> Row:
    ranked = [make_prediction(model, confidence, has_error=has_error) for model in ("model_1", "model_2")]
    write_predictions(outdir, name, ranked, warning=warning)
    best = rank_predictions(ranked)[0]
    file = file_name_of(name, "unrelaxed", 1, best, "pdb")
    return Row(name, name, 7, 3, f"alphafold2_ptm_{best.model}_seed_000", confidence, 0.43, file, "")


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


def test_an_alignment_is_shown_as_it_was_stored(tmp_path: Path) -> None:
    alignment = read_a3m(">query\nMKTAYIA\n>far\n--SAYLA\n>near\nMKTaaAYLA\n")
    write_summary(tmp_path, [folded(tmp_path, "deep", 80)])
    result = Folded(make_prediction("model_1", 80), 1, 0.5)
    assert not write_coverage(tmp_path, "deep", to_arrays(result, 0))  # a sequence alone
    (path,) = write_coverage(tmp_path, "deep", to_arrays(result, 0, alignment))
    stored, expected = read_coverage(path), coverage_of(alignment)
    assert stored.sequences == 3
    for name in ("depth", "identity", "covered"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(expected, name))
    section = fold_section(tmp_path)
    assert section is not None
    captions = [part.caption for part in section.parts if isinstance(part, Illustration)]
    assert captions[-1] == "Alignment of deep: 3 sequences, 3 at the median position."


def test_a_large_page_names_the_files_of_what_it_does_not_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaperonin.report.fold_section.MOST_DRAWN", 10)
    rows = [folded(tmp_path, "first", 90), folded(tmp_path, "second", 50)]
    write_summary(tmp_path, rows)
    section = fold_section(tmp_path)
    assert section is not None
    (drawn,) = (part for part in section.parts if isinstance(part, StructureView))
    assert drawn.file == rows[0].structure
    (said,) = (
        part.text for part in section.parts if isinstance(part, Paragraph) and "Not drawn" in part.text
    )
    assert rows[1].structure in said


def test_pictures_have_colabfolds_names_and_are_drawn_once(tmp_path: Path) -> None:
    rows = [folded(tmp_path, "both", 90, WARNING), folded(tmp_path, "plain", 40, has_error=False)]
    alignment = read_a3m(">query\nMKTAYIA\n>far\n--SAYLA\n")
    write_coverage(tmp_path, "both", to_arrays(Folded(make_prediction("model_1", 80), 1, 0.5), 0, alignment))
    write_summary(tmp_path, rows)
    names = [path.name for path in write_fold_pictures(tmp_path)]
    assert sorted(names) == ["both_coverage.png", "both_pae.png", "both_plddt.png", "plain_plddt.png"]
    before = {name: (tmp_path / name).read_bytes() for name in names}
    assert write_fold_pictures(tmp_path) == []
    (tmp_path / "both_pae.png").unlink()
    assert [path.name for path in write_fold_pictures(tmp_path)] == ["both_pae.png"]
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


def test_figures_carry_the_warning() -> None:
    plain, stamped = (aligned_error_maps([np.ones((5, 5))] * 7, text) for text in ("", WARNING))
    assert not plain.texts and stamped.texts[0].get_text().startswith("random weights")
    assert [axes.get_title() for axes in stamped.axes[:7]] == [f"rank {rank}" for rank in range(1, 8)]
    assert stamped.get_size_inches()[1] > plain.get_size_inches()[1]


def test_the_coverage_figure_shows_identity_gaps_and_depth() -> None:
    coverage = coverage_of(read_a3m(">query\nMKTAYIA\n>far\n--SAYLA\n"))
    axes = coverage_map(coverage).axes[0]
    (image,), (line,) = axes.images, axes.patches
    shades = image.get_array()
    assert shades[0].tolist() == [1] * 7 and shades.mask[1].tolist() == [True, True] + [False] * 5
    np.testing.assert_allclose(shades[1].compressed(), 3 / 7)
    assert line.get_data().values.tolist() == [1, 1, 2, 2, 2, 2, 2]
