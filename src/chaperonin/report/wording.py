"""Numbers as people write them."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime


def count(number: int, thing: str = "", things: str = "") -> str:
    """`1 protein`, `12,345 proteins`; without a thing only the number."""
    if not thing:
        return f"{number:,}"
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def duration(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `4 min 07 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def memory(size_bytes: float) -> str:
    """`734 MiB`, `1.42 GiB`."""
    if size_bytes < 2**20:
        return f"{size_bytes / 2**10:.0f} KiB"
    if size_bytes < 2**30:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:.2f} GiB"


def measure(value: object) -> str:
    """A figure in a table: three decimals for ordinary numbers, more digits only for small ones."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "n/a"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.0995 else f"{value:.3g}"


def moment(value: object) -> str:
    """An ISO time as `2026-11-21 09:00 UTC`; anything else as it is."""
    text = "" if value is None else str(value)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()


def number(parent: Mapping[str, object], key: str) -> float | None:
    """The finite number at a key, or None: a report leaves out what a file does not say."""
    value = parent.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def mapping(parent: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The mapping at a key, or an empty one."""
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def shortened(text: str, longest: int = 80) -> str:
    """The text, its middle left out where it is long."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def told_apart(names: Sequence[str]) -> list[str]:
    """The names without the words that all of them begin with, which a short label would show alone."""
    words = [name.split(" ") for name in names]
    most = min(map(len, words)) - 1
    shared = next((place for place in range(most) if len({own[place] for own in words}) > 1), most)
    return [" ".join(own[shared:]) for own in words]
