"""Names to the networks that fold: published parameters, folders, or random ones to try things out."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import torch
from torch import nn

from chaperonin.errors import UsageError, WeightsError
from chaperonin.kernels.hardware import choose_device
from chaperonin.models.alphafold.config import PRESETS, AlphaFoldConfig
from chaperonin.models.alphafold.layout import LAYOUT
from chaperonin.models.alphafold.model import AlphaFold
from chaperonin.tasks.folder import weights_digest
from chaperonin.weights.catalog import ALPHAFOLD
from chaperonin.weights.files import read_config
from chaperonin.weights.hub import local_folder
from chaperonin.weights.places import cache
from chaperonin.weights.pretrained import load_folder

USUAL = tuple(f"model_{number}_ptm" for number in range(1, 6))
"""The models that fold when none are named: the five that predict aligned errors."""
MEANINGLESS = "random weights: these coordinates and confidences mean nothing"
"""What stands in every file that random parameters made."""


@dataclass(frozen=True)
class FoldModel:
    """One set of parameters; the network is loaded when it is first used, and then stays."""

    name: str
    """As file names have it: `model_1` for model_1_ptm, whose ending is in the tag."""
    config: AlphaFoldConfig
    load: Callable[[], AlphaFold]
    """The network on its device, in evaluation mode."""
    identify: Callable[[], str]
    """SHA-256 of all that the results depend on."""
    warning: str = ""
    """What has to stand in every file that it makes."""

    @property
    def tag(self) -> str:
        """The kind of model, as ColabFold names it."""
        return "alphafold2_ptm" if self.config.aligned_error else "alphafold2"

    @cached_property
    def network(self) -> AlphaFold:
        """The loaded network."""
        return self.load()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex digits): models of equal digests give equal results."""
        return self.identify()


def load_models(
    names: Sequence[str] | None = None, *, random_weights: bool = False, device: str = "auto"
) -> list[FoldModel]:
    """Models by name (`model_1_ptm`), or by folder; by default the five with aligned errors, those on this disk.

    Nothing is downloaded: WeightsError says what to run. `random_weights` makes seeded random parameters of a named
    model's size, or in the size of a folder's config.json; what they fold is meaningless, and stamped so.
    """
    where = choose_device(device, advice="Write --set device=cpu.")
    if names is None or list(names) == [ALPHAFOLD.name]:
        names = USUAL if random_weights else _on_this_disk()
    models = [_random(name, where) if random_weights else _published(name, where) for name in names]
    seen: set[tuple[str, str]] = set()
    for model in models:
        if (model.name, model.tag) in seen:
            raise UsageError(
                f"two models would write files named {model.tag}_{model.name}",
                advice="Give each model once, in folders of different names.",
            )
        seen.add((model.name, model.tag))
    if not models:
        raise UsageError("no model to fold with", advice="Leave --models out, or name one.")
    return models


def loading(model: FoldModel) -> FoldModel:
    """The same model, whose parameters are read and hashed from now on, beside whatever comes next."""
    threads = ThreadPoolExecutor(2, "loading")
    early = replace(
        model, load=threads.submit(model.load).result, identify=threads.submit(model.identify).result
    )
    threads.shutdown(wait=False)
    return early


def model_of(network: AlphaFold, name: str = "model_1") -> FoldModel:
    """A network that is in memory already, on its device."""
    return FoldModel(name, network.config, lambda: network, partial(_parameters_digest, network))


def random_network(config: AlphaFoldConfig, seed: int = 0) -> AlphaFold:
    """A network of seeded random weights.

    Of every linear layer, the output layers too, weights have the standard deviation 1/√inputs, and biases are zero.
    """
    with torch.random.fork_rng(devices=[]):
        network = AlphaFold(config)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(std=module.in_features**-0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.zero_()
    return network.eval().requires_grad_(False)


def _on_this_disk() -> list[str]:
    found = [name for name in USUAL if local_folder(f"{ALPHAFOLD.name}/{name}") is not None]
    if not found:
        raise _missing("no parameters of AlphaFold 2 are on this disk")
    return found


def _published(name: str, device: torch.device) -> FoldModel:
    if name.removeprefix(f"{ALPHAFOLD.name}/") in PRESETS:
        name = name.removeprefix(f"{ALPHAFOLD.name}/")
        folder = local_folder(f"{ALPHAFOLD.name}/{name}")
        if folder is None:
            raise _missing(f"{ALPHAFOLD.name}/{name} is not on this disk")
    else:
        folder = _folder(name)
    config = _config(folder)
    own = name if name in PRESETS else folder.resolve().name
    return FoldModel(
        _file_name(own), config, partial(_load, folder, device), partial(_folder_digest, folder, config)
    )


def _random(name: str, device: torch.device) -> FoldModel:
    preset = name.removeprefix(f"{ALPHAFOLD.name}/")
    config = PRESETS[preset] if preset in PRESETS else _config(_folder(name))
    own = _file_name(preset if preset in PRESETS else _folder(name).resolve().name)
    identity = sha256(f"random {own} {config}".encode()).hexdigest()
    seed = int(identity[:8], 16)
    return FoldModel(
        own, config, lambda: random_network(config, seed).to(device), lambda: identity, MEANINGLESS
    )


def _load(folder: Path, device: torch.device) -> AlphaFold:
    network = load_folder(LAYOUT, folder, device)
    assert isinstance(network, AlphaFold)
    if any(parameter.dtype != torch.float32 for parameter in network.parameters()):
        network = network.float()
    return network.requires_grad_(False)


def _folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        known = ", ".join(PRESETS)
        raise WeightsError(
            f"{name!r} is neither a model of AlphaFold 2 nor a folder", advice=f"Models are {known}."
        )
    return folder


def _config(folder: Path) -> AlphaFoldConfig:
    values = read_config(folder)
    if values.get("model_type") != "alphafold":
        raise WeightsError(
            f"a model of type {values.get('model_type')!r}, which does not fold",
            where=str(folder),
            advice=f"Give a model of AlphaFold 2: `chaperonin weights pull {ALPHAFOLD.name}`.",
        )
    config = LAYOUT.read_config(values, str(folder))
    assert isinstance(config, AlphaFoldConfig)
    return config


def _folder_digest(folder: Path, config: AlphaFoldConfig) -> str:
    return sha256(f"{weights_digest(folder)} {config}".encode()).hexdigest()


def _parameters_digest(network: AlphaFold) -> str:
    digest = sha256(str(network.config).encode())
    for name, parameter in network.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _file_name(name: str) -> str:
    """What the names of files have: the model's own name, or its folder's, without what the tag says."""
    plain = re.sub(r"[^A-Za-z0-9.+=-]+", "_", name).strip("._")
    return plain.removesuffix("_ptm") or "model"


def _missing(what: str) -> WeightsError:
    return WeightsError(
        what,
        where=str(cache()),
        advice=f"Run `chaperonin weights pull {ALPHAFOLD.name}` once (about 5.6 GB), or give a folder with --models; "
        "--random-weights tries the program out without any.",
    )
