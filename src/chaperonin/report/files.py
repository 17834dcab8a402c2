"""The JSON files of a job, read leniently: what is absent is empty."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from chaperonin.errors import InputError


def read_mapping(path: Path) -> Mapping[str, object]:
    """The object in a JSON file, empty where there is no file. Raises InputError for what is not JSON."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"not JSON ({error})",
            where=str(path),
            advice="Run the job again: it writes this file anew and keeps its results.",
        ) from error
    return content if isinstance(content, Mapping) else {"content": content}


def read_lines(path: Path) -> Iterator[Mapping[str, object] | None]:
    """The object of each line of a JSON Lines file, None for a line without one: a kill may halve it."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in filter(str.strip, lines):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                entry = None
            yield entry if isinstance(entry, Mapping) else None
