"""Options that several verbs have, each described once; flattened into the verb's own by cyclopts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from chaperonin.config import read_yaml, resolve

Settings = TypeVar("Settings")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model reads the sequences, and how."""

    model: str | None = None
    """Hub name, folder, or the bundled chaperonin/esm2-tiny."""
    precision: Literal["auto", "fp32", "bf16", "int8"] | None = None
    """Arithmetic: auto, fp32, bf16 or int8."""
    long: Literal["window", "truncate", "fail"] | None = None
    """Above 1,022 residues: overlapping windows, the first 1,022, or a failure."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job is begun."""

    overwrite: Annotated[bool, Parameter(negative="")] = False
    """Do a job again that OUTDIR holds."""
    config: Path | None = None
    """YAML file with any of the settings."""
    set: list[str] | None = None
    """One setting as key=value; may be repeated."""
    dry_run: Annotated[bool, Parameter(negative="")] = False
    """Print the resolved settings, the predicted memory, disk and time, and stop."""

    def gives(self, key: str) -> bool:
        """Whether the file or one of the pairs has this setting."""
        pairs = (pair.partition("=")[0].strip() for pair in self.set or ())
        return key in pairs or (self.config is not None and key in read_yaml(self.config))

    def resolve(self, settings: type[Settings], options: Mapping[str, Any]) -> Settings:
        """Settings from the file, the pairs and the verb's own options."""
        return resolve(settings, file=self.config, overrides=self.set or (), options=options)
