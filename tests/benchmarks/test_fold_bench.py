"""The folding benchmark: its rows, and the operations that it counts."""

import json
from pathlib import Path

import pytest
import torch
from benchmarks.fold import main
from benchmarks.fold_sides import Shape, floating_operations, one_iteration
from torch.utils.flop_counter import FlopCounterMode


def test_a_quick_run_measures_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--threads", "1", "--out", str(tmp_path / "bench.json")]) == 0
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["verdict"] for row in rows].count("not run") == 1  # JAX, which is not here
    assert "not measured: give --jax" in capsys.readouterr().out


def test_operations_counted_from_shapes_are_those_of_the_products() -> None:
    """PyTorch's counter sees the whole iteration: embeddings, structure module and heads are the few percent more."""
    shape = Shape(48, 64, 96, 2)
    run = one_iteration(shape)
    torch.set_num_threads(1)
    with FlopCounterMode(display=False) as counter:
        run()
    assert 1.0 <= counter.get_total_flops() / floating_operations(shape) < 1.12
