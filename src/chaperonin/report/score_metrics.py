"""Tables from metrics.json: our figures with the baselines beside them, and one row for each assay."""

from collections.abc import Iterator, Mapping, Sequence

from chaperonin.report.blocks import Table
from chaperonin.report.wording import count, measure

_MOST_ROWS = 300
_BASELINES = "baselines"
_TITLES = {"spearman": "Spearman", "ndcg": "NDCG", "auc": "AUC", "mcc": "MCC"}
_NAMES = ("Model_name", "target", "assay", "DMS_id", "id", "name")


def metric_tables(metrics: Mapping[str, object]) -> list[Table]:
    """Lenient: numbers are this model's figures, a mapping is a further column, a nested one a table.

    `{"spearman": 0.4, "baselines": {"BLOSUM62": {"spearman": 0.3}}, "assays": {"NAME": {"spearman": 0.4}}}`
    gives one table of metrics by model and one of assays by metric.
    """
    own = {key: value for key, value in metrics.items() if _is_number(value)}
    models: dict[str, Mapping[str, object]] = {"this model": own} if own else {}
    tables = []
    for key, value in metrics.items():
        if key == _BASELINES and isinstance(value, Mapping):
            for name, figures in value.items():
                models[str(name)] = figures if isinstance(figures, Mapping) else {"spearman": figures}
        elif isinstance(value, Mapping) and value and all(_is_number(figure) for figure in value.values()):
            models[str(key)] = value
        else:
            tables += [_by_row(title, rows) for title, rows in _row_groups(str(key), value)]
    if own:  # of one row they are the averages
        tables = [table for table in tables if len(table.rows) > 1]
    if models:
        tables.insert(0, _by_model(models))
    return tables


def spearman(metrics: Mapping[str, object], target: str, only_target: bool) -> float | None:
    """Spearman's correlation of one target: its own row, or the file's figure when there is one target."""
    for value in metrics.values():
        for name, figures in _named_rows(value):
            found = _spearman_in(figures) if name == target else None
            if found is not None:
                return found
    if not only_target:
        return None
    found = _spearman_in(metrics)
    if found is None:
        groups = [value for key, value in metrics.items() if isinstance(value, Mapping) and key != _BASELINES]
        found = next((rho for rho in map(_spearman_in, groups) if rho is not None), None)
    return found


def only_assay(metrics: Mapping[str, object]) -> str:
    """Name of the assay when the file is about one, otherwise empty."""
    names = [name for name, _ in _named_rows(metrics.get("assays"))]
    return names[0] if len(names) == 1 else ""


def _spearman_in(figures: Mapping[str, object]) -> float | None:
    for key, value in figures.items():
        if str(key).casefold() in ("spearman", "spearmanr", "rho") and isinstance(value, int | float):
            return float(value)
    return None


def _row_groups(key: str, value: object) -> Iterator[tuple[str, dict[str, Mapping[str, object]]]]:
    """Tables in a value: its own rows, or those of each list in it."""
    rows = dict(_named_rows(value))
    if rows:
        yield key, rows
    if isinstance(value, Mapping):
        for inner, entries in value.items():
            inner_rows = dict(_named_rows(entries)) if isinstance(entries, list) else {}
            if inner_rows:
                yield f"{key}: {inner}", inner_rows


def _named_rows(value: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Rows of a mapping of mappings, or of a list of mappings that carry a name."""
    if isinstance(value, Mapping):
        for name, figures in value.items():
            if isinstance(figures, Mapping):
                yield str(name), dict(_flat(figures))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, figures in enumerate(value, start=1):
            if isinstance(figures, Mapping):
                key = next((key for key in _NAMES if key in figures), None)
                name = str(figures[key]) if key else str(number)
                yield name, dict(_flat({k: v for k, v in figures.items() if k != key}))


def _flat(figures: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key} ")
        elif not isinstance(value, list):
            yield f"{before}{key}", value


def _by_model(models: Mapping[str, Mapping[str, object]]) -> Table:
    names = list(dict.fromkeys(str(key) for figures in models.values() for key in figures))
    rows = [(_title(name), *(_figure(figures.get(name)) for figures in models.values())) for name in names]
    return Table(
        "Metrics", ("metric", *models), rows, frozenset(range(1, len(models) + 1)), wide=len(models) > 3
    )


def _by_row(title: str, rows: Mapping[str, Mapping[str, object]]) -> Table:
    columns = list(dict.fromkeys(key for figures in rows.values() for key in figures))
    shown = [
        (name, *(_figure(figures.get(column)) for column in columns))
        for name, figures in list(rows.items())[:_MOST_ROWS]
    ]
    rest = len(rows) - len(shown)
    note = f"{count(rest, 'further row')} in metrics.json." if rest else ""
    numeric = frozenset(
        number
        for number, column in enumerate(columns, start=1)
        if all(figures.get(column) is None or _is_number(figures[column]) for figures in rows.values())
    )
    caption = title.replace("_", " ")
    caption = caption[:1].upper() + caption[1:]
    return Table(caption, ("name", *map(_title, columns)), shown, numeric, note, wide=len(columns) > 3)


def _title(key: str) -> str:
    return _TITLES.get(key.casefold(), key.replace("_", " "))


def _figure(value: object) -> str:
    """Metrics have three decimals, as ProteinGym prints them."""
    return f"{value:.3f}" if isinstance(value, float) else measure(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
