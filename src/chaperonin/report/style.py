"""The look that all figures share, and their way into files: the same input gives the same bytes."""

import base64
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.style
import numpy as np
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

Pixels = int | float
"""A length in CSS pixels, when the figure has its natural size."""

INK = "#22303c"
MUTED = "#5f6f7d"
HAIRLINE = "#d5dde3"
MISSING = "#cbced1"
BLUE = "#2a6f97"
AMBER = "#c9772b"

SEQUENTIAL = LinearSegmentedColormap.from_list(
    "depth", ["#ffffff", "#d3e4ee", "#8fbbd3", "#3f86ad", "#1b557c", "#0b2b45"], N=100
)
"""0 is paper, 1 is deep blue; the lightness falls evenly."""

DIVERGING = LinearSegmentedColormap.from_list(
    "effect",
    ["#8e1c2c", "#c8473f", "#e9967c", "#f8dccf", "#ffffff", "#d3e4ef", "#86b6d5", "#3a80b3", "#16466f"],
    N=201,
)
"""Red below the centre, blue above it: told apart under every common colour blindness."""

_SETTINGS = {
    "figure.dpi": 72,  # one point is one CSS pixel
    "savefig.dpi": 160,  # of the parts that are pictures inside an SVG
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # travels with matplotlib: the same layout on every machine
    "font.size": 11.5,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in an id is a dollar sign
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "image.interpolation": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "chaperonin",
}

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the user's own settings; theirs are back afterwards."""
    with matplotlib.style.context(["default", _SETTINGS]):
        yield


class Picture(Figure):
    """A figure that also knows what to say when the pointer rests on a part of it."""

    def __init__(self, width: Pixels, height: Pixels) -> None:
        super().__init__(figsize=(width / 72, height / 72), facecolor="none")
        self.hover: dict[str, list[str]] = {}

    def explain(self, artist: Artist, texts: Sequence[str]) -> None:
        """One text for each element of a collection, in its drawing order."""
        name = f"explained-{len(self.hover)}"
        artist.set_gid(name)
        self.hover[name] = list(texts)

    def panel(self, left: Pixels, top: Pixels, width: Pixels, height: Pixels) -> Axes:
        """New axes at a place counted from the upper left corner."""
        full_width, full_height = self.get_size_inches() * 72
        bottom = full_height - top - height
        return self.add_axes(
            (left / full_width, bottom / full_height, width / full_width, height / full_height)
        )


def drawable(text: str, longest: int = 60) -> str:
    """The text on one line, shortened, with `?` for what the figure font has no letter for."""
    letters = _letters()
    clean = "".join(letter if ord(letter) in letters else "?" for letter in " ".join(text.split()))
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def save_png(path: Path, figure: Figure) -> None:
    """White background, 200 dots per inch; complete or not there at all."""
    unfinished = path.with_name(path.name + ".part")
    with house_style():
        figure.savefig(unfinished, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    os.replace(unfinished, path)


def as_svg(figure: Figure, name: str, description: str) -> Markup:
    """SVG to stand inside an HTML page.

    `name` keeps its ids apart from those of other figures; `description` is read to those who do not see it.
    The page's style sheet gives the font.
    """
    buffer = io.BytesIO()
    with house_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # only measured: the browser draws it
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for element in list(root):
        if element.tag == f"{_SVG}metadata" or element.find(f"{_SVG}style") is not None:
            root.remove(element)
    if isinstance(figure, Picture):
        for gid, texts in figure.hover.items():
            _add_titles(root, gid, texts)
    _rename_ids(root, name)
    for element in root.iter():
        _simplify(element)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": description,
        "style": f"--natural-width: {float(root.attrib['viewBox'].split()[2]):.0f}px",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode").replace(">\n<", "><"))


def _add_titles(root: ElementTree.Element, gid: str, texts: list[str]) -> None:
    group = root.find(f".//{_SVG}g[@id='{gid}']")
    assert group is not None, gid
    definitions = {shape for defs in group.iter(f"{_SVG}defs") for shape in defs.iter()}
    shapes = [
        shape
        for shape in group.iter()
        if shape.tag in (f"{_SVG}path", f"{_SVG}use") and shape not in definitions
    ]
    for shape, text in zip(shapes, texts, strict=True):
        ElementTree.SubElement(shape, f"{_SVG}title").text = text
    group.set("class", "explained")


def _rename_ids(root: ElementTree.Element, name: str) -> None:
    """Drop the ids that nothing refers to, put the figure's name before the others."""
    references = re.compile(r"url\(#([^)]+)\)")
    wanted: set[str] = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            wanted.update(references.findall(value))
            if key == f"{_XLINK}href" and value.startswith("#"):
                wanted.add(value[1:])
    for element in root.iter():
        identifier = element.attrib.pop("id", None)
        if identifier in wanted:
            element.set("id", f"{name}-{identifier}")
        for key, value in element.attrib.items():
            if key == f"{_XLINK}href" and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            else:
                element.set(key, references.sub(rf"url(#{name}-\1)", value))


def _simplify(element: ElementTree.Element) -> None:
    """No namespaces, no font family, two decimals, no white space between elements."""
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    element.tail = None
    if element.tag != "title" and element.tag != "text":
        element.text = None
    for key in ("d", "x", "y", "transform"):
        if key in element.attrib and not (element.tag == "image" and key == "transform"):
            value = re.sub(r"(\d+\.\d\d)\d+", r"\1", element.attrib[key])
            element.set(key, " ".join(value.split()))
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if "style" in element.attrib:
        element.set("style", re.sub(r"font-family: [^;]*(; )?", "", element.attrib["style"]))
    if element.tag == "image":
        _, _, encoded = element.attrib["href"].partition(",")
        smaller = _with_palette(base64.b64decode(encoded))
        element.set("href", "data:image/png;base64," + base64.b64encode(smaller).decode("ascii"))


def _with_palette(png: bytes) -> bytes:
    """The same picture with one byte a pixel, where it has few enough colours; heat maps have."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGBA"))
    colours, indices = np.unique(pixels.reshape(-1, 4).view(">u4").ravel(), return_inverse=True)
    if len(colours) > 256:
        return png
    table = colours.astype(">u4").view(np.uint8).reshape(-1, 4)
    smaller = Image.fromarray(indices.astype(np.uint8).reshape(pixels.shape[:2]))
    smaller.putpalette(table[:, :3].tobytes())
    buffer = io.BytesIO()
    smaller.save(buffer, format="png", optimize=True, transparency=table[:, 3].tobytes())
    return buffer.getvalue()
