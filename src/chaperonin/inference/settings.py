"""Whether a job that is there is the job that is asked for."""

import json
from pathlib import Path
from typing import Any

from chaperonin.errors import UsageError


def require_same_settings(stored: Any, given: Any, outdir: Path) -> None:
    """UsageError naming the settings that differ, by their dotted names."""
    if differences := _differences(stored, given):
        raise UsageError(
            f"OUTDIR holds a job with other settings: {'; '.join(differences)}",
            where=str(outdir),
            advice="Use --overwrite to start afresh, or choose another OUTDIR.",
        )


def _differences(stored: Any, given: Any, name: str = "") -> list[str]:
    if isinstance(stored, dict) and isinstance(given, dict):
        found = []
        for key in sorted(stored.keys() | given.keys()):
            dotted = f"{name}.{key}" if name else key
            found += _differences(stored.get(key), given.get(key), dotted)
        return found
    return [] if stored == given else [f"{name} was {_brief(stored)}, now {_brief(given)}"]


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
