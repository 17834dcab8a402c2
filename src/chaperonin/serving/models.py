"""What is served: one base model, and the trained models over it, which come and go while the endpoint runs."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chaperonin.errors import UsageError
from chaperonin.inference.load import load, origin_of
from chaperonin.inference.protst import PUBLISHED, is_protst, load_protst
from chaperonin.kernels.segments import Segments
from chaperonin.layers.language import LanguageModel
from chaperonin.serving.errors import Refusal
from chaperonin.serving.settings import ServeSettings
from chaperonin.serving.text_reader import TextReader
from chaperonin.tasks.folder import TASK, Trained, read_trained, trained_folder

if TYPE_CHECKING:
    from chaperonin.adapt.adapters import AdapterBank


@dataclass(frozen=True)
class Served:
    """A model that requests may name."""

    name: str
    trained: Trained | None = None
    """Head, calibration and domain; None for a model without a task."""
    adapter: str | None = None
    """Its name in the bank; None where the base is used as it is."""

    def describe(self, default: bool) -> dict[str, Any]:
        """As `/v1/models` lists it."""
        target = self.trained.target if self.trained is not None else None
        task = None
        if target is not None:
            task = {"level": target.level, "kind": target.kind, "classes": list(target.classes)}
        return {"name": self.name, "task": task, "is_default": default}


class Models:
    """The base and what is served over it. Reading needs no lock: the table is replaced, never changed."""

    def __init__(
        self,
        base: LanguageModel,
        default: Served,
        adapters: Path | None = None,
        reader: TextReader | None = None,
    ) -> None:
        self.base = base
        self.reader = reader
        """Reads texts, where the base is the protein tower of a ProtST."""
        self.default = default
        self.device = next(base.parameters()).device
        self._folder = adapters
        self._bank: AdapterBank | None = None
        self._table: dict[str, Served] = {default.name: default}
        self._changing = threading.Lock()

    def __iter__(self) -> Iterator[Served]:
        return iter(self._table.values())

    def get(self, name: str | None) -> Served:
        """The model that a request names, or the default one; Refusal (404) for one that is not served."""
        if name is None:
            return self.default
        served = self._table.get(name)
        if served is None:
            known = ", ".join(sorted(self._table))
            raise Refusal(404, "unknown_model", f"No model of this name is served. There are: {known}.")
        return served

    @property
    def base_name(self) -> str:
        """What clients may know the base by."""
        return _public(origin_of(self.base).name)

    @property
    def text_reader(self) -> TextReader:
        """Refusal (422) where nothing that is served reads texts."""
        if self.reader is None:
            raise Refusal(
                422,
                "no_text",
                f"{self.default.name} reads no texts: serve a ProtST, such as {PUBLISHED}.",
            )
        return self.reader

    def selected(self, names: Sequence[str | None], segments: Segments) -> AbstractContextManager[Any]:
        """Inside, each segment is computed with its adapter; Refusal (404) where one was unloaded meanwhile."""
        if not any(names):
            return nullcontext()
        if self._bank is None or (gone := {name for name in names if name} - set(self._bank.names)):
            raise Refusal(
                404, "unknown_model", f"The model was unloaded meanwhile: {', '.join(sorted(gone))}."
            )
        return self._bank.select(names, segments)

    def passed(
        self, body: Callable[[Tensor, Segments], Any], served: Served, tokens: Tensor, segments: Segments
    ) -> Any:
        """What `body` makes of segments that all go through one served model."""
        with torch.inference_mode(), self.selected([served.adapter] * len(segments), segments):
            return body(tokens, segments)

    def folders(self) -> list[str]:
        """Names of the folders that may be loaded."""
        if self._folder is None:
            return []
        return sorted(path.parent.name for path in self._folder.glob(f"*/{TASK}"))

    def add(self, name: str, folder: str) -> Served:
        """Serve the model of a folder inside the folder of adapters; call it between batches.

        Refusal: 404 for a folder that is not there, 409 for a name that is taken. WeightsError for a model of another
        base or a damaged one.
        """
        if folder not in self.folders() or self._folder is None:
            known = ", ".join(self.folders()) or "none"
            raise Refusal(
                404, "unknown_folder", f"There is no such folder of a trained model. There are: {known}."
            )
        with self._changing:
            if name in self._table:
                raise Refusal(409, "name_taken", f"A model is served as {name} already: unload it first.")
            served = self._enter(name, read_trained(self._folder / folder))
            self._table = {**self._table, name: served}
        return served

    def remove(self, name: str) -> Served:
        """Serve a model no longer; call it between batches. Refusal: 404 unknown, 409 for the default one."""
        with self._changing:
            served = self.get(name)
            if served is self.default:
                raise Refusal(409, "default_model", "The default model cannot be unloaded.")
            self._table = {own: other for own, other in self._table.items() if own != name}
            if served.adapter is not None and self._bank is not None:
                self._bank.remove(served.adapter)
        return served

    def _enter(self, name: str, trained: Trained) -> Served:
        require_base(trained, self.base)
        if trained.adapter is None:
            return Served(name, trained)
        if self._bank is None:
            from chaperonin.adapt.adapters import AdapterBank

            self._bank = AdapterBank(self.base)
        self._bank.add(name, trained.adapter)
        return Served(name, trained, name)


def load_models(name: str, settings: ServeSettings) -> Models:
    """The model that is to be served, and every model of the folder of adapters.

    Without such a folder an adapter is merged into its base, which is fastest. With one, the base stays as it is, and
    all models over it share its passes.
    """
    if settings.adapters is None:
        base, reader = _read_base(name, settings)
        return Models(base, Served(_public(name), origin_of(base).trained), reader=reader)
    folder = Path(settings.adapters)
    if not folder.is_dir():
        raise UsageError(
            "is no folder", where=f"--adapters {folder}", advice="Name the folder of model folders."
        )
    return _over_one_base(name, folder, settings)


def _over_one_base(name: str, folder: Path, settings: ServeSettings) -> Models:
    own = trained_folder(name)
    trained = None if own is None else read_trained(own)
    base, reader = _read_base(name if trained is None else trained.base.name, settings)
    models = Models(base, Served(_public(name)), folder, reader)
    if trained is not None:
        models.default = models._enter(models.default.name, trained)
        models._table = {models.default.name: models.default}
    for inner in models.folders():
        if inner != models.default.name:
            models.add(inner, inner)
    return models


def _read_base(name: str, settings: ServeSettings) -> tuple[LanguageModel, TextReader | None]:
    """A language model; of a ProtST its protein tower, and the rest of it, which reads texts."""
    if is_protst(name):
        whole = load_protst(name, settings.precision, settings.device)
        return whole.tower, TextReader(whole)
    return load(name, precision=settings.precision, device=settings.device), None


def require_base(trained: Trained, base: LanguageModel) -> None:
    """UsageError where a model has weights of its own, or was trained over another base than the one served."""
    origin = origin_of(base)
    alone = f"Serve it by itself: chaperonin serve {trained.folder.name}."
    if trained.method == "full":
        raise UsageError(
            "all of its weights were trained: it shares no base", where=str(trained.folder), advice=alone
        )
    if trained.base.sha256 != origin.sha256:
        raise UsageError(
            f"was trained over {trained.base.name} ({trained.base.sha256[:12]}), and {origin.name} "
            f"({origin.sha256[:12]}) is served",
            where=str(trained.folder),
            advice=alone,
        )


def _public(name: str) -> str:
    """Name that clients see: a hub name as it is, of a folder its last part, never the whole path."""
    return Path(name).resolve().name if Path(name).exists() else name
