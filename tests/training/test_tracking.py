import json
import logging
import math
from pathlib import Path

import pytest

from chaperonin.training.tracking import Tracker, describe, perplexity, read_metrics


def test_lines_after_the_step_that_a_run_goes_on_from_are_dropped(tmp_path: Path):
    first = Tracker(tmp_path, 0)
    for step in range(1, 6):
        first.write("train", step, loss=1.0 / step)
    first.close()
    second = Tracker(tmp_path, 3)
    second.write("train", 4, loss=9.0)
    second.close()
    assert [(line["step"], line["loss"]) for line in read_metrics(tmp_path / "metrics.jsonl")] == [
        (1, 1.0),
        (2, 0.5),
        (3, 1 / 3),
        (4, 9.0),
    ]


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path):
    tracker = Tracker(tmp_path, 0)
    tracker.write("train", 1, loss=0.5)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"event": "train", "step": 1, "loss": 0.5}
    tracker.close()


def test_people_read_the_same_line(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    tracker = Tracker(tmp_path, 0)
    tracker.write("evaluate", 1200, tokens=1_234_567, held_out_loss=2.71828)
    tracker.close()
    assert caplog.messages == ["evaluate step 1,200  tokens 1,234,567  held_out_loss 2.718"]
    assert describe({"event": "train", "speed": 123456.7}) == "train    speed 123,457"


def test_perplexity_is_the_exponential_and_never_overflows():
    assert perplexity(math.log(20)) == pytest.approx(20)
    assert math.isfinite(perplexity(1e6))
