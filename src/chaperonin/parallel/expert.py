"""Expert parallelism (Lepikhin et al. 2021, GShard, arXiv 2006.16668): the experts of each layer over processes.

Each process keeps its share of the experts, sends each row to the process of its expert and gets the result back, by
two all-to-all exchanges a layer. Everything else of the model is repeated, as in data parallelism: processes have
batches of their own. Where there are more processes than share the experts of one model, these groups are replicas.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from chaperonin.errors import UsageError
from chaperonin.models.aido.experts import Experts, GroupedLinear
from chaperonin.parallel.data import Processes
from chaperonin.weights.filling import Place


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
        require_shares(len(cast(Experts, getattr(module, name)).up.weight), sharing)
    if processes.world % sharing:
        raise UsageError(
            f"{processes.world} processes cannot be parted into groups of {sharing}",
            advice=f"Start a multiple of {sharing}.",
        )
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

    @property
    def held(self) -> range:
        """The experts of this process."""
        share = self.all // distributed.get_world_size(self.group)
        first = distributed.get_rank(self.group) * share
        return range(first, first + share)

    def part(self, whole: Tensor) -> Tensor:
        """Of a tensor over all experts, that of this process."""
        return whole[self.held.start : self.held.stop]

    def _own(self, layer: GroupedLinear) -> GroupedLinear:
        """This process's part of a layer."""
        with torch.device("meta"):
            experts, outputs, inputs = self.part(layer.weight).shape
            own = GroupedLinear(experts, inputs, outputs, layer.bias is not None)
        for name, whole in layer.named_parameters():
            part = self.part(whole.detach()).clone()
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
    parts = _shared_parameters(model)
    processes.add_gradients(own for name, own in model.named_parameters() if name not in parts)
    for name, module in parts.items():
        parameter = model.get_parameter(name)
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad, group=module.replicas)


def clip_gradients(model: nn.Module, longest: float) -> Tensor:
    """Shorten the gradient of the whole model to `longest`, and give the length it had; the same in each process."""
    parts = _shared_parameters(model)
    gradients = {name: own.grad for name, own in model.named_parameters() if own.grad is not None}
    norm = nn.utils.get_total_norm([grad for name, grad in gradients.items() if name not in parts])
    if parts:
        held = nn.utils.get_total_norm([gradients[name] for name in parts if name in gradients]).square()
        distributed.all_reduce(held, group=next(iter(parts.values())).group)
        norm = (norm.square() + held).sqrt()
    nn.utils.clip_grads_with_norm_(model.parameters(), longest, norm)
    return norm


def put_together(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to parameters, by their names (weights, gradients, moments): that of all experts together.

    Every process has to call it, and the first has it then, the experts' in main memory; the others have their own.
    """
    parts = _shared_parameters(model)
    return {
        name: _gathered(own, parts[name].group) if name in parts else own for name, own in tensors.items()
    }


def own_parts(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of what belongs to the parameters of the whole model, what belongs to those of this process."""
    parts = _shared_parameters(model)
    return {name: parts[name].part(own).clone() if name in parts else own for name, own in tensors.items()}


def own_places(model: nn.Module, places: list[Place]) -> list[Place]:
    """Of where the tensors of a model folder belong, what belongs to this process."""
    parts = _shared_parameters(model)
    found = []
    for place in places:
        if place.ours in parts and place.part is not None:
            held = parts[place.ours].held
            if place.part not in held:
                continue
            place = replace(place, part=held.index(place.part))
        found.append(place)
    return found


def _shared_parameters(model: nn.Module) -> dict[str, SharedExperts]:
    """Parameters of which this process holds a part, and where."""
    return {
        f"{name}.{own}": module
        for name, module in model.named_modules()
        if isinstance(module, SharedExperts)
        for own, _ in module.named_parameters()
    }


def _gathered(own: Tensor, group: Any) -> Tensor:
    """All parts in the first process, where it is of this group; otherwise what was given."""
    if distributed.get_global_rank(group, 0) != 0:
        return own  # of a replica
    leads = distributed.get_rank() == 0
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size(group))] if leads else None
    distributed.gather(own.contiguous(), parts, dst=0, group=group)
    return own if parts is None else torch.cat([part.cpu() for part in parts])


def require_shares(experts: int, sharing: int, where: str = "") -> None:
    """UsageError for experts of a layer that so many processes cannot share evenly."""
    if sharing > experts:
        raise UsageError(
            f"{sharing} processes are more than the {experts} experts of a layer",
            where=where,
            advice=f"Let at most {experts} processes share them; the others can be replicas.",
        )
    if sharing < 1 or experts % sharing:
        raise UsageError(
            f"{experts} experts cannot be shared evenly by {sharing} processes",
            where=where,
            advice="Choose a number that divides the experts.",
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
