"""What `chaperonin doctor` says of this machine, and of others."""

import pytest
import torch

from chaperonin.cli.main import main
from chaperonin.inference import kernel_choices
from chaperonin.kernels import attention, hardware
from chaperonin.kernels.hardware import Hardware
from chaperonin.kernels.linear import int8_native
from chaperonin.kernels.registry import OPERATIONS, use, watch
from chaperonin.kernels.segments import Segments

OLD = Hardware("Old Processor", 4, 4, ("avx2",), 8_000_000_000, "", None, 0)


def sections(text: str) -> dict[str, dict[str, str]]:
    """Title up to its comma → name → what is said of it."""
    found: dict[str, dict[str, str]] = {}
    for block in text.strip().split("\n\n"):
        title, *lines = block.splitlines()
        found[title.partition(",")[0]] = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    return found


@pytest.fixture
def fixed_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the small inputs had been run and had got these."""
    monkeypatch.setattr(kernel_choices, "chosen_kernels", lambda: {"attention": {"sdpa"}})


def test_each_operation_of_every_model_is_listed_with_what_inference_gets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor"]) == 0
    found = sections(capsys.readouterr().out)
    kernels = {title.removeprefix("kernel: "): bodies for title, bodies in found.items() if "kernel" in title}
    assert {"attention", "linear", "gated_attention", "triangle_multiplication"} <= kernels.keys()
    assert kernels.keys() == OPERATIONS.keys()
    for name, bodies in kernels.items():
        assert tuple(bodies) == OPERATIONS[name].order
        chosen = [body for body, text in bodies.items() if text.startswith("chosen: ")]
        assert chosen and not any(OPERATIONS[name].bodies[body].lacks() for body in chosen)


def test_an_old_processor_is_told_what_it_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fixed_choice: None
) -> None:
    monkeypatch.setattr(hardware, "describe", lambda: OLD)
    monkeypatch.setattr(hardware, "processor", lambda: (OLD.processor, OLD.instructions))
    monkeypatch.setattr(hardware, "choose_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr(int8_native, "lacks", lambda: "no C++ compiler")
    assert main(["doctor"]) == 0
    found = sections(capsys.readouterr().out)
    assert found["machine"]["processor"] == "Old Processor, 4 cores, 4 threads per operation"
    assert found["machine"]["instructions"] == "AVX2"
    precision = found["precision on cpu"]
    assert precision["auto"] == "fp32: equal numbers everywhere"
    assert precision["bf16"].startswith("'Old Processor' has no bf16 arithmetic")
    assert precision["int8"].startswith("'Old Processor' has no 8-bit dot products (AMX-INT8 or")
    kernel = found["kernel: attention"]
    assert kernel["sdpa"].startswith("chosen: ") and not kernel["packed_cpu"].startswith("chosen")


def test_a_gpu_gets_bf16_by_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fixed_choice: None
) -> None:
    gpu = Hardware("P", 8, 8, (), 64_000_000_000, "Large GPU", (9, 0), 80_000_000_000)
    monkeypatch.setattr(hardware, "describe", lambda: gpu)
    monkeypatch.setattr(hardware, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: gpu.gpu_capability)
    assert main(["doctor"]) == 0
    found = sections(capsys.readouterr().out)
    assert found["machine"]["gpu"] == "Large GPU, 80 GB, compute capability (9, 0)"
    assert found["precision on cuda"]["auto"] == "bf16: the GPU has it natively"


def test_watching_sees_the_bodies_that_run_inside_it() -> None:
    streams = [torch.randn(9, 2, 8) for _ in range(3)]
    with watch() as chosen:
        with use(attention="reference"):
            attention.attention(*streams, Segments([4, 5]), 0.5)
        with watch() as inner, use(attention="sdpa"):
            attention.attention(*streams, Segments([9]), 0.5)
    attention.attention(*streams, Segments([9]), 0.5)
    assert chosen == {"attention": {"reference", "sdpa"}} and inner == {"attention": {"sdpa"}}
