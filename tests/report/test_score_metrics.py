import pytest

from chaperonin.report.score_metrics import metric_tables, spearman


def test_own_figures_stand_beside_the_baselines():
    metrics = {"spearman": 0.5, "mcc": 0.1, "baselines": {"BLOSUM62": {"spearman": 0.25}, "random": 0.01}}
    (table,) = metric_tables(metrics)
    assert table.columns == ("metric", "this model", "BLOSUM62", "random")
    assert list(table.rows) == [("Spearman", "0.500", "0.250", "0.01"), ("MCC", "0.100", "", "")]


@pytest.mark.parametrize(
    "assays",
    [
        {"x": {"spearman": 0.1, "type": "Stability"}, "y": {"spearman": 0.2, "type": "Binding"}},
        [
            {"assay": "x", "spearman": 0.1, "type": "Stability"},
            {"assay": "y", "spearman": 0.2, "type": "Binding"},
        ],
    ],
)
def test_assays_are_rows_as_mapping_or_list(assays):
    (table,) = metric_tables({"assays": assays})
    assert table.columns == ("name", "Spearman", "type")
    assert list(table.rows) == [("x", "0.100", "Stability"), ("y", "0.200", "Binding")]
    assert table.numeric == {1}
    assert spearman({"assays": assays}, "y", only_target=False) == 0.2


def test_nested_figures_are_flattened():
    (table,) = metric_tables({"assays": {"x": {"model": {"spearman": 0.1}, "baselines": {"BLOSUM62": 0.2}}}})
    assert table.columns == ("name", "model spearman", "baselines BLOSUM62")


def test_the_one_target_takes_the_figure_of_the_file_and_never_a_baseline():
    assert spearman({"Spearman": 0.3}, "x", only_target=True) == 0.3
    assert spearman({"summary": {"spearman": 0.4}}, "x", only_target=True) == 0.4
    assert spearman({"baselines": {"spearman": 0.4}}, "x", only_target=True) is None
    assert spearman({"spearman": 0.3}, "x", only_target=False) is None


@pytest.mark.parametrize("metrics", [{}, {"content": [1, 2]}, {"a": None, "b": "text", "c": []}])
def test_what_is_no_metric_is_left_out(metrics):
    assert metric_tables(metrics) == []
