"""How much memory tensors take at once: from shapes alone, with tensors that hold no numbers, or as work is done."""

import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from chaperonin.kernels.host_memory import (
    peak_resident_bytes,
    settle_heap,
)
from chaperonin.training.loop import LoopSettings


def peak_bytes(model: nn.Module, work: Callable[[], object]) -> int:
    """Most bytes that the tensors made by `work` hold at once: gradients count, the model's own weights do not.

    Nothing is computed, so a batch of any size is foreseen in a moment and takes no memory. The operations are the real
    ones: what recomputation spares, what an adapter, autocast or an attention kernel keeps, is seen and not reckoned.
    What an operation needs within itself is not seen. The model is left without gradients.
    """
    shapes = FakeTensorMode(allow_non_fake_inputs=True)
    return _watched(model, work, shapes.from_tensor, shapes)


def taken_bytes(model: nn.Module, work: Callable[[], object]) -> int:
    """The same of work that is really done, for models whose shapes depend on what tensors hold."""
    return _watched(model, work, lambda own: own, nullcontext())


def _watched(
    model: nn.Module,
    work: Callable[[], object],
    seen: Callable[[Tensor], Tensor],
    mode: AbstractContextManager[object],
) -> int:
    # They stay here: what is made later would be taken for one of them where it lies in its place.
    weights = [seen(own) for own in chain(model.parameters(), model.buffers())]
    watch = _Watch(weights)
    try:
        with mode, watch:
            work()
    finally:
        model.zero_grad(set_to_none=True)
        del weights
    return watch.peak


class _Watch(TorchDispatchMode):
    """Counts the storages that operations make, for as long as each lives."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()
        self._known = {_storage_key(tensor) for tensor in known}
        self._sizes: dict[int, int] = {}
        self._held = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operation itself; then its results are counted."""
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                self._count(result)
        return results

    def _count(self, tensor: Tensor) -> None:
        key = _storage_key(tensor)
        if key in self._known or key in self._sizes:
            return
        storage = tensor.untyped_storage()
        self._sizes[key] = storage.nbytes()
        self._held += storage.nbytes()
        self.peak = max(self.peak, self._held)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._held -= self._sizes.pop(key)


def _storage_key(tensor: Tensor) -> int:
    """The same for all views of one storage; fake ones have no address."""
    return tensor.untyped_storage()._cdata


def own_bytes(model: nn.Module) -> int:
    """Bytes of a model's parameters and buffers."""
    return sum(own.nbytes for own in chain(model.parameters(), model.buffers()))


def peak_held_bytes(device: torch.device) -> int:
    """The most memory that was in use at once: by this process, or by tensors on its GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_resident_bytes()


def settles(loop: LoopSettings, predicted_bytes: int, device: torch.device) -> bool:
    """Whether a run keeps its memory to what was predicted, from now on; on a GPU PyTorch sees to that."""
    return device.type != "cpu" or settle_heap(loop.tight_memory, predicted_bytes)


def memory_text(predicted_bytes: int, tight: bool) -> str:
    """What `--dry-run` says of the memory."""
    text = f"{predicted_bytes / 1e6:,.0f} MB"
    return text if tight else f"{text}, up to twice that unless training.tight_memory=true, which is slower"
