"""A LoRA adapter (Hu et al. 2021, arXiv 2106.09685) and its files, as the PEFT library writes and reads them.

In memory modules have our names, in files Hugging Face's: the table of the model's checkpoints translates both ways.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from chaperonin.adapt.lora_names import (
    TABLES,
    layer_order,
    model_type_of_names,
    name_in_files,
    name_in_memory,
    roles_of,
    whole_module,
)
from chaperonin.errors import WeightsError
from chaperonin.files import write_atomically
from chaperonin.weights.files import tensors
from chaperonin.weights.rules import Rename

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the names of the model that it wraps."""

_PLAIN_STARTS = ("gaussian", "eva", "orthogonal")
"""Ways to draw A and B that leave the base's weights alone; the others (PiSSA, OLoRA, …) change them."""
_OTHER_METHODS = (
    "use_dora", "lora_bias", "use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config", "kasa_config",
    "monteclora_config", "velora_config", "layer_replication", "target_parameters", "trainable_token_indices",
)  # fmt: skip
"""Settings that make an adapter something else than `W + scale · B A`."""


@dataclass(frozen=True)
class Adapter:
    """Low-rank additions to linear layers: `W + scale · B A`."""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    """Roles whose modules have an addition."""
    tensors: dict[str, tuple[Tensor, Tensor]]
    """Our module name → A `[rank, inputs]` and B `[outputs, rank]`, on the CPU."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """Modules whose alpha is another one."""
    root: bool = False
    """Whether the scale is alpha / √rank (rsLoRA, Kalajdzievski 2023) in place of alpha / rank."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Modules that were trained in full beside the base: Hugging Face's names, a classification head say."""
    model_type: str = "esm"
    """Of the model that it is for, as `config.json` says it."""

    @property
    def scale(self) -> float:
        """What B A is multiplied by where a module has no rank or alpha of its own."""
        return self._scale(self.alpha, self.rank)

    def scale_of(self, name: str) -> float:
        """What B A of one module is multiplied by."""
        return self._scale(self.alphas.get(name, self.alpha), len(self.tensors[name][0]))

    def _scale(self, alpha: float, rank: int) -> float:
        return alpha / math.sqrt(rank) if self.root else alpha / rank


def write_adapter(
    folder: Path,
    adapter: Adapter,
    base_name: str,
    *,
    extra: Mapping[str, Tensor] | None = None,
    task_type: str | None = None,
    encoder_only: bool = False,
) -> None:
    """Write `adapter_model.safetensors`, then `adapter_config.json`; each appears whole or not at all.

    `extra` are modules trained in full, by Hugging Face's names (`classifier.dense.weight`): they join those of the
    adapter. `task_type` is PEFT's (`SEQ_CLS`, `TOKEN_CLS`, …). `EsmForMaskedLM` and the task models open the files;
    for a bare `EsmModel`, whose names lack `esm.`, write them with `encoder_only`.
    """
    whole = {**adapter.extra, **(extra or {})}
    names = {name: name_in_files(name, adapter.model_type, encoder_only) for name in adapter.tensors}
    stored = {f"{PREFIX}{name}": tensor.detach().cpu().contiguous() for name, tensor in whole.items()}
    for name, (down, up) in adapter.tensors.items():
        stored[f"{PREFIX}{names[name]}.lora_A.weight"] = down.contiguous()
        stored[f"{PREFIX}{names[name]}.lora_B.weight"] = up.contiguous()
    config = {
        **_config(adapter, names),
        "base_model_name_or_path": base_name,
        "task_type": task_type,
        "modules_to_save": sorted({whole_module(name) for name in whole}) or None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / TENSORS, save(stored, {"format": "pt"}))
    write_atomically(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")


def read_adapter(folder: Path) -> Adapter:
    """Adapter of a folder that we or PEFT wrote for an ESM of Hugging Face.

    Raises WeightsError for files that are missing, damaged or pickled, and for every method but plain LoRA and
    rsLoRA.
    """
    config = _read_config(folder)
    path = _tensor_file(folder)
    whole = config.get("modules_to_save") or []
    if not isinstance(whole, list) or not all(isinstance(name, str) for name in whole):
        raise WeightsError(f"{CONFIG} gives modules_to_save {whole!r}, not names", where=str(folder))
    named = list(tensors([path]))
    model_type = model_type_of_names(name.removeprefix(PREFIX) for name, _ in named)
    halves, extra = _sort(named, whole, str(path))
    pairs = {name: _pair(name, halves[name], str(path)) for name in sorted(halves, key=layer_order)}
    if not pairs:
        raise WeightsError("the adapter holds no LoRA tensor", where=str(path))
    rank, alpha = (_number(config.get(key), key, str(folder)) for key in ("r", "lora_alpha"))
    stored = {name: name_in_files(name, model_type) for name in pairs}
    ranks = _per_module(config, "rank_pattern", stored, rank, str(folder))
    for name, (down, _) in pairs.items():
        if len(down) != ranks[name]:
            raise WeightsError(
                f"{name} has rank {len(down)}, {CONFIG} says {ranks[name]:g}",
                where=str(path),
                advice="The two files belong to different adapters.",
            )
    alphas = _per_module(config, "alpha_pattern", stored, alpha, str(folder))
    return Adapter(
        rank=int(rank),
        alpha=alpha,
        targets=roles_of(pairs),
        tensors=pairs,
        model_type=model_type,
        alphas={name: own for name, own in alphas.items() if own != alpha},
        root=bool(config.get("use_rslora")),
        extra=extra,
    )


def own_tensors(adapter: Adapter) -> dict[str, Tensor]:
    """Of the modules that the adapter trained in full, the tensors of the model itself, by our names."""
    found = {name: TABLES[adapter.model_type].find(name) for name in adapter.extra}
    return {
        match.ours: adapter.extra[name]
        for name, match in found.items()
        if match and isinstance(match.rule, Rename)
    }


def _config(adapter: Adapter, names: Mapping[str, str]) -> dict[str, Any]:
    """What PEFT must know to rebuild the modules, by their names in files."""
    ranks = {name: len(down) for name, (down, _) in adapter.tensors.items()}
    return {
        "peft_type": "LORA",
        "inference_mode": True,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "use_rslora": adapter.root,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        # Whole names: the end `output.dense` alone would match the attention's output and the feed-forward's.
        "target_modules": sorted(names.values()),
        "rank_pattern": {names[name]: rank for name, rank in ranks.items() if rank != adapter.rank},
        "alpha_pattern": {names[name]: alpha for name, alpha in adapter.alphas.items() if name in names},
    }


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"no {CONFIG}", where=str(folder), advice="Give the folder of an adapter."
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"not JSON ({error})", where=str(path), advice="Fetch the file again.") from error
    if not isinstance(config, dict):
        raise WeightsError("not a JSON object", where=str(path), advice="Fetch the file again.")
    found = [f"{name} {config[name]!r}" for name in _OTHER_METHODS if config.get(name)]
    if config.get("peft_type") != "LORA":
        found.append(f"peft_type {config.get('peft_type')!r}")
    if config.get("bias", "none") != "none":
        found.append(f"bias {config['bias']!r}")
    start = config.get("init_lora_weights", True)
    if not isinstance(start, bool) and start not in _PLAIN_STARTS:
        found.append(f"init_lora_weights {start!r}")
    if found:
        raise WeightsError(
            f"{', '.join(found)} is not supported",
            where=str(path),
            advice="Plain LoRA and rsLoRA are. Merge this adapter with PEFT and give the merged model.",
        )
    return config


