"""What a page is made of: sections of figures, tables and text, without a word of HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Illustration:
    """A figure with its caption; a wide one takes the whole width and scrolls on a phone."""

    kind: ClassVar[str] = "illustration"
    svg: Markup
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns; the first cell of a row names it."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    """Columns of numbers, aligned to the right."""
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Heading:
    """Begins the part of a section that is about one protein."""

    kind: ClassVar[str] = "heading"
    text: str
    detail: str = ""
    wide: ClassVar[bool] = True


@dataclass(frozen=True)
class Paragraph:
    """A sentence or two."""

    kind: ClassVar[str] = "paragraph"
    text: str
    wide: ClassVar[bool] = True


@dataclass(frozen=True)
class Code:
    """Text as it was typed or would be typed."""

    kind: ClassVar[str] = "code"
    caption: str
    text: str
    wide: bool = True


@dataclass(frozen=True)
class Terms:
    """Names and what they mean."""

    kind: ClassVar[str] = "terms"
    entries: Sequence[tuple[str, str]]
    prose: bool = False
    """Explanations of a few sentences rather than single values."""
    wide: ClassVar[bool] = True


@dataclass(frozen=True)
class StructureView:
    """A structure that the reader can turn, where the browser has WebGL."""

    kind: ClassVar[str] = "structure"
    anchor: str
    """Id of the element that holds the atoms; no two are the same on a page."""
    atoms: Markup
    """PDB text."""
    name: str
    file: str
    """Where all its atoms are."""
    caption: str
    warning: str = ""
    """Stands in the picture."""
    wide: ClassVar[bool] = False


Part = Illustration | Table | Heading | Paragraph | Code | Terms | StructureView


@dataclass(frozen=True)
class Section:
    """One entry of the table of contents."""

    anchor: str
    title: str
    parts: Sequence[Part]
    reading: Sequence[tuple[str, str]] = field(default=())
    """Terms and explanations for "how to read this"."""
