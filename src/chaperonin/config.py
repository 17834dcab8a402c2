"""Settings: frozen dataclasses, filled from a YAML file, `key=value` pairs and options, checked by pydantic."""

import dataclasses
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from chaperonin.errors import UsageError

Settings = TypeVar("Settings")


def resolve(
    settings: type[Settings],
    *,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from their defaults, then the file, then `section.key=value` pairs, then options that are not None.

    UsageError names the setting that is unknown or has a wrong value.
    """
    values = read_yaml(file) if file is not None else {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"{override!r} is not key=value", where="--set", advice="Write --set key=value.")
        _assign(values, key.strip().split("."), _yaml(text, where=f"--set {override}"))
    for key, value in (options or {}).items():
        if value is not None:
            _assign(values, key.split("."), value)
    return _validate(settings, values, where=str(file) if file is not None else "settings")


def as_dict(settings: Any) -> dict[str, Any]:
    """Plain values of resolved settings, for YAML and JSON."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(settings))
    return plain


def as_yaml(settings: Any) -> str:
    """Resolved settings as the YAML file that gives them again."""
    import yaml

    return str(yaml.safe_dump(as_dict(settings), sort_keys=False, allow_unicode=True))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def read_yaml(file: Path) -> dict[str, Any]:
    """Keys and values of a YAML file; UsageError for one that is missing or holds none."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError("no such file", where=str(file), advice="Name an existing YAML file.") from error
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(f"cannot be read ({error})", where=str(file)) from error
    values = _yaml(text, where=str(file))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError("holds no `key: value` lines", where=str(file), advice="Write one setting per line.")
    return values


def _yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"is not YAML ({' '.join(str(error).split())})", where=where) from error


def _assign(values: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{key} is a value, not a section", where=".".join(path))
        values = inner
    values[path[-1]] = value


def _validate(settings: type[Settings], values: dict[str, Any], where: str) -> Settings:
    if unknown := _unknown(settings, values):
        names = ", ".join(f"{section}{key}" for section, key, _ in unknown)
        section, key, known = unknown[0]
        raise UsageError(f"no setting is called {names}", where=where, advice=_nearest(section, key, known))
    return _build(settings, values, where)


def _build(settings: type[Settings], values: Mapping[str, Any], where: str, section: str = "") -> Settings:
    """Settings of keys that are known. A section of several types is built first: errors are about the right one."""
    from pydantic import TypeAdapter, ValidationError

    kinds = get_type_hints(settings)
    given = dict(values)
    for key, value in values.items():
        if len(_sections(kinds[key])) > 1 and (own := _section(kinds[key], value, f"{section}{key}")):
            given[key] = _build(own, value, where, f"{section}{key}.")
    try:
        return TypeAdapter(settings).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = section + ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name} = {first['input']!r}: {first['msg']}", where=where) from error


def _unknown(
    settings: type[Any], values: Mapping[str, Any], section: str = ""
) -> list[tuple[str, str, list[str]]]:
    """Keys that no setting has: the dotted section, the key, and the keys that this section knows."""
    kinds = get_type_hints(settings)
    known = [field.name for field in dataclasses.fields(settings)]
    unknown = [(section, str(key), known) for key in values if key not in known]
    for key, value in values.items():
        own = _section(kinds.get(key), value, f"{section}{key}")
        if own is not None:
            unknown += _unknown(own, value, f"{section}{key}.")
    return unknown


def _sections(kind: Any) -> list[Any]:
    """The dataclasses that a setting may be: a section, a section | None, or one of several."""
    return [own for own in (kind, *get_args(kind)) if isinstance(own, type) and dataclasses.is_dataclass(own)]


def _section(kind: Any, value: Any, name: str) -> type[Any] | None:
    """The dataclass that a mapping fills: of several, the one that its `type` names, or the first without."""
    sections = _sections(kind)
    if not isinstance(value, Mapping) or len(sections) < 2:
        return sections[0] if isinstance(value, Mapping) and sections else None
    types = {own.type: own for own in sections}
    wanted = value.get("type", sections[0].type)
    if wanted not in types:
        raise UsageError(f"{name}.type = {wanted!r} is not known", advice=f"There is {', '.join(types)}.")
    return types[wanted]


def _nearest(section: str, key: str, known: Sequence[str]) -> str:
    """The name that was most likely meant, where one is near, and all names of the section."""
    meant = get_close_matches(key, known, n=1)
    suggestion = f"Did you mean {section}{meant[0]}? " if meant else ""
    return f"{suggestion}There are: {', '.join(section + name for name in known)}."
