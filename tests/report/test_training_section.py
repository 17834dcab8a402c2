from chaperonin.report.training_section import training_section


def test_curves_and_final_figures(train_job):
    parts = training_section(train_job.path).parts
    assert [part.caption for part in parts] == [
        "Loss over the optimiser's steps.",
        "Held-out perplexity over the optimiser's steps.",
        "Learning rate over the optimiser's steps.",
        "Final figures",
    ]
    assert ("training loss, last", "2.000", "100") in parts[-1].rows
    assert ("held-out perplexity, last", "8.166", "100") in parts[-1].rows
    assert ("tokens seen", "100,000", "") in parts[-1].rows


def test_half_a_line_at_the_end_is_left_out(train_job):
    whole = training_section(train_job.path)
    with (train_job.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 101, "lo')
    assert training_section(train_job.path) == whole


def test_the_use_of_experts_has_a_curve_where_there_are_any(new_job):
    job = new_job("train")
    steps = (1, 2, 3)
    lines = [{"step": n, "expert_evenness": 0.9, "held_out_expert_evenness": 1 - n / 10} for n in steps]
    job.lines("metrics.jsonl", lines)
    section = training_section(job.path)
    assert section.parts[0].caption == "Evenness of the use of experts over the optimiser's steps."
    assert section.reading[-1][0] == "Evenness"


def test_best_is_shown_where_it_is_not_the_last(new_job):
    job = new_job("train")
    job.lines("metrics.jsonl", [{"step": n, "held_out_loss": v} for n, v in ((1, 3.0), (2, 2.5), (3, 2.75))])
    rows = training_section(job.path).parts[-1].rows
    assert rows == [("held-out loss, last", "2.750", "3"), ("held-out loss, best", "2.500", "2")]


def test_long_trainings_are_thinned_and_keep_their_last_step(new_job):
    job = new_job("train")
    job.lines("metrics.jsonl", [{"step": n, "loss": 1 / n} for n in range(1, 9_001)])
    figure, table = training_section(job.path).parts
    assert len(figure.svg) < 100_000
    assert table.rows[0][2] == "9,000"


def test_no_measurements_no_section(new_job):
    job = new_job("train")
    assert training_section(job.path) is None
    job.lines("metrics.jsonl", [])
    assert training_section(job.path) is None
