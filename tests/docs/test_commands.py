"""Every command and every Python line that the documentation shows is run."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaperonin.cli.main import app_of, main
from chaperonin.kernels.linear import lacks_int8

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
SHOWN = re.compile(r"^(?:TOKEN=.*\) )?chaperonin (\S.*?)(?:\s{2,}.*|\s#.*)?$", re.MULTILINE)
"""A command in a fence of text: it waits, fetches or needs files of the reader. A remark stands behind two spaces."""
FENCE = re.compile(r"^```(sh|python|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shorten(path: Path, first: Callable[[str], str]) -> None:
    """Only the beginning of an example: the pages are tried, not the models."""
    text = path.read_text(encoding="utf-8")
    path.unlink()
    path.write_text(first(text), encoding="utf-8")


def variants_of_the_first_120(table: str) -> str:
    """What is left of the table of variants where the target ends after two lines of 60 residues."""
    lines = table.splitlines(True)
    return "".join(
        line for line in lines if all(int(n) <= 120 for n in re.findall(r"\d+", line.split(",")[1]))
    )


def fences(page: Path) -> Iterator[tuple[str, str]]:
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield match[1], match[2]


def commands(script: str) -> Iterator[list[str]]:
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


@pytest.fixture
def workplace(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    published_models: None,
    proteingym: None,
    protst: None,
    localization: None,
    mixture: None,
) -> Path:
    """A folder with the configs and a few of the examples, where models that the pages name are on disk (tiny)."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    (tmp_path / "examples").mkdir()
    for example in (REPOSITORY / "examples").iterdir():
        (tmp_path / "examples" / example.name).symlink_to(example)
    shorten(tmp_path / "examples/proteins.fasta", lambda text: "".join(re.split(r"(?=>)", text)[:9]))
    shorten(tmp_path / "examples/made_membrane.csv", lambda text: "".join(text.splitlines(True)[:37]))
    shorten(tmp_path / "examples/blat_ecolx.fasta", lambda text: "\n".join(text.splitlines()[:3]) + "\n")
    shorten(tmp_path / "examples/variants.csv", variants_of_the_first_120)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SLOW = {"bench", "tasks"}
"""Pages whose commands train or measure for long."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in SLOW else [])
        for page in PAGES
    ],
)
def test_a_page_does_what_it_says(page: Path, workplace: Path) -> None:
    names: dict[str, object] = {}
    for language, text in fences(page):
        if language == "text":
            continue
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
            continue
        for words in commands(text):
            check(words)


def test_commands_that_are_only_shown_are_understood() -> None:
    shown = [
        shlex.split(command)
        for page in PAGES
        for language, text in fences(page)
        if language == "text"
        for command in SHOWN.findall(re.sub(r"\\\n\s*", "", text))
    ]
    assert {words[0] for words in shown} >= {"serve", "weights", "bench", "fold"}
    assert ["serve", "out/mine/model"] in shown
    for words in shown:
        app_of(words[0]).parse_args(words[1:], exit_on_error=False, print_error=False)


def check(words: list[str]) -> None:
    if words[0] == "chaperonin":
        # A processor without 8-bit products has its sentence about it; a mixture is bytes anywhere.
        refused = "int8" in words and lacks_int8() and "aido" not in words
        assert main(words[1:]) == (1 if refused else 0), shlex.join(words)
    elif words[0] == "./go":
        usage = (REPOSITORY / "go").read_text()
        assert re.search(rf"^  {words[1]}\b", usage, re.MULTILINE), shlex.join(words)
        if words[1] == "bench":
            assert (REPOSITORY / "benchmarks" / f"{words[2]}.py").is_file(), shlex.join(words)
    else:
        pytest.fail(f"{shlex.join(words)}: the pages show only chaperonin and ./go commands")
