import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from chaperonin.errors import InputError
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.report import write_report

HOSTILE = '<script>alert("x")</script>\'"><img src=https://evil.example/x onerror=alert(1)>&amp;$x$\x07\u202e'


class Page(HTMLParser):
    """Tags, attributes, section anchors and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.sections, self.words = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag == "section":
            self.sections.append(dict(attrs)["id"])

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def report_of(job):
    html = write_report(job.path).read_text(encoding="utf-8")
    return html, Page(html)


@pytest.fixture(params=["embed_job", "score_job", "contacts_job", "train_job"])
def any_job(request):
    return request.getfixturevalue(request.param)


def test_report_loads_nothing_and_runs_nothing(any_job):
    html, page = report_of(any_job)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    loads = [value for _, key, value in page.attributes if key in ("src", "href", "xlink:href", "data")]
    assert loads and all(value.startswith(("#", "data:image/png;base64,")) for value in loads)
    assert "http://" not in html and "https://" not in html
    assert "@import" not in html and set(re.findall(r"url\((.)", html)) <= {"#"}


def test_every_reference_inside_the_page_has_one_target(any_job):
    _, page = report_of(any_job)
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    named = {value[1:] for _, key, value in page.attributes if key == "href" and value.startswith("#")}
    clipped = {m for _, _, value in page.attributes for m in re.findall(r"url\(#([^)]+)\)", value)}
    assert named | clipped <= set(ids)


def test_every_figure_has_a_description_and_every_table_has_headers(any_job):
    html, _ = report_of(any_job)
    figures = re.findall(r"<svg [^>]*>", html)
    assert figures and all(
        'role="img"' in tag and re.search(r'aria-label="[^"]{10,}"', tag) for tag in figures
    )
    for table in re.findall(r"<table>.*?</table>", html, re.S):
        assert "<caption>" in table and 'scope="col"' in table and 'scope="row"' in table


def test_equal_inputs_give_equal_bytes(any_job):
    first = write_report(any_job.path).read_bytes()
    assert write_report(any_job.path).read_bytes() == first
    assert not list(any_job.path.glob("*.part"))


@pytest.mark.parametrize(
    ("job", "sections"),
    [
        ("embed_job", ["embeddings", "lengths", "reading", "provenance"]),
        ("score_job", ["scores", "reading", "provenance"]),
        ("contacts_job", ["contacts", "lengths", "reading", "provenance"]),
        ("train_job", ["training", "reading", "provenance"]),
    ],
)
def test_each_part_appears_when_its_file_is_there(request, job, sections):
    assert report_of(request.getfixturevalue(job))[1].sections == sections


def test_a_missing_file_only_leaves_out_its_part(embed_job):
    (embed_job.path / "embeddings.parquet").unlink()
    (embed_job.path / "failures.jsonl").unlink()
    assert report_of(embed_job)[1].sections == ["provenance"]
    (embed_job.path / "run.json").unlink()
    assert report_of(embed_job)[1].sections == []


def test_summary_says_records_tokens_time_and_both_memories(embed_job):
    text = report_of(embed_job)[1].text
    for words in ("All 4 records have a result.", "98,765", "12.5 s", "300 MiB", "predicted 330 MiB (+10%)"):
        assert words in text
    for words in (
        "chaperonin embed proteins.fasta out",
        "ab" * 32,
        "1,234,567",
        "token_budget: 4096",
        "16.00 GiB",
    ):
        assert words in text


def test_hostile_names_are_only_text(new_job):
    job = new_job("score")
    job.run(model={"name": HOSTILE}, config={"x": HOSTILE}, command=HOSTILE, versions={HOSTILE: HOSTILE})
    job.failures([{"id": HOSTILE, "record": 1, "error": HOSTILE, "where": HOSTILE, "advice": HOSTILE}])
    job.contacts("a", HOSTILE, "ACDEFGHIKLMNPQRSTVWYACDEFGHIK")
    job.embeddings([HOSTILE] * 4, np.random.default_rng(0).normal(size=(4, 5)), [3, 4, 5, 6])
    row = {"mutant": "A1C", "DMS_score": 1.5, HOSTILE: HOSTILE}
    job.scores(
        [
            row | {"target": HOSTILE, "mutated_sequence": "C<script>", "score": 1},
            row | {"target": HOSTILE, "mutant": HOSTILE, "mutated_sequence": HOSTILE, "score": 2},
        ]
    )
    html, page = report_of(job)
    assert not {"script", "img"} & set(page.tags)
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    assert html.count("<script") == 0 and "<img" not in html
    assert '<script>alert("x")</script>' in page.text
    assert page.sections == [
        "embeddings",
        "scores",
        "contacts",
        "lengths",
        "failures",
        "reading",
        "provenance",
    ]


def test_undecodable_names_do_not_stop_the_report(embed_job):
    embed_job.failures([{"id": "caf\udce9", "record": 1, "error": "not UTF-8"}])
    assert "caf?" in report_of(embed_job)[1].text


def test_job_without_a_result_still_has_a_report(new_job):
    job = new_job("embed")
    job.run(done=0, failed=2)
    advice = "Replace it with X."
    job.failures(
        [{"id": f"p{n}", "record": n, "stage": "read", "error": "J", "advice": advice} for n in (1, 2)]
    )
    job.embeddings([], np.zeros((0, 8)), [])
    _, page = report_of(job)
    assert page.sections == ["failures", "provenance"]
    assert "No record has a result: 2 records failed." in page.text
    assert advice in page.text


def test_only_the_first_200_failures_are_shown_and_the_rest_counted(embed_job):
    embed_job.run(done=30, failed=1_234)
    embed_job.failures([{"id": f"bad{n:04d}", "record": n, "error": "empty"} for n in range(1_234)])
    html, page = report_of(embed_job)
    assert "bad0199" in html and "bad0200" not in html
    assert "1,034 further failures in failures.jsonl." in page.text
    assert "30 records have a result, 1,234 failed." in page.text


def test_large_jobs_stay_small_and_quick(new_job, scan):
    job = new_job("embed")
    count = 8_000
    job.run(done=count, failed=count)
    embeddings = np.random.default_rng(0).normal(size=(count, 32))
    job.embeddings(
        [f"sp|P{n:06d}|NAME_{n}" for n in range(count)], embeddings, [50 + n % 900 for n in range(count)]
    )
    job.failures([{"id": f"bad{n}", "record": n, "error": "x" * 500} for n in range(count)])
    rows = scan("".join(np.random.default_rng(1).choice(list(STANDARD_RESIDUES), 400)), "target 0")
    job.scores(rows * 2 + [row for number in range(1, 14) for row in scan("MKT", f"target {number}")])
    started = time.process_time()
    page = write_report(job.path)
    assert page.stat().st_size < 5e6
    assert time.process_time() - started < 20
    text = page.read_text(encoding="utf-8")
    assert "The first 12 of 14 proteins follow" in text
    assert "5,000 proteins, evenly chosen from 8,000," in text


def test_a_folder_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "nothing")


def test_a_damaged_run_record_is_an_input_error(embed_job):
    (embed_job.path / "run.json").write_text('{"verb": ')
    with pytest.raises(InputError, match="not JSON"):
        write_report(embed_job.path)
