"""The part of the report about a supervised benchmark."""

import csv
from pathlib import Path

import numpy as np

from chaperonin.report.benchmark_figures import beside_baseline
from chaperonin.report.benchmark_section import benchmark_section, is_benchmark
from chaperonin.report.blocks import Illustration, Table

ROWS = [
    {
        "DMS_id": name, "variants": "1200", "method": method, "Spearman": "0.5", "MSE": "0.7",
        "Spearman_fold_deviation": "0.02", "one_hot_ridge_Spearman": ridge, "one_hot_ridge_MSE": "0.8",
        "BLOSUM62_Spearman": blosum, "BLOSUM62_MSE": blosum,
    }
    for name, method, ridge, blosum in (("A", "lora", "0.4", "0.25"), ("B_indels", "frozen", "0.6", ""))
]  # fmt: skip
SUMMARY = [
    {
        "metric": "Spearman",
        "Model_name": "one_hot_ridge",
        "Average": "0.5",
        "assays": "2",
        "average_over": "assays",
    },
    {"metric": "MSE", "Model_name": "BLOSUM62", "Average": "", "assays": "0", "average_over": "assays"},
]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def test_the_section_has_averages_a_figure_and_every_assay(tmp_path: Path) -> None:
    write(tmp_path / "assays.csv", ROWS)
    write(tmp_path / "summary.csv", SUMMARY)
    assert is_benchmark(tmp_path)
    section = benchmark_section(tmp_path)
    assert section is not None
    averages, picture, assays = section.parts
    assert isinstance(averages, Table) and isinstance(picture, Illustration) and isinstance(assays, Table)
    assert [row[2] for row in averages.rows] == ["0.500", ""]
    assert "ahead in 1 of 2" in picture.caption and "B_indels: model 0.500, ridge 0.600" in picture.svg
    assert assays.rows[0] == (
        "A",
        "1,200",
        "lora",
        "0.500",
        "0.020",
        "0.700",
        "0.400",
        "0.800",
        "0.250",
        "0.250",
    )
    assert assays.rows[1][-2:] == ("", "")


def test_without_results_there_is_no_section(tmp_path: Path) -> None:
    assert benchmark_section(tmp_path) is None and not is_benchmark(tmp_path)
    (tmp_path / "assays.csv").write_text("\n")
    assert benchmark_section(tmp_path) is None


def test_dots_stand_where_the_figures_say() -> None:
    figure = beside_baseline(np.array([0.2, -0.1]), np.array([0.5, 0.3]), [False, True], ["a", "b"])
    (axes,) = figure.axes
    places = [tuple(map(float, dots.get_offsets()[0])) for dots in axes.collections]
    assert places == [(0.2, 0.5), (-0.1, 0.3)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["frozen", "LoRA"]
