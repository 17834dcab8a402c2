"""Expert parallelism (Lepikhin et al. 2021, GShard, arXiv 2006.16668): the experts of each layer over processes.

Each process keeps its share of the experts, sends each row to the process of its expert and gets the result back, by
two all-to-all exchanges a layer. Everything else of the model is repeated, as in data parallelism: processes have
batches of their own. Where there are more processes than share the experts of one model, these groups are replicas.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from chaperonin.errors import UsageError
from chaperonin.models.aido.experts import Experts, GroupedLinear
from chaperonin.parallel.data import Processes


def shard_experts(model: nn.Module, processes: Processes, sharing: int) -> nn.Module:
    """Leave this process its experts, in place; `sharing` neighbouring processes hold those of one model together.

    Names of the tensors stay; those of the experts become as much shorter. Raises UsageError where the experts cannot
    be shared evenly so, or the processes cannot be parted so.
    """
    found = [(module, name) for module in model.modules() for name, own in module.named_children()
             if type(own) is Experts]  # fmt: skip
    if not found:
        raise UsageError(
            "the model has no experts to share", advice="Expert parallelism is for a mixture of experts."
        )
    for module, name in found:
        _require_shares(len(cast(Experts, getattr(module, name)).up.weight), processes.world, sharing)
    group, replicas = _groups(processes, sharing)
    for module, name in found:
        setattr(module, name, SharedExperts(cast(Experts, getattr(module, name)), group, replicas))
    return model


class SharedExperts(Experts):
    """The experts of a layer of which this process holds some."""

    def __init__(self, experts: Experts, group: Any, replicas: Any) -> None:
        nn.Module.__init__(self)
        self.gate = experts.gate
        self.group = group
        """The processes that hold all experts together."""
        self.replicas = replicas
        """The processes that hold the same experts as this one."""
        self.all = len(experts.up.weight)
        self.up, self.down = self._own(experts.up), self._own(experts.down)

    def forward(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Every row by its expert, wherever that is."""
        world = distributed.get_world_size(self.group)
        arriving = torch.empty_like(counts)
        distributed.all_to_all_single(arriving, counts, group=self.group)
        per_source = arriving.view(world, -1)
        # The exchange needs to know on the host how much it moves.
        sent, got = counts.view(world, -1).sum(1).tolist(), per_source.sum(1).tolist()
        here = cast(Tensor, _Exchange.apply(rows, sent, got, self.group))
        # Rows lie source by source, each sorted by expert; the product wants them by expert.
        experts = torch.arange(per_source.shape[1], device=rows.device).repeat(world)
        order = experts.repeat_interleave(arriving, output_size=sum(got)).argsort(stable=True)
        results = super().forward(here[order], per_source.sum(0))
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return cast(Tensor, _Exchange.apply(results[back], got, sent, self.group))

    def whole(self) -> dict[str, Tensor]:
        """The parameters of all experts, by their names in this module."""
        return {name: _gathered(own.detach(), self.group) for name, own in self.named_parameters()}

    def _own(self, layer: GroupedLinear) -> GroupedLinear:
        """This process's part of a layer."""
        share = self.all // distributed.get_world_size(self.group)
        first = distributed.get_rank(self.group) * share
        with torch.device("meta"):
            _, outputs, inputs = layer.weight.shape
            own = GroupedLinear(share, inputs, outputs, layer.bias is not None)
        for name, whole in layer.named_parameters():
            part = whole.detach()[first : first + share].clone()
            setattr(own, name, nn.Parameter(part, requires_grad=whole.requires_grad))
        return own


class _Exchange(torch.autograd.Function):
    """Rows to other processes, gradients back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], got: list[int], group: Any) -> Tensor:
        ctx.sent, ctx.got, ctx.group = sent, got, group
        return _exchange(rows, sent, got, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchange(gradient, ctx.got, ctx.sent, ctx.group), None, None, None


def _exchange(rows: Tensor, sent: list[int], got: list[int], group: Any) -> Tensor:
    result = rows.new_empty(sum(got), *rows.shape[1:])
    distributed.all_to_all_single(result, rows.contiguous(), got, sent, group=group)
    return result


def add_gradients(model: nn.Module, processes: Processes) -> None:
    """Give each process the sum of all gradients of what it holds: of its experts, those of its replicas.

    The rows of other processes came to an expert by the exchange, and so did their part of its gradient.
    """
    own = {id(parameter) for _, parameter in _expert_parameters(model)}
    processes.add_gradients(parameter for parameter in model.parameters() if id(parameter) not in own)
    for module, parameter in _expert_parameters(model):
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad, group=module.replicas)


def whole_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter of the model, those of the experts put together again, in each process: what is saved."""
    found = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for name, module in model.named_modules():
        if isinstance(module, SharedExperts):
            found |= {f"{name}.{own}": tensor for own, tensor in module.whole().items()}
    return found


def _expert_parameters(model: nn.Module) -> Iterator[tuple[SharedExperts, nn.Parameter]]:
    for module in model.modules():
        if isinstance(module, SharedExperts):
            for parameter in module.parameters():
                yield module, parameter


def _gathered(own: Tensor, group: Any) -> Tensor:
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(parts, own.contiguous(), group=group)
    return torch.cat(parts)


def _require_shares(experts: int, world: int, sharing: int) -> None:
    if sharing > experts:
        raise UsageError(
            f"{sharing} processes are more than the {experts} experts of a layer",
            advice=f"Let at most {experts} processes share them; the others can be replicas.",
        )
    if sharing < 1 or experts % sharing:
        raise UsageError(
            f"{experts} experts cannot be shared evenly by {sharing} processes",
            advice="Choose a number that divides the experts.",
        )
    if world % sharing:
        raise UsageError(
            f"{world} processes cannot be parted into groups of {sharing}",
            advice=f"Start a multiple of {sharing}.",
        )


def _groups(processes: Processes, sharing: int) -> tuple[Any, Any]:
    """The processes that share a model's experts with this one, and those that hold the same ones."""
    # Every process has to make every group, also those that it is not in.
    starts = range(0, processes.world, sharing)
    sharers = [distributed.new_group(list(range(first, first + sharing))) for first in starts]
    replicas = [
        distributed.new_group(list(range(first, processes.world, sharing))) for first in range(sharing)
    ]
    return sharers[processes.rank // sharing], replicas[processes.rank % sharing]
