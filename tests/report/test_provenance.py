import yaml

from chaperonin.report.files import read_mapping
from chaperonin.report.provenance import Fact, failures_section, provenance_section, summary


def test_summary_puts_memory_in_proportion(embed_job):
    facts = summary(read_mapping(embed_job.path / "run.json"), 0)
    assert facts[-1] == Fact("memory", "300 MiB", "predicted 330 MiB (+10%)")
    assert Fact("tokens", "98,765", "7,901 per second") in facts


def test_summary_of_nothing_is_only_the_failures():
    assert summary({}, 3) == [Fact("failed", "3", "why: see Failures")]


def test_resolved_configuration_can_be_read_back(embed_job):
    run = read_mapping(embed_job.path / "run.json")
    codes = [part for part in provenance_section(run).parts if part.kind == "code"]
    assert [code.caption for code in codes] == ["Command", "Resolved configuration"]
    assert yaml.safe_load(codes[1].text) == run["config"]


def test_failures_say_what_where_and_what_to_do(embed_job):
    embed_job.failures(
        [
            {
                "id": "p1",
                "record": 3,
                "stage": "read",
                "error": "J at 5",
                "where": "a.fasta:9",
                "advice": "Use X.",
            }
        ]
    )
    section, total = failures_section(embed_job.path)
    assert total == 1
    assert section.parts[0].rows == [("p1", "3", "J at 5 (read)", "a.fasta:9", "Use X.")]


def test_unreadable_failure_lines_are_counted(embed_job):
    (embed_job.path / "failures.jsonl").write_text('{"id": "a"}\n\n[1]\n{"id"')
    section, total = failures_section(embed_job.path)
    assert total == 3
    assert section.parts[0].note == "2 lines of it could not be read."


def test_no_failures_no_section(embed_job):
    assert failures_section(embed_job.path) == (None, 0)
