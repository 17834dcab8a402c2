"""The other side of ./go bench fold: one iteration of OpenFold, in its own process.

Runs in an environment with torch, ml_collections, dm-tree, biopython, modelcif and scipy, on a checkout of OpenFold
that ./go bench fold is given by --openfold; imports nothing of ours. Reads a line for every iteration from stdin,
answers with its seconds, and with bytes: how far memory rose since before the first one, and the process's peak.

    PYTHON benchmarks/fold_openfold.py CHECKOUT SETTING LENGTH SEQUENCES EXTRA_SEQUENCES BLOCKS
"""

import ctypes
import gc
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_NOT_TUNED = {
    "model.extra_msa.extra_msa_stack.tune_chunk_size": False,
    "model.evoformer_stack.tune_chunk_size": False,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "unchunked": {"globals.chunk_size": None},
    "chunks-of-4": _NOT_TUNED,
    "low-memory": {**_NOT_TUNED, "globals.use_lma": True},
}
"""By the names of its configuration. By default: chunks of 4, made larger in the first call as far as memory lasts;
low-memory is what its guide says for long sequences, but for offloading, which fails for single chains."""


def main(checkout: str, setting: str, *sizes: int) -> None:
    """Serve until stdin ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    *shape, blocks = sizes
    model, features = network(checkout, setting, blocks), batch(*shape)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        with torch.no_grad():
            model(features)
        seconds = time.perf_counter() - begun
        peak = _status_bytes("VmHWM")
        print(seconds, peak - before, peak, file=answers, flush=True)


def network(checkout: str, setting: str, blocks: int) -> torch.nn.Module:
    """model_3_ptm (no templates), random."""
    sys.path.insert(0, checkout)
    sys.modules.setdefault("attn_core_inplace_cuda", _softmax())
    from openfold.config import model_config
    from openfold.model import primitives
    from openfold.model.model import AlphaFold

    primitives.trunc_normal_init_ = lambda *arguments, **options: None  # takes a minute; they are drawn below
    config = model_config("model_3_ptm")
    config.update_from_flattened_dict({**SETTINGS[setting], "model.evoformer_stack.no_blocks": blocks})
    torch.manual_seed(0)
    model = AlphaFold(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model


def batch(length: int, sequences: int, extra: int) -> dict[str, torch.Tensor]:
    """Features of the shapes that are asked for; their last dimension is that of iterations."""
    from openfold.data.data_transforms import make_atom14_masks

    torch.manual_seed(0)
    features = {
        "aatype": torch.randint(20, (length,)),
        "residue_index": torch.arange(length),
        "seq_mask": torch.ones(length),
        "target_feat": torch.randn(length, 22),
        "msa_feat": torch.randn(sequences, length, 49),
        "msa_mask": torch.ones(sequences, length),
        "extra_msa": torch.randint(23, (extra, length)),
        "extra_has_deletion": torch.zeros(extra, length),
        "extra_deletion_value": torch.zeros(extra, length),
        "extra_msa_mask": torch.ones(extra, length),
    }
    return {name: own[..., None] for name, own in make_atom14_masks(features).items()}


def _softmax() -> ModuleType:
    """OpenFold has a softmax of its own for GPUs, and none for processors: torch's instead, in place too."""
    module = ModuleType("attn_core_inplace_cuda")

    def forward_(logits: torch.Tensor, rows: int, columns: int) -> None:
        torch.softmax(logits, dim=-1, out=logits)

    module.__dict__["forward_"] = forward_
    return module


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7]))
