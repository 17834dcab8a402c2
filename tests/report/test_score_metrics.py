import pytest

from chaperonin.report.score_metrics import metric_tables, spearman


def test_own_figures_stand_beside_the_baselines():
    metrics = {"spearman": 0.5, "mcc": 0.1, "baselines": {"BLOSUM62": {"spearman": 0.25}, "random": 0.01}}
    (table,) = metric_tables(metrics)
    assert table.columns == ("metric", "this model", "BLOSUM62", "random")
    assert list(table.rows) == [("Spearman", "0.500", "0.250", "0.010"), ("MCC", "0.100", "", "")]


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


def test_summaries_by_metric_are_tables_by_model():
    summary = {"Spearman": [{"Model_rank": 1, "Model_name": "esm", "Average_Spearman": 0.4}]}
    (table,) = metric_tables({"average_over": "selection types", "summary": summary})
    assert table.caption == "Summary: Spearman"
    assert list(table.rows) == [("esm", "1", "0.400")]


def test_what_could_not_be_computed_is_empty_and_leaves_its_column_numeric():
    (table,) = metric_tables({"assays": {"x": {"AUC": None, "MCC": 0.1}, "y": {"AUC": 0.5, "MCC": None}}})
    assert list(table.rows) == [("x", "", "0.100"), ("y", "0.500", "")]
    assert table.numeric == {1, 2}


def test_one_assay_is_not_repeated_below_its_averages():
    tables = metric_tables({"Spearman": 0.1, "assays": {"x": {"Spearman": 0.1}}})
    assert [table.caption for table in tables] == ["Metrics"]


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
