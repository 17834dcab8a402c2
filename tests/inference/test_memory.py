"""Memory is said before the run and is about what the run then takes."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chaperonin.inference.memory import activation_bytes, batch_tokens, free_bytes, resident_bytes
from chaperonin.kernels.host_memory import return_free_memory
from chaperonin.kernels.linear import lacks_int8
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.weights.pretrained import save_folder

WITHIN = 0.15  # the project's stated bound on predicted against measured peak


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_predicted_peak_is_near_the_measured_one(precision: str, tmp_path: Path) -> None:
    if precision == "int8" and lacks_int8():
        pytest.skip(lacks_int8())
    model = ESM(ESMConfig(width=640, depth=4, heads=20, inner_width=2560))
    model.initialise()
    save_folder(LAYOUT, model, tmp_path / "model")
    source = tmp_path / "in.fasta"
    source.write_text("".join(f">p{n}\n{'MKTAYIAKQR' * 25}{'G' * n}\n" for n in range(20)))
    words = [
        "embed",
        str(source),
        str(tmp_path / "out"),
        "--model",
        str(tmp_path / "model"),
        "--precision",
        precision,
    ]
    code = f"import sys; from chaperonin.cli.main import main; sys.exit(main({words!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    memory = json.loads((tmp_path / "out/run.json").read_text())["memory"]
    assert memory["predicted_bytes"] == pytest.approx(memory["measured_bytes"], rel=WITHIN)


def test_activations_grow_with_tokens_and_stay_below_what_is_free() -> None:
    config = ESMConfig()
    assert activation_bytes(config, 4096) > 2 * activation_bytes(config, 1024) > 0
    with torch.device("meta"):
        model = ESM(config)
    cpu = ESM(ESMConfig(width=16, depth=1, heads=2, inner_width=32))
    assert batch_tokens(model, 77) == 77
    assert activation_bytes(cpu.config, batch_tokens(cpu, None)) < free_bytes(torch.device("cpu"))


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc returns memory from inside its heap"
)
def test_memory_between_blocks_that_are_in_use_is_returned() -> None:
    blocks = [bytearray(b"x" * 100_000) for _ in range(2000)]
    kept = blocks[::20]
    blocks.clear()
    before = resident_bytes()
    return_free_memory()
    assert before - resident_bytes() > 150_000_000
    assert all(block[-1] == ord("x") for block in kept)
