"""The command itself: quick to start, exact about mistakes."""

import os
import subprocess
import sys
import time

import pytest

from chaperonin.cli.main import VERBS, main


@pytest.mark.alone
def test_help_answers_in_half_a_second_and_imports_nothing_heavy() -> None:
    code = "import sys; from chaperonin.cli.main import main; main(['--help']); print(sorted(sys.modules))"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
    assert not any(name in run.stdout.splitlines()[-1] for name in ("'torch'", "'numpy'", "'cyclopts'"))


@pytest.mark.parametrize(
    ("words", "given", "found"),
    [
        ("embed", None, "passive"),
        ("embed", "active", "active"),
        ("train", None, None),
        ("bench", None, None),
        ("evaluate proteingym-supervised", None, None),
    ],
)
def test_threads_sleep_where_nothing_is_trained(
    words: str, given: str | None, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the user said otherwise."""
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    main([*words.split(), "--help"])
    assert os.environ.get("OMP_WAIT_POLICY") == found


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_answers_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert "Usage: chaperonin " + verb in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [[], ["fly"], ["embed"], ["embed", "a", "b", "--no-such"], ["embed", "absent", "o"]]
)
def test_mistakes_exit_with_one_and_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    captured = capsys.readouterr()
    assert (captured.err or captured.out).strip()
