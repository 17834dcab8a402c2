"""The model that a pre-training trains: an ESM or an AIDO.Protein, with fresh weights or those of a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import torch

from chaperonin.config import as_dict
from chaperonin.errors import UsageError
from chaperonin.layers.language import LanguageModel
from chaperonin.models import layout_of
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.models.aido.model import initialise
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.parallel.data import Processes
from chaperonin.parallel.expert import own_parts, own_places, require_shares, shard_experts
from chaperonin.protein.alphabet import AIDO_ALPHABET
from chaperonin.training.initial import look_at_neighbours
from chaperonin.weights.files import read_config
from chaperonin.weights.filling import fill, find_places
from chaperonin.weights.hub import resolve
from chaperonin.weights.pretrained import Layout, build_empty, load_folder


@dataclass(frozen=True)
class ESMModel(ESMConfig):
    """Shape of an ESM."""

    type: Literal["esm"] = "esm"


@dataclass(frozen=True)
class AIDOModel(AIDOConfig):
    """Shape of an AIDO.Protein, the 16B where nothing is said; `experts: 0` is a dense one."""

    type: Literal["aido"] = "aido"


Shape = ESMConfig | AIDOConfig


def layout(shape: Shape) -> Layout:
    """How a model of this type lies on disk."""
    return layout_of("fm4bio" if isinstance(shape, AIDOConfig) else "esm")


def fresh_model(shape: Shape, neighbour_layers: int, generator: torch.Generator) -> LanguageModel:
    """A model with random weights."""
    if isinstance(shape, AIDOConfig):
        mixture = AIDO(shape)
        mixture.initialise(generator)
        return mixture
    model = ESM(shape)
    model.initialise(generator)
    look_at_neighbours(model, neighbour_layers)
    return model


def initial_model(shape: Shape, name: str) -> LanguageModel:
    """The model of a folder or a hub name, in fp32; UsageError where it is of another shape or lacks a head."""
    model = load_folder(layout(shape), _folder_of(shape, name))
    assert isinstance(model, LanguageModel)
    if model.masked_language is None or (isinstance(model, ESM) and model.contact is None):
        _lacks_a_head(name)
    return model.float().train()


def shared_model(
    shape: AIDOConfig, initial: str | None, generator: torch.Generator, processes: Processes, sharing: int
) -> AIDO:
    """Like `fresh_model`, or like `initial_model`, with this process's experts; none ever holds the model whole."""
    whole = build_empty(layout(shape), shape)
    model = shard_experts(build_empty(layout(shape), shape), processes, sharing)
    assert isinstance(model, AIDO)
    model.to_empty(device="cpu")
    if initial is not None:
        places = find_places(layout(shape).tables["huggingface"], _folder_of(shape, initial), whole)
        if {own for own, _ in whole.named_parameters()} != {place.ours for place in places}:
            _lacks_a_head(initial)
        fill(model, own_places(model, places))
        return model
    for name, like in whole.named_parameters():
        fresh = torch.empty_like(like, device="cpu")
        initialise(name, fresh, generator)
        model.get_parameter(name).data.copy_(own_parts(model, {name: fresh})[name])
    return model


def _folder_of(shape: Shape, name: str) -> Path:
    folder = resolve(name)
    own, found = layout(shape), read_config(folder)
    if layout_of(found.get("model_type"), where=str(folder)) is not own:
        raise UsageError(
            f"this is a model of the type {found.get('model_type')}",
            where=f"initial: {name}",
            advice="Set model.type to it.",
        )
    wanted, present = as_dict(shape), as_dict(own.read_config(found, str(folder)))
    different = [size for size, value in present.items() if wanted[size] != value]
    if different:
        sizes = ", ".join(f"{size} is {present[size]}, not {wanted[size]}" for size in different)
        raise UsageError(
            f"this model has another shape: {sizes}",
            where=f"initial: {name}",
            advice="Write its sizes under model:, or name another folder.",
        )
    return folder


def _lacks_a_head(name: str) -> NoReturn:
    raise UsageError(
        "this checkpoint lacks a head", where=f"initial: {name}", advice="Use one with all heads."
    )


@dataclass(frozen=True)
class Parameters:
    """How many a model has."""

    total: int
    of_experts: int
    """Among them."""
    active: int
    """That one token goes through: of the experts its own alone."""

    def held(self, expert_processes: int) -> int:
        """By each of the processes that share the experts."""
        return self.total - self.of_experts + self.of_experts // expert_processes


def count_parameters(shape: Shape) -> Parameters:
    """Nothing is allocated."""
    sizes = {name: own.numel() for name, own in build_empty(layout(shape), shape).named_parameters()}
    total = sum(sizes.values())
    if not isinstance(shape, AIDOConfig) or not shape.experts:
        return Parameters(total, 0, total)
    of_experts = sum(size for name, size in sizes.items() if ".experts." in name)
    idle = of_experts // shape.experts * (shape.experts - shape.experts_per_token)
    return Parameters(total, of_experts, total - idle)


def check_shape(shape: Shape) -> None:
    """UsageError for sizes that make no model."""
    for name in ("width", "depth", "heads", "inner_width"):
        if getattr(shape, name) < 1:
            raise UsageError(f"{name} is {getattr(shape, name)}", where="model", advice="Make it 1 or more.")
    if shape.width % shape.heads:
        raise UsageError(
            f"{shape.width} channels cannot be shared by {shape.heads} heads",
            where="model.heads",
            advice="Give a number of heads that divides the width.",
        )
    if shape.positions != "learned" and shape.head_dim % 2:
        raise UsageError(
            f"{shape.head_dim} channels a head cannot be turned in pairs",
            where="model.heads",
            advice="Make width / heads an even number.",
        )
    if isinstance(shape, AIDOConfig):
        _check_aido(shape)


def _check_aido(shape: AIDOConfig) -> None:
    if shape.experts < 0 or (shape.experts and not 1 <= shape.experts_per_token <= shape.experts):
        raise UsageError(
            f"a token cannot go through {shape.experts_per_token} of {shape.experts} experts",
            where="model.experts_per_token",
            advice="Give 1 to as many as there are; experts: 0 is a dense model.",
        )
    if min(shape.vocabulary, shape.logits) < len(AIDO_ALPHABET):
        raise UsageError(
            f"{min(shape.vocabulary, shape.logits)} tokens are too few: the alphabet has {len(AIDO_ALPHABET)}",
            where="model.vocabulary",
        )
    if shape.structure_width:
        raise UsageError(
            "sequences come without a structure", where="model.structure_width", advice="Leave it out."
        )


def check_sharing(shape: Shape, processes: int) -> None:
    """UsageError for experts that so many processes cannot share."""
    if processes == 1:
        return
    if not isinstance(shape, AIDOConfig) or not shape.experts:
        raise UsageError(
            "the model has no experts to share", where="expert_processes", advice="Leave it out."
        )
    require_shares(shape.experts, processes, "expert_processes")
