"""Data parallelism: each process takes its share of a step's batches, and the gradients are added up.

`torchrun` starts the processes and says by environment variables which one this is. Sums, not means, go between them,
so that several processes give the step of one that took all the batches.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

from chaperonin.errors import UsageError

Value = TypeVar("Value")

_BUCKET_BYTES = 32 << 20
"""Gradients travel in pieces of about this size: large enough for the network, small beside the model."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them."""

    rank: int = 0
    """Number of this process."""
    world: int = 1
    """How many there are."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and lines."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Which of `count` things are this process's."""
        return range(self.rank, count, self.world)

    def rounds(self, count: int) -> Iterator[tuple[int, bool]]:
        """As `share`, but equally many in every process: one that runs out repeats something that does not count.

        For what the processes have to do together.
        """
        for number in range(self.rank, -(-count // self.world) * self.world, self.world):
            yield number % count, number < count

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the sum of all gradients; a parameter without one counts as zero."""
        if self.world == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([parameter.grad for parameter in trained if parameter.grad is not None]):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            distributed.all_reduce(flat)
            sizes = [gradient.numel() for gradient in bucket]
            for gradient, summed in zip(bucket, flat.split(sizes), strict=True):
                gradient.copy_(summed.view_as(gradient))

    def share_running(self, model: torch.nn.Module) -> None:
        """Give every process the first one's figures that follow batches without a gradient (`RUNNING` of a module)."""
        if self.world == 1:
            return
        for module in model.modules():
            for name in getattr(module, "RUNNING", ()):
                distributed.broadcast(getattr(module, name).data, src=0)

    def add(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sum of every value over the processes; one that a process does not have counts as zero there."""
        if self.world == 1:
            return dict(values)
        gathered: list[dict[str, float]] = [{}] * self.world
        distributed.all_gather_object(gathered, dict(values))
        names = dict.fromkeys(name for own in gathered for name in own)
        return {name: sum(own.get(name, 0.0) for own in gathered) for name in names}

    def from_first(self, value: Value) -> Value:
        """The first process's value, in every process."""
        if self.world == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held, src=0)
        return held[0]

    def require_even(self, batches: int) -> None:
        """UsageError for a number of batches that the processes cannot share evenly."""
        if batches % self.world:
            raise UsageError(
                f"{batches} batches a step cannot be shared evenly by {self.world} processes",
                where="training.accumulate",
                advice=f"Make it a multiple of {self.world}; batch_size stays what one step holds in all.",
            )


def join_processes(device: torch.device) -> tuple[Processes, torch.device]:
    """This process's place among those that torchrun started, and its device; one process alone otherwise.

    On GPUs each process gets the one of its number on the machine, and NCCL between them; on CPUs gloo.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Processes(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(distributed.get_rank(), distributed.get_world_size()), device


def leave_processes() -> None:
    """Close what `join_processes` opened."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type in pieces of about the bucket's size."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size + gradient.nbytes > _BUCKET_BYTES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.nbytes
    if bucket:
        yield bucket
