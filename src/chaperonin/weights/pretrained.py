"""A folder to a model and back, in the layout of Hugging Face: `config.json` and safetensors.

What an architecture brings along stands in its `Layout`, so that nothing here knows a model.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from chaperonin.errors import WeightsError
from chaperonin.weights.files import read_config, tensors, weight_files, write_tensors
from chaperonin.weights.rules import Table


@dataclass(frozen=True)
class Layout:
    """How models of one type lie on disk."""

    build: Callable[[Any], nn.Module]
    """Configuration → model."""
    read_config: Callable[[Mapping[str, Any], str], Any]
    """`config.json` and where it stands → configuration."""
    write_config: Callable[[Any], dict[str, Any]]
    """Configuration → what `config.json` says."""
    tables: Mapping[str, Table]
    """Checkpoint origin → names. `huggingface` is read from folders and written."""
    defaults: Callable[[Any], dict[str, Tensor]]
    """Values of tensors that a checkpoint may lack because the configuration says them."""
    heads: Mapping[str, str]
    """Beginning of the names of an optional head → attribute that is None when a checkpoint has no such head; a dot
    parts it from the module that it belongs to."""


def load_folder(
    layout: Layout,
    folder: Path,
    device: torch.device | str = "cpu",
    change: Callable[[str, Tensor], Tensor] | None = None,
) -> nn.Module:
    """Model in evaluation mode, in the file's own dtype.

    The model is built without memory and takes the tensors as they come: the peak is one copy. `change` makes of each
    tensor, under its name in the model, what is kept of it, before the next one is read.
    """
    config = layout.read_config(read_config(folder), str(folder))
    named: dict[str, Tensor] = {}
    for name, tensor in tensors(weight_files(folder)):
        found = None if change is None else layout.tables["huggingface"].find(name)
        named[name] = tensor if change is None or found is None else change(found.ours, tensor)
        del tensor
    model = assemble(layout, config, named, "huggingface", str(folder)).eval()
    return model if torch.device(device).type == "cpu" else model.to(device)


class Reader(Protocol):
    """A table of whatever kind."""

    def read(
        self, theirs: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str
    ) -> dict[str, Tensor]:
        """Their tensors under our names."""
        ...


def assemble(layout: Layout, config: Any, named: Mapping[str, Tensor], origin: str, where: str) -> nn.Module:
    """Model of a configuration from the tensors of a checkpoint of the given origin."""
    return assemble_by(layout.tables[origin], layout, config, named, where)


def assemble_by(
    table: Reader, layout: Layout, config: Any, named: Mapping[str, Tensor], where: str
) -> nn.Module:
    """The same by a table that the layout does not hold, for example one that depends on the configuration."""
    model = build_empty(layout, config)
    wanted = dict(model.named_parameters())
    found = table.read(named, wanted, where)
    for name, tensor in layout.defaults(config).items():
        found.setdefault(name, tensor)
    _check_shapes(found, wanted, where)
    leave_out_heads(layout, model, found)
    _assign(model, found, wanted, where)
    return model


def _assign(model: nn.Module, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    """Each parameter gets its tensor, and learns if it did (`wanted`).

    PyTorch's own way searches all names for each of thousands of modules.
    """
    modules = dict(model.named_modules())
    for name, tensor in found.items():
        owner, _, leaf = name.rpartition(".")
        modules[owner]._parameters[leaf] = nn.Parameter(tensor, wanted[name].requires_grad)
    missing = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if missing:
        raise WeightsError(f"{missing[0]} is missing", where=where)


def build_empty(layout: Layout, config: Any) -> nn.Module:
    """A model of a configuration that takes no memory."""
    with torch.device("meta"), _NoInitialisation():
        return layout.build(config)


def leave_out_heads(layout: Layout, model: nn.Module, found: Collection[str]) -> None:
    """Make None of the optional heads that the tensors of these names do not belong to."""
    wanted = [name for name, _ in model.named_parameters()]
    for start, attribute in layout.heads.items():
        has = any(name.startswith(start) for name in wanted)
        if has and not any(name.startswith(start) for name in found):
            owner, _, name = attribute.rpartition(".")
            setattr(model.get_submodule(owner), name, None)


class _NoInitialisation(TorchFunctionMode):
    """Leave new tensors as they are: on the meta device drawing numbers would load PyTorch's compiler, seconds long."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def save_folder(layout: Layout, model: nn.Module, folder: Path) -> None:
    """Write a folder that transformers opens with the same logits; files appear whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {name: tensor.detach().cpu() for name, tensor in model.named_parameters()}
    config = layout.write_config(model.config)
    dtypes = {
        tensor.dtype for name, tensor in parameters.items() if name not in layout.defaults(model.config)
    }
    config["dtype"] = config["torch_dtype"] = str(dtypes.pop() if len(dtypes) == 1 else torch.float32)[6:]
    write_tensors(folder, layout.tables["huggingface"].write(parameters))
    partial = folder / ".config.json.part"
    partial.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.rename(folder / "config.json")


def _check_shapes(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise WeightsError(
                f"{name} is {list(tensor.shape)}, config.json makes it {list(wanted[name].shape)}",
                where=where,
                advice="config.json and the weights belong to different models.",
            )
        if not tensor.is_floating_point():
            raise WeightsError(f"{name} holds {tensor.dtype}, not floating-point numbers", where=where)
