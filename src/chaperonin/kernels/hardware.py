"""What this machine's processor and GPU offer to the kernels, and why something is missing."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from chaperonin.errors import UsageError
from chaperonin.kernels.host_memory import free_host_bytes, resident_bytes, return_free_memory

_PROCESSOR_FACTS = Path("/proc/cpuinfo")

FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimddp": "NEON dot product",
    "i8mm": "NEON int8 product",
    "bf16": "NEON bf16",
    "sve": "SVE",
}
"""Instruction sets that a kernel here can profit from: name in /proc/cpuinfo → name people know."""

_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni")
_BF16 = ("amx_bf16", "avx512_bf16", "bf16")


@dataclass(frozen=True)
class Hardware:
    """This machine, as far as the choice of kernels depends on it."""

    processor: str
    cores: int
    """Processor cores that this process may use."""
    threads: int
    """Threads that one operation uses."""
    instructions: tuple[str, ...]
    """Keys of FLAGS that the processor has; empty where the system does not say."""
    memory_bytes: int
    gpu: str
    """Name of the first CUDA device, or empty."""
    gpu_capability: tuple[int, int] | None
    gpu_memory_bytes: int


@cache
def processor_flags() -> str:
    """Every instruction set of the processor, as the system lists them; empty where it does not say."""
    if not _PROCESSOR_FACTS.exists():
        return ""
    lines = _PROCESSOR_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


@cache
def processor() -> tuple[str, tuple[str, ...]]:
    """Name of the processor and the instruction sets of FLAGS that it has."""
    facts: dict[str, str] = {}
    if _PROCESSOR_FACTS.exists():
        for line in _PROCESSOR_FACTS.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return name, tuple(flag for flag in FLAGS if flag in flags)


def describe() -> Hardware:
    """The facts that `chaperonin doctor` prints."""
    name, instructions = processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if not torch.cuda.is_available():
        return Hardware(name, cores, torch.get_num_threads(), instructions, memory, "", None, 0)
    gpu = torch.cuda.get_device_properties(0)
    capability = (gpu.major, gpu.minor)
    return Hardware(
        name, cores, torch.get_num_threads(), instructions, memory, gpu.name, capability, gpu.total_memory
    )


def choose_device(name: str, *, advice: str = "Write cpu or auto.") -> torch.device:
    """The device of this name; `auto` is the first GPU, or the CPU where there is none.

    UsageError for a name that means nothing, and for a GPU that is not there, with `advice` on what to write instead.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown", advice="Write auto, cpu, cuda or cuda:1.") from error
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise UsageError(
            f"device {name!r} is none that chaperonin runs on", advice="Write auto, cpu or cuda."
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise UsageError(f"device {name} was asked for and there is none", advice=advice)
    if device.index is not None and device.index >= count:
        raise UsageError(f"device {name} was asked for, the last is cuda:{count - 1}", advice=advice)
    return device


def lacks_byte_products() -> str:
    """Why this processor cannot multiply bytes; empty when it can.

    Without VNNI the processor adds pairs of 8-bit products in 16 bits, which overflow: wrong, not only slow.
    """
    return _lacks(_INT8, "8-bit dot products")


def lacks_bf16(device: torch.device) -> str:
    """Why bf16 would be emulated on this device; empty when it has it natively."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return "" if major >= 8 else f"the GPU has compute capability {major}.{minor}; bf16 needs 8.0"
    if device.type == "cpu":
        return _lacks(_BF16, "bf16 arithmetic")
    return f"nothing is known of bf16 on {device.type}"


def _lacks(wanted: tuple[str, ...], what: str) -> str:
    name, instructions = processor()
    if any(flag in instructions for flag in wanted):
        return ""
    if not instructions:
        return f"this system does not say which instruction sets {name!r} has"
    return f"{name!r} has no {what} ({' or '.join(FLAGS[flag] for flag in wanted)})"


def held_bytes(device: torch.device) -> int:
    """What is used now: by the whole process, or on a GPU by its tensors."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return_free_memory()
    return resident_bytes()


def free_bytes(device: torch.device) -> int:
    """What a new computation can have: of the host's memory, or of a GPU's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_host_bytes()


def finish(device: torch.device) -> None:
    """Wait for what a GPU still computes."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
