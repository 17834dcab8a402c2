"""A trained model on disk: what was learned, what it stands on, and what it may be trusted with.

    task.json            target, head, calibration, base by name and sha256, format
    head.safetensors     the head
    domain.safetensors   centre and spread of the training set, where it was large enough to have them
    adapter_*            LoRA, as PEFT writes it; or
    config.json, model.safetensors   all weights, as Hugging Face lays them out; or neither: the base as it was
    vocab.txt, tokenizer_config.json beside either, for the loaders of others (huggingface.py: what they open)
    metrics.json, README.md          how good it is; the model card

The folder is written under another name and renamed, so that it is whole or not there.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from chaperonin.adapt.lora import Adapter, collect, merge, read_adapter, write_adapter
from chaperonin.errors import ChaperoninError, WeightsError
from chaperonin.files import disk_errors, sync_folder, write_atomically
from chaperonin.kernels.segments import Segments
from chaperonin.layers.language import LanguageModel
from chaperonin.models import layout_of
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.card import model_card
from chaperonin.tasks.domain import Domain
from chaperonin.tasks.encoder import alphabet_of, encoder_config, model_type_of, read_encoder
from chaperonin.tasks.heads import PAIR_CHANNELS, build_head
from chaperonin.tasks.huggingface import (
    PEFT_TASKS,
    add_to_model,
    auto_class,
    head_tensors,
    write_vocabulary,
)
from chaperonin.tasks.prediction import Output, Prediction, predict_one
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.target import Target
from chaperonin.weights.files import tensors, weight_files
from chaperonin.weights.hub import BUNDLED, resolve
from chaperonin.weights.pretrained import save_folder

FORMAT = 1
TASK, HEAD, DOMAIN, METRICS, CARD = (
    "task.json",
    "head.safetensors",
    "domain.safetensors",
    "metrics.json",
    "README.md",
)

Method = Literal["full", "lora", "frozen"]
_OWN = (TASK, HEAD, DOMAIN, "adapter_config.json", "adapter_model.safetensors", "model.safetensors")
"""Files on which predictions depend, besides the base."""


@dataclass(frozen=True)
class Base:
    """The model that training began with."""

    name: str
    """Hub name, folder, or a bundled model."""
    sha256: str
    """Of its weight files."""

    @classmethod
    def of(cls, name: str) -> "Base":
        """The base of this name as it lies on this disk."""
        return cls(name, weights_digest(resolve(name)))

    def folder(self, where: str) -> Path:
        """Its folder on this disk; WeightsError where it is absent."""
        try:
            return resolve(self.name)
        except WeightsError as error:
            raise WeightsError(
                f"its base is missing: {error.what}", where=where, advice=error.advice
            ) from error

    def verified(self, where: str) -> Path:
        """Its folder; WeightsError where that has other weights than training began with."""
        folder = self.folder(where)
        if weights_digest(folder) != self.sha256:
            raise WeightsError(
                f"the weights of its base {self.name} are not those that it was trained on",
                where=where,
                advice=f"Put the base with sha256 {self.sha256[:16]}… there ({folder}), or train again.",
            )
        return folder


@dataclass(frozen=True)
class Trained:
    """A model folder that was read."""

    folder: Path
    method: Method
    target: Target
    head: nn.Module
    pooling: Literal["mean", "cls"]
    calibration: Calibration
    domain: Domain | None
    base: Base
    adapter: Adapter | None

    def encoder(self) -> Path:
        """Folder that holds the encoder's weights, before any adapter."""
        return self.folder if self.method == "full" else self.base.folder(str(self.folder))

    def backbone(self) -> LanguageModel:
        """The plain model with what was learned in it, on the CPU in the files' own dtype."""
        if self.method == "full":
            return read_encoder(self.folder)
        model = read_encoder(self.base.verified(str(self.folder)))
        if self.adapter is not None:
            merge(model, self.adapter)
        return model

    @cached_property
    def sha256(self) -> str:
        """Digest of everything that predictions depend on."""
        digest = sha256(self.base.sha256.encode())
        for name in _OWN:
            path = self.folder / name
            if path.is_file():
                with path.open("rb") as opened:
                    digest.update(f"{name}\n{file_digest(opened, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()

    def outputs(self, vectors: Sequence[NDArray[np.float32]]) -> list[Output]:
        """What the head makes of each protein's vectors `[length + 1, width]`: its `<cls>`, then its residues."""
        means = np.stack([own[1:].mean(axis=0) for own in vectors])
        distances = np.full(len(vectors), np.nan) if self.domain is None else self.domain.distance(means)
        with torch.inference_mode():
            logits = _READERS[self.target.level](self, vectors, means)
        return [Output(own, float(distance)) for own, distance in zip(logits, distances, strict=True)]

    def predictions(self, hidden: Tensor, segments: Segments) -> list[Prediction]:
        """Prediction for each segment of a packed representation `[tokens, width]`, ends included."""
        rows = hidden.float().cpu().numpy()
        spans = zip(segments.starts, segments.lengths, strict=True)
        whole_first = alphabet_of(self.encoder()).whole_first
        outputs = self.outputs([whole_first(rows[start : start + length]) for start, length in spans])
        return [self.prediction(output) for output in outputs]

    def prediction(self, output: Output) -> Prediction:
        """Calibrated, named, and marked where it is out of domain."""
        return predict_one(output, self.target, self.calibration)


def _read_proteins(
    trained: Trained, vectors: Sequence[NDArray[np.float32]], means: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    pooled = means if trained.pooling == "mean" else np.stack([own[0] for own in vectors])
    return list(trained.head(torch.from_numpy(pooled)).numpy())


def _read_residues(
    trained: Trained, vectors: Sequence[NDArray[np.float32]], means: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    return [trained.head(torch.from_numpy(own[1:])).numpy() for own in vectors]


_READERS = {"sequence": _read_proteins, "residue": _read_residues, "pairs": _read_residues}


def weights_digest(folder: Path) -> str:
    """SHA-256 over the weight files of a folder (as hex digits): two equal digests are the same model."""
    digest = sha256()
    for path in weight_files(folder):
        with path.open("rb") as opened:
            while block := opened.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def trained_folder(name: str | Path) -> Path | None:
    """The folder of a trained model, given by path or by a bundled name; None where it is no trained model."""
    folder = Path(name).expanduser()
    owner, _, model = str(name).partition("/")
    if not (str(name) and folder.is_dir()) and owner == "chaperonin" and model and "/" not in model:
        folder = BUNDLED / model
    return folder if (folder / TASK).is_file() else None


def save_trained(
    folder: Path,
    predictor: Predictor,
    base: Base,
    calibration: Calibration,
    domain: Domain | None,
    *,
    method: Method,
    metrics: Mapping[str, Any] | None = None,
    data: str = "",
) -> None:
    """Write the model directory; an older one of that name is replaced.

    predictor: on any device; for `lora` with PEFT's layers still in its backbone. metrics: what metrics.json says.
    data: the training data in words, for the model card.
    """
    task = _task(predictor, base, method)
    with _whole(folder) as partial:
        _write_weights(partial, predictor, base, method, task)
        _write_judgement(partial, folder.name, task, calibration, domain, metrics or {}, data)


def finish_trained(
    trained: Trained,
    folder: Path,
    calibration: Calibration,
    domain: Domain | None,
    metrics: Mapping[str, Any],
    data: str = "",
) -> None:
    """Write the folder of a saved model anew, with what was found out about it since; the weights are copied."""
    task = _read_task(trained.folder)
    with _whole(folder) as partial:
        for path in trained.folder.iterdir():
            if path.name not in (TASK, DOMAIN, METRICS, CARD):
                shutil.copy2(path, partial / path.name)
        _write_judgement(partial, folder.name, task, calibration, domain, metrics, data)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder of another name to write to, which takes the name `folder` when the block ends well."""
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            _put(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _task(predictor: Predictor, base: Base, method: Method) -> dict[str, Any]:
    """What task.json says of the weights. `width` is there for a hidden layer of a width of its own."""
    head, width = predictor.head, predictor.backbone.config.width
    shape = {"pooling": getattr(head, "pooling", "mean"), "hidden": getattr(head, "hidden", "none")}
    dense = getattr(head, "dense", None)
    inner = dense.out_features if isinstance(dense, nn.Linear) else width
    usual = PAIR_CHANNELS if predictor.target.level == "pairs" else width
    return {
        "format": FORMAT,
        "method": method,
        "model_type": model_type_of(predictor.backbone),
        "target": predictor.target.as_json(),
        "head": {**shape, **({"width": inner} if inner != usual else {})},
        "base": {"name": base.name, "sha256": base.sha256},
        "versions": {package: version(package) for package in ("chaperonin", "torch")},
    }


def _write_weights(
    folder: Path, predictor: Predictor, base: Base, method: Method, task: Mapping[str, Any]
) -> None:
    target, head = predictor.target, task["head"]
    state = predictor.head.state_dict()
    named = {key: value.detach().float().cpu().contiguous() for key, value in state.items()}
    write_atomically(folder / HEAD, save(named, {"format": "pt"}))
    model_type = task["model_type"]
    # transformers has classes with heads for ESM alone.
    extra = head_tensors(target, head, named) if model_type == "esm" else {}
    if method == "full":
        save_folder(layout_of(model_type), predictor.backbone, folder)
        if model_type == "esm":
            add_to_model(folder, target, head, named)
    if method == "lora":
        task_type = PEFT_TASKS[target.level] if extra else None
        write_adapter(folder, collect(predictor.backbone), base.name, extra=extra, task_type=task_type)
        if model_type == "esm":
            write_vocabulary(folder)


def _write_judgement(
    folder: Path,
    name: str,
    task: Mapping[str, Any],
    calibration: Calibration,
    domain: Domain | None,
    metrics: Mapping[str, Any],
    data: str,
) -> None:
    """What was found out about the model: calibration, domain, metrics and card."""
    if domain is not None:
        arrays = {key: torch.from_numpy(array) for key, array in domain.arrays().items()}
        write_atomically(folder / DOMAIN, save(arrays, {"format": "pt"}))
    if metrics:
        write_atomically(folder / METRICS, _json(metrics))
    target, head = Target.from_json(task["target"]), task["head"]
    is_esm = task.get("model_type", "esm") == "esm"
    opens_as = auto_class(target, head) if is_esm else ""
    card = model_card(name, target, task["method"], task["base"]["name"], metrics, data, opens_as, head)
    write_atomically(folder / CARD, card)
    found = {"calibration": calibration.as_json(), "domain": domain is not None}
    write_atomically(folder / TASK, _json({**task, **found}))


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _put(partial: Path, folder: Path) -> None:
    """Give the finished folder its name; between the two renames there is none, never half a one."""
    sync_folder(partial)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(partial, folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def read_trained(folder: Path) -> Trained:
    """Read a model directory; WeightsError says which part is missing, damaged or of another version."""
    where = str(folder / TASK)
    task = _read_task(folder)
    try:
        method, base = task["method"], Base(str(task["base"]["name"]), str(task["base"]["sha256"]))
        pooling, hidden, inner = task["head"]["pooling"], task["head"]["hidden"], task["head"].get("width", 0)
        target = Target.from_json(task["target"])
        has_domain, calibration = bool(task["domain"]), task["calibration"]
        if method not in ("full", "lora", "frozen") or pooling not in ("mean", "cls"):
            raise ValueError(f"method {method!r} or pooling {pooling!r} is none that is known")
    except (KeyError, TypeError, ValueError, ChaperoninError) as error:
        raise _damaged(where, f"says no trained model ({error!r})") from error
    width = encoder_config(folder if method == "full" else base.folder(str(folder))).width
    return Trained(
        folder,
        method,
        target,
        _read_head(folder, build_head(target, width, pooling, hidden, inner)),
        pooling,
        Calibration.from_json(calibration, target.outputs, where),
        _read_domain(folder, width) if has_domain else None,
        base,
        read_adapter(folder) if method == "lora" else None,
    )


def _read_task(folder: Path) -> dict[str, Any]:
    path = folder / TASK
    try:
        task = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"no {TASK}",
            where=str(folder),
            advice="Give a folder that `chaperonin train` wrote as OUTDIR/model.",
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(str(path), f"is not JSON ({error})") from error
    if not isinstance(task, dict):
        raise _damaged(str(path), "is not a JSON object")
    if task.get("format") != FORMAT:
        raise WeightsError(
            f"has format {task.get('format')!r}, this version reads {FORMAT}",
            where=str(path),
            advice="Use the version of chaperonin that wrote it, or train again.",
        )
    return task


def _read_head(folder: Path, head: nn.Module) -> nn.Module:
    named = _named(folder / HEAD)
    wanted = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in named.items()}
    if wanted != found:
        raise _damaged(str(folder / HEAD), f"holds {found}, {TASK} makes it {wanted}")
    head.load_state_dict(named)
    return head.eval().requires_grad_(False)


def _read_domain(folder: Path, width: int) -> Domain:
    arrays = {name: tensor.numpy() for name, tensor in _named(folder / DOMAIN).items()}
    return Domain.from_arrays(arrays, width, str(folder / DOMAIN))


def _named(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise _damaged(str(path), "is missing")
    return dict(tensors([path]))


def _damaged(where: str, what: str) -> WeightsError:
    return WeightsError(what, where=where, advice="Copy the whole folder again, or train again.")
