"""What this machine can do: processor, memory, kernels and why each is chosen, models."""


def run() -> int:
    """Print what this machine offers and what chaperonin makes of it. Nothing is changed or fetched."""
    import torch

    from chaperonin.kernels import hardware

    facts = hardware.describe()
    instructions = ", ".join(hardware.FLAGS[flag] for flag in facts.instructions) or "unknown"
    _section("machine")
    _line("processor", f"{facts.processor}, {facts.cores} cores, {facts.threads} threads per operation")
    _line("instructions", instructions)
    _line("memory", f"{facts.memory_bytes / 1e9:.1f} GB")
    gpu = f"{facts.gpu}, {facts.gpu_memory_bytes / 1e9:.0f} GB, compute capability {facts.gpu_capability}"
    _line("gpu", gpu if facts.gpu else "none that PyTorch sees")
    _line("PyTorch", torch.__version__)
    _precisions()
    _kernels()
    _models()
    return 0


def _precisions() -> None:
    """Which precision `auto` means here, and why the others can or cannot be had."""
    from chaperonin.kernels import hardware
    from chaperonin.kernels.linear import lacks_int8

    device = hardware.choose_device("auto")
    automatic = "bf16" if device.type == "cuda" and not hardware.lacks_bf16(device) else "fp32"
    _section(f"precision on {device}")
    _line(
        "auto",
        f"{automatic}: " + ("the GPU has it natively" if automatic == "bf16" else "equal numbers everywhere"),
    )
    _line("bf16", hardware.lacks_bf16(device) or "yes: native here")
    _line("int8", lacks_int8() or "yes: on the CPU, about a percent of error, by --precision int8")


def _kernels() -> None:
    """Every operation that a model uses, its bodies in order of preference, and which of them inference gets here."""
    from chaperonin.inference.kernel_choices import chosen_kernels
    from chaperonin.kernels.registry import OPERATIONS
    from chaperonin.models import MODELS, layout_of

    for model_type in MODELS:
        layout_of(model_type)  # registers the operations that the model uses
    chosen = chosen_kernels()
    for operation in OPERATIONS.values():
        _section(f"kernel: {operation.name}, in order of preference; chosen: what inference gets here")
        names = chosen.get(operation.name, set())
        for name in operation.order:
            body = operation.bodies[name]
            missing = body.lacks()
            if missing:
                _line(name, f"not here: {missing}")
            else:
                _line(name, ("chosen: " if name in names else "") + body.note)


def _models() -> None:
    from chaperonin.weights import hub

    _section("models on this disk")
    for name in hub.bundled():
        _line(f"chaperonin/{name}", "ships with the program")
    for name in hub.bundled_adapters():
        _line(f"chaperonin/{name}", "ships with the program: for predict and serve")
    for cached in hub.cached():
        _line(cached.name, str(cached.folder))


def _section(title: str) -> None:
    print(f"\n{title}")


def _line(name: str, text: str) -> None:
    print(f"  {name:<14} {text}")