def _tensor_file(folder: Path) -> Path:
    path = folder / TENSORS
    if not path.is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        raise WeightsError(
            f"no {TENSORS}{', only a pickled adapter_model.bin' if pickled else ''}",
            where=str(folder),
            advice="Save the adapter again with a PEFT of 2023 or later: it writes safetensors.",
        )
    return path


def _sort(
    named: Iterable[tuple[str, Tensor]], whole: Sequence[str], where: str
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """Halves A and B by our module name, and the modules that were trained in full by theirs."""
    halves: dict[str, dict[str, Tensor]] = {}
    extra: dict[str, Tensor] = {}
    unknown: list[str] = []
    for stored, tensor in named:
        name = stored.removeprefix(PREFIX)
        match = re.fullmatch(r"(.+)\.lora_([AB])(?:\.default)?\.weight", name)
        ours = name_in_memory(match.group(1)) if match else None
        if match and ours:
            halves.setdefault(ours, {})[match.group(2)] = tensor.float()
        elif not match and any(f".{module}." in f".{name}" for module in whole):
            extra[name.replace(".modules_to_save.default", "")] = tensor
        else:
            unknown.append(stored)
    if unknown:
        raise WeightsError(
            f"{', '.join(unknown[:3])}{' …' if len(unknown) > 3 else ''}: not supported",
            where=where,
            advice="Adapters of the encoder's linear layers are, and heads in modules_to_save.",
        )
    return halves, extra


def _pair(name: str, halves: dict[str, Tensor], where: str) -> tuple[Tensor, Tensor]:
    """A and B of one module, with shapes that can be multiplied."""
    if set(halves) != {"A", "B"}:
        raise WeightsError(
            f"{name} has only lora_{next(iter(halves))}", where=where, advice="Fetch it again."
        )
    down, up = halves["A"], halves["B"]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or not down.numel():
        raise WeightsError(
            f"{name} has A {list(down.shape)} and B {list(up.shape)}: B A does not exist", where=where
        )
    if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
        raise WeightsError(f"{name} holds numbers that are not finite", where=where, advice="Train it again.")
    return down, up


def _number(value: object, key: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise WeightsError(f"{CONFIG} gives {key} {value!r}, not a positive number", where=where)
    return value


def _per_module(
    config: Mapping[str, Any], key: str, theirs: Mapping[str, str], usual: float, where: str
) -> dict[str, float]:
    """Of each module the value of the first pattern that fits its name in files, as PEFT matches them.

    theirs: our name → name in files.
    """
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict):
        raise WeightsError(f"{CONFIG} gives {key} {patterns!r}, not values by module", where=where)
    try:
        found = [
            (re.compile(rf"(.*\.)?({text})$"), _number(value, key, where)) for text, value in patterns.items()
        ]
    except re.error as error:
        raise WeightsError(f"{CONFIG} gives a {key} that cannot be matched: {error}", where=where) from error
    return {
        name: next((value for pattern, value in found if pattern.match(stored)), usual)
        for name, stored in theirs.items()
    }
