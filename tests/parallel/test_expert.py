"""Experts over processes give what one process gives: outputs, gradients, and weights put together again."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from tests.parallel import sharded_experts

from chaperonin.errors import UsageError
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.parallel.data import Processes
from chaperonin.parallel.expert import shard_experts


@pytest.mark.parametrize(
    ("world", "ways"),
    [pytest.param(2, (2,), id="2", marks=pytest.mark.slow), pytest.param(4, (4, 2), id="4, and two by two")],
)
def test_several_processes_give_what_one_gives(world: int, ways: tuple[int, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [*command, sharded_experts.__file__, str(tmp_path), *map(str, ways)],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    one = sharded_experts.model()
    logits = [sharded_experts.step(one, number) for number in range(world)]
    for (sharing, rank), expected in zip(product(ways, range(world)), logits * len(ways), strict=True):
        own = torch.load(tmp_path / f"{sharing}-{rank}.pt")
        assert own["held"] == 8 // sharing
        torch.testing.assert_close(own["logits"], expected, atol=1e-5, rtol=1e-5)
        for name, parameter in one.named_parameters():
            assert torch.equal(own["weights"][name], parameter), name
            torch.testing.assert_close(own["gradients"][name], parameter.grad, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("world", "sharing", "message"),
    [
        (16, 16, "16 processes are more than the 8 experts"),
        (3, 3, "8 experts cannot be shared evenly by 3 processes"),
        (6, 4, "6 processes cannot be parted into groups of 4"),
    ],
)
def test_what_cannot_be_shared_is_refused(world: int, sharing: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        shard_experts(sharded_experts.model(), Processes(0, world), sharing)


def test_a_model_without_experts_is_refused() -> None:
    with pytest.raises(UsageError, match="no experts to share"):
        shard_experts(ESM(ESMConfig(width=16, depth=1, heads=2, inner_width=16)), Processes(0, 2), 2)
