"""The part of the report about metrics.json of a fine-tuning or an evaluation: how good, on what, at what cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from chaperonin.report.blocks import Illustration, Part, Section, Table
from chaperonin.report.figures import Curve, learning_curves
from chaperonin.report.files import read_lines, read_mapping
from chaperonin.report.sampling import Thinned
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count, duration, mapping, memory, number
from chaperonin.tasks.card import figure, names_of_all

METRICS_FILE, LOG_FILE = "metrics.json", "metrics.jsonl"
_MOST_POINTS = 2_000
_SUPPORT = "support/"
_NAMES = {
    "accuracy": "accuracy",
    "f1_weighted": "F1 (weighted)",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "Matthews correlation",
    "f1": "F1 (mean of classes)",
    "precision": "precision (mean of classes)",
    "recall": "recall (mean of classes)",
    "auc": "ROC area",
    "pr_auc": "precision-recall area",
    "rmse": "root mean square error",
    "mae": "mean absolute error",
    "spearman": "Spearman correlation",
    "pearson": "Pearson correlation",
    "r2": "explained variance R²",
    "jaccard": "Jaccard index",
}
_BASELINES = {
    "majority": "always the largest class",
    "mean": "always the mean",
    "composition": "amino-acid composition",
    "kmer": "nearest by k-mers",
    "window": "window of residues",
    "chance": "any class alike",
}


def is_finetuning(outdir: Path) -> bool:
    """Whether the folder holds the result of a fine-tuning or an evaluation."""
    metrics = read_mapping(outdir / METRICS_FILE)
    return bool(mapping(metrics, "target")) and "result" in metrics


def result_section(outdir: Path) -> Section | None:
    """Figures with their intervals beside the baselines; None where there is no such result."""
    if not is_finetuning(outdir):
        return None
    metrics = read_mapping(outdir / METRICS_FILE)
    parts: list[Part] = [*_results(metrics), *_data(metrics), *_calibration(metrics), *_cost(metrics)]
    parts = [part for part in parts if not isinstance(part, Table) or part.rows]
    reading = _READING_OF_GUESSES if "chance" in mapping(metrics, "baselines") else _READING
    return Section("result", "Result", parts, reading) if parts else None


def _results(metrics: Mapping[str, object]) -> list[Part]:
    """One row per figure; the means first, single classes in a table of their own."""
    columns = {"this model": mapping(metrics, "result")}
    baselines = mapping(metrics, "baselines")
    columns |= {_BASELINES.get(str(name), str(name)): mapping(baselines, str(name)) for name in baselines}
    if mapping(metrics, "validation"):
        columns["validation part"] = mapping(metrics, "validation")
    if mapping(metrics, "as_trained"):
        columns["as measured in training"] = mapping(metrics, "as_trained")
    classes = mapping(metrics, "target").get("classes")
    plain = names_of_all(mapping(metrics, "result"), classes if isinstance(classes, list) else [])
    tested = number(mapping(metrics, "parts"), "test")
    of = f" on {count(int(tested), 'test protein')}" if tested else ""
    note = "In brackets: 95 % of 1,000 results when the proteins are drawn anew, with replacement."
    return [_figures(f"Figures{of}", plain, columns, note), _per_class(columns["this model"], plain)]


def _per_class(result: Mapping[str, object], others: Sequence[str]) -> Table:
    """A row per class: how many there are of it, and its own figures; `others` are those of all classes together."""
    counts = {
        str(name).removeprefix(_SUPPORT): _value(result[name])
        for name in result
        if str(name).startswith(_SUPPORT)
    }
    total = sum(value for value in counts.values() if value is not None)
    own_names = [str(name) for name in result if name not in others and not str(name).startswith(_SUPPORT)]
    metrics = list(dict.fromkeys(name.partition("/")[0] for name in own_names))
    rows = []
    for name, met in counts.items():
        share = f"{met / total:.1%}" if met is not None and total else ""
        own = (figure(result.get(f"{metric}/{name}")) for metric in metrics)
        rows.append((name, "" if met is None else count(int(met)), share, *own))
    columns = ("class", "labels", "share", *(_NAMES.get(metric, metric).split(" (")[0] for metric in metrics))
    return Table("Each class", columns, rows, frozenset(range(1, len(columns))), wide=True)


def _figures(
    caption: str, names: Sequence[str], columns: Mapping[str, Mapping[str, object]], note: str
) -> Table:
    rows = []
    for name in names:
        shown = _NAMES.get(name, name.replace("_", " ").replace("/", " of ", 1))
        rows.append((shown, *(figure(column.get(name)) for column in columns.values())))
    wide = len(columns) > 1
    return Table(
        caption, ("figure", *columns), rows, frozenset(range(1, 1 + len(columns))), note if rows else "", wide
    )


def _data(metrics: Mapping[str, object]) -> list[Part]:
    """Sizes of the parts, and what the leak check found."""
    parts = mapping(metrics, "parts")
    rows = [(str(name), count(int(number(parts, str(name)) or 0))) for name in parts]
    if metrics.get("split"):
        rows.append(("split", str(metrics["split"])))
    leaks = number(metrics, "leaks")
    note = ""
    if leaks is not None:
        rows.append(("with a near-identical one in another part", count(int(leaks))))
        if leaks:
            note = (
                "Relatives on both sides of a split make a result look better than it is: split by cluster."
            )
    return [Table("Data", ("part", "proteins"), rows, frozenset({1}), note)]


def _value(entry: object) -> float | None:
    return number(entry, "value") if isinstance(entry, Mapping) else number({"value": entry}, "value")


def _calibration(metrics: Mapping[str, object]) -> list[Part]:
    found = mapping(metrics, "calibration")
    names = (
        ("ece_before", "calibration error before"),
        ("ece_after", "calibration error after"),
        ("ece_here", "calibration error on these proteins"),
        ("interval", "nine of ten values within ±"),
    )
    rows = [(text, f"{value:.4g}") for key, text in names if (value := number(found, key)) is not None]
    heat = found.get("temperature")
    if isinstance(heat, list) and heat:
        rows.append(("temperatures", f"{min(heat):.3g} to {max(heat):.3g}"))
    elif isinstance(heat, int | float):
        rows.append(("temperature", f"{heat:.3g}"))
    note = "Fitted on the validation part." if rows else ""
    return [Table("Calibration", ("", "value"), rows, frozenset({1}), note)]


def _cost(metrics: Mapping[str, object]) -> list[Part]:
    cost = mapping(metrics, "cost")
    rows = []
    if cost.get("means"):
        rows.append(("means", str(cost["means"])))
    trained, parameters = number(cost, "trainable_parameters"), number(cost, "parameters")
    if trained is not None:
        share = f" of {count(int(parameters))} ({trained / parameters:.2%})" if parameters else ""
        rows.append(("trained parameters", count(int(trained)) + share))
    seconds, tokens = number(cost, "seconds"), number(cost, "tokens")
    if seconds is not None:
        rows.append(("time", duration(seconds)))
    if tokens is not None:
        speed = f" ({tokens / seconds:,.0f} per second)" if seconds else ""
        rows.append(("tokens", count(int(tokens)) + speed))
    peak, predicted = number(cost, "peak_bytes"), number(cost, "predicted_bytes")
    if peak is not None:
        rows.append(("peak memory", memory(peak)))
    if predicted is not None:
        off = f" ({predicted / peak - 1:+.0%})" if peak else ""
        rows.append(("predicted peak", memory(predicted) + off))
    return [Table("Cost of the training", ("", "value"), rows)]


def curves_section(outdir: Path) -> Section | None:
    """Learning curves of a fine-tuning from metrics.jsonl: the loss, and each figure of the validation part."""
    series: dict[str, Thinned[tuple[float, float]]] = {}
    for entry in read_lines(outdir / LOG_FILE):
        step = None if entry is None else number(entry, "step")
        if entry is None or step is None:
            continue
        for key in map(str, entry):
            value = number(entry, key)
            if key not in _NOT_DRAWN and value is not None:
                series.setdefault(key, Thinned(_MOST_POINTS)).add((step, value))
    groups: dict[str, list[tuple[str, str]]] = {}
    for key in series:
        base = key.removeprefix("held_out_")
        groups.setdefault(base, []).append(("training" if base == key else "validation", key))
    parts: list[Part] = []
    for base in sorted(groups, key=lambda name: (name != "loss", name == "learning_rate", name)):
        curves = [
            Curve(label, [step for step, _ in series[key].items], [value for _, value in series[key].items])
            for label, key in sorted(groups[base])
            if len(series[key].items) > 1
        ]
        if curves:
            name = base.replace("_", " ")
            caption = f"{name[0].upper()}{name[1:]} over the optimiser's steps."
            svg = as_svg(
                learning_curves(curves, name), f"curve-{base.replace('_', '-')}", f"Line chart: {caption}"
            )
            parts.append(Illustration(svg, caption))
    return Section("training", "Learning curves", parts, _CURVES_READING) if parts else None


_NOT_DRAWN = (
    "step",
    "tokens",
    "tokens_per_second",
    "seconds",
    "gradient_norm",
    "targets",
    "held_out_perplexity",
    "perplexity",
)

_READING = (
    (
        "Baselines",
        "The largest class, a logistic regression on the amino-acid composition and the nearest training sequence by "
        "k-mers, on the same split. Where the model is not clearly above them, it has learned composition or kinship.",
    ),
    (
        "Intervals",
        "They tell how much the figure would change with other test proteins of the same kind, not with another "
        "training. Two intervals that overlap are no proof of a difference.",
    ),
)
_READING_OF_GUESSES = (
    (
        "Baselines",
        "Two guesses that look at no protein: always the class that most of these proteins have, and any class with "
        "equal probability. Texts that do not beat them describe nothing that the model sees.",
    ),
    *_READING[1:],
)
_CURVES_READING = (
    (
        "Learning curves",
        "When the validation loss turns up while the training loss still falls, the model learns its training set by "
        "heart; the best step is the one that was kept. Near the end a flat curve means that more steps bring nothing.",
    ),
)
