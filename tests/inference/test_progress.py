import io
import logging

import pytest
from rich.console import Console

from chaperonin.inference.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""
    from chaperonin.inference import progress

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_away_from_a_terminal_there_is_at_most_one_line_in_a_while(caplog, clock):
    caplog.set_level(logging.INFO)
    with Progress(Console(file=io.StringIO()), interval_seconds=5).stage(
        "embed", 100, noun="sequences"
    ) as stage:
        for _ in range(100):
            clock.now += 0.25  # no rounding
            stage.advance()
    assert caplog.messages == [
        "embed: 20 of 100 sequences, 4.0/s, 20 s left",
        "embed: 40 of 100 sequences, 4.0/s, 15 s left",
        "embed: 60 of 100 sequences, 4.0/s, 10 s left",
        "embed: 80 of 100 sequences, 4.0/s, 5 s left",
        "embed: 100 of 100 sequences, 4.0/s, 0 s left",
        "embed: 100 of 100 sequences, 4.0/s, took 25 s",
    ]


def test_the_time_left_follows_the_work_and_the_rate_this_run(caplog, clock):
    caplog.set_level(logging.INFO)
    progress = Progress(Console(file=io.StringIO()), interval_seconds=1)
    with progress.stage("embed", 100, work=10_000, done_items=50, done_work=2_000) as stage:
        clock.now += 10
        stage.advance(20, 4_000)
        clock.now += 7190
        stage.advance(5, 1_000)
    assert caplog.messages == [
        "embed: 70 of 100 items, 2.0/s, 10 s left",
        "embed: 75 of 100 items, 0.0/s, 1 h 12 min left",
        "embed: 75 of 100 items, 0.0/s, took 2 h 0 min",
    ]


def test_a_stage_in_which_nothing_is_done_ends_in_peace(caplog, clock):
    caplog.set_level(logging.INFO)
    with Progress(Console(file=io.StringIO())).stage("embed", 0):
        pass
    assert caplog.messages == ["embed: 0 of 0 items, 0.0/s, took 0 s"]


def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left(caplog):
    caplog.set_level(logging.INFO)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with Progress(console).stage("embed", 3, noun="sequences") as stage:
        stage.advance(3)
    assert "embed" in screen.getvalue()
    assert "3 of 3 sequences" in screen.getvalue()
    assert "0:00:00" in screen.getvalue()
    assert caplog.messages == []


def test_progress_goes_to_stderr(capsys):
    with Progress(Console(stderr=True, force_terminal=True)).stage("embed", 1) as stage:
        stage.advance()
    assert capsys.readouterr().out == ""
