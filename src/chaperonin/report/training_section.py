"""The part of the report about metrics.jsonl: learning curves and where they ended."""

from pathlib import Path
from statistics import median

from chaperonin.report.blocks import Illustration, Part, Section, Table
from chaperonin.report.figures import Curve, learning_curves
from chaperonin.report.files import read_lines
from chaperonin.report.sampling import Thinned
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count, measure, number

FILE = "metrics.jsonl"
_MOST_POINTS = 2_000
_SPEED = "tokens_per_second"
_CURVES = (
    ("loss", "loss", (("training", "loss"), ("held out", "held_out_loss"))),
    ("perplexity", "held-out perplexity", (("held out", "held_out_perplexity"),)),
    (
        "experts",
        "evenness of the use of experts",
        (("training", "expert_evenness"), ("held out", "held_out_expert_evenness")),
    ),
    ("learning-rate", "learning rate", (("learning rate", "learning_rate"),)),
)


class _Series:
    """The values of one quantity over the steps: thinned, with the last and the lowest kept apart."""

    def __init__(self) -> None:
        self.points: Thinned[tuple[float, float]] = Thinned(_MOST_POINTS)
        self.last: tuple[float, float] | None = None
        self.lowest: tuple[float, float] | None = None

    def add(self, step: float, value: float) -> None:
        self.points.add((step, value))
        self.last = (step, value)
        if self.lowest is None or value < self.lowest[1]:
            self.lowest = (step, value)

    def drawn(self) -> list[tuple[float, float]]:
        """The thinned points, and the last one in any case."""
        points = list(self.points.items)
        if self.last is not None and points and points[-1] != self.last:
            points.append(self.last)
        return points


def training_section(outdir: Path) -> Section | None:
    """None where no training left its measurements."""
    path = outdir / FILE
    if not path.is_file():
        return None
    series, tokens = _read(path)
    parts: list[Part] = []
    for name, quantity, members in _CURVES:
        curves = []
        for label, key in members:
            points = series[key].drawn()
            if len(points) > 1:
                curves.append(Curve(label, [step for step, _ in points], [value for _, value in points]))
        if curves:
            caption = f"{quantity.capitalize()} over the optimiser's steps."
            svg = as_svg(learning_curves(curves, quantity), name, f"Line chart: {caption}")
            parts.append(Illustration(svg, caption))
    rows = _final_figures(series, tokens)
    if rows:
        parts.append(Table("Final figures", ("quantity", "value", "at step"), rows, frozenset({1, 2})))
    reading = (*_READING, *_EXPERTS) if series["held_out_expert_evenness"].last else _READING
    return Section("training", "Learning curves", parts, reading) if parts else None


def _read(path: Path) -> tuple[dict[str, _Series], int]:
    series = {key: _Series() for *_, members in _CURVES for _, key in members} | {_SPEED: _Series()}
    tokens = 0
    for entry in read_lines(path):
        if entry is None:
            continue
        step = number(entry, "step")
        tokens = max(tokens, int(number(entry, "tokens") or 0))
        for key, one in series.items():
            value = number(entry, key)
            if step is not None and value is not None:
                one.add(step, value)
    return series, tokens


def _final_figures(series: dict[str, _Series], tokens: int) -> list[tuple[str, str, str]]:
    rows = []
    for label, key in (
        ("training loss", "loss"),
        ("held-out loss", "held_out_loss"),
        ("held-out perplexity", "held_out_perplexity"),
    ):
        last, lowest = series[key].last, series[key].lowest
        if last is None or lowest is None:
            continue
        rows.append((f"{label}, last", measure(float(last[1])), count(int(last[0]))))
        if key != "loss" and lowest != last:
            rows.append((f"{label}, best", measure(float(lowest[1])), count(int(lowest[0]))))
    if tokens:
        rows.append(("tokens seen", count(tokens), ""))
    speeds = [value for _, value in series[_SPEED].drawn()]
    if speeds:
        rows.append(("tokens per second, median", f"{median(speeds):,.0f}", ""))
    return rows


_READING = (
    (
        "Loss",
        "Mean cross-entropy of the hidden residues, in nats. When the held-out curve turns up while the "
        "training curve still falls, the model learns its training set by heart.",
    ),
    (
        "Perplexity",
        "exp(loss): among how many equally likely residues the model still hesitates. 20 is guessing "
        "blindly; knowing only how frequent each residue is gives about 18.",
    ),
)
_EXPERTS = (
    (
        "Evenness",
        "Entropy of the experts' shares of all choices, over that of even shares, the mean of the layers: 1 when all "
        "are used alike, 0 when one gets every token. metrics.jsonl has each layer's busiest and idlest expert.",
    ),
)
