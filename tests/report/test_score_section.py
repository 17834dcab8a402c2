import json

from chaperonin.report.score_section import score_section


def parts_of(job, kind):
    section, _ = score_section(job.path)
    return [part for part in section.parts if part.kind == kind]


def test_measured_scores_show_metrics_baselines_spearman_and_scatter(score_job):
    metrics, ranking = parts_of(score_job, "table")
    assert metrics.columns == ("metric", "this model", "BLOSUM62")
    assert ("Spearman", "0.432", "0.247") in metrics.rows
    (heading,) = parts_of(score_job, "heading")
    assert heading.detail == "570 variants · Spearman 0.432"
    captions = [part.caption for part in parts_of(score_job, "illustration")]
    assert captions == [
        "Scores of 570 variants.",
        "Effect of each substitution at positions 1 to 30.",
        "Score against measurement of 570 variants; Spearman 0.432.",
    ]
    assert ranking.caption == "The 20 highest and the 20 lowest scores"


def test_ranking_is_sorted_from_both_ends(score_job):
    ranking = parts_of(score_job, "table")[-1]
    high, low = ([float(row[column]) for row in ranking.rows] for column in (1, 4))
    assert high == sorted(high, reverse=True) and low == sorted(low) and high[-1] > low[-1]
    assert len(ranking.rows) == 20


def test_unmeasured_scan_shows_heat_map_distribution_and_ranking(new_job, scan):
    job = new_job("score")
    job.scores(scan("MKTAYIAKQR"))
    assert [part.kind for part in score_section(job.path)[0].parts] == [
        "heading", "illustration", "illustration", "table",
    ]  # fmt: skip


def test_the_heat_map_is_described_with_its_protein_where_that_has_a_name(new_job, scan):
    job = new_job("score")
    for name, description in (("BLAT", "Heat map of BLAT, positions"), ("", "Heat map, positions")):
        job.scores(scan("MKT", name))
        assert f'aria-label="{description} by residues: Effect' in parts_of(job, "illustration")[0].svg


def test_indels_without_mutants_have_no_heat_map(new_job):
    job = new_job("score")
    job.scores([{"mutated_sequence": "MKT" * n, "score": -n} for n in range(1, 6)])
    (ranking,) = parts_of(job, "table")
    assert ranking.rows[0] == ("MKT", "-1.000") and len(ranking.rows) == 5
    assert [part.caption for part in parts_of(job, "illustration")] == ["Scores of 5 variants."]


def test_metrics_alone_make_a_section(new_job):
    job = new_job("score")
    (job.path / "metrics.json").write_text(json.dumps({"spearman": 0.5}))
    assert [part.kind for part in score_section(job.path)[0].parts] == ["table"]


def test_several_targets_have_their_own_spearman(new_job, scan):
    job = new_job("score")
    job.scores([row for name in ("x", "y") for row in scan("MKT", name)])
    (job.path / "metrics.json").write_text(
        json.dumps({"assays": {"x": {"spearman": 0.1}, "y": {"spearman": 0.2}}})
    )
    assert [part.detail for part in parts_of(job, "heading")] == [
        "57 variants · Spearman 0.100",
        "57 variants · Spearman 0.200",
    ]


def test_a_table_without_names_takes_the_name_of_its_assay(new_job):
    job = new_job("score")
    job.scores([{"mutant": "A1C", "score": 1}])
    assert parts_of(job, "heading")[0].text == "All variants"
    (job.path / "metrics.json").write_text(json.dumps({"assays": {"BLAT": {"Spearman": 0.25}}}))
    heading = parts_of(job, "heading")[0]
    assert (heading.text, heading.detail) == ("BLAT", "1 variant · Spearman 0.250")


def test_no_scores_no_section(tmp_path):
    assert score_section(tmp_path)[0] is None
