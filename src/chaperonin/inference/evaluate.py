"""How well scores rank measured variants: ProteinGym's five metrics and its way to average them over assays.

Notin et al. 2023 (NeurIPS 36), ProteinGym v1.3. The published summary tables follow to the last printed digit
from the published per-assay tables; the bootstrap errors, which were drawn without a seed, to within 0.001.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import matthews_corrcoef, roc_auc_score

Values = NDArray[np.float64]
Key = TypeVar("Key", str, tuple[str, str])

METRICS = ("Spearman", "NDCG", "AUC", "MCC", "Top_recall")
"""Names and order as in ProteinGym's tables."""

DEPTHS = ("1", "2", "3", "4", "5+")
"""Groups by number of substitutions."""

PRINTED_DIGITS = 3
"""Per-assay metrics are rounded to this before they are averaged, and averages again when printed."""

_TAXA = {
    "Human": "Taxa_Human",
    "Eukaryote": "Taxa_Other_Eukaryote",
    "Prokaryote": "Taxa_Prokaryote",
    "Virus": "Taxa_Virus",
}
_MSA_DEPTHS = {"Low": "Low_MSA_depth", "Medium": "Medium_MSA_depth", "High": "High_MSA_depth"}


def assay_metrics(
    measured: Values, predicted: Values, binary: NDArray[np.int64] | None = None, cutoff: float | None = None
) -> dict[str, float]:
    """All metrics of one assay; higher is better in both vectors. What cannot be computed is NaN.

    `binary` is 1 for variants that work (without it AUC and MCC are NaN; with one class only, AUC is NaN and
    MCC 0); `cutoff` divides the predictions for MCC, their median by default.
    """
    auc = mcc = math.nan
    if binary is not None and len(binary):
        mcc = 0.0
        cutoff = float(np.median(predicted)) if cutoff is None else cutoff
        if len(np.unique(binary)) == 2:
            mcc = float(matthews_corrcoef(binary, predicted >= cutoff))
            auc = float(roc_auc_score(binary, predicted))
    return {
        "Spearman": spearman(measured, predicted),
        "NDCG": ndcg(measured, predicted),
        "AUC": auc,
        "MCC": mcc,
        "Top_recall": top_recall(measured, predicted),
    }


def spearman(measured: Values, predicted: Values) -> float:
    """Rank correlation; NaN where one side is constant."""
    if len(measured) < 2 or np.ptp(measured) == 0 or np.ptp(predicted) == 0:
        return math.nan
    return float(spearmanr(measured, predicted).statistic)


def ndcg(measured: Values, predicted: Values, top_percent: float = 10) -> float:
    """Normalised discounted cumulative gain of the best-predicted `top_percent`.

    Gains are the measured values scaled to 0..1. Equal predictions keep the order of the file. Fewer than ten
    variants have no top tenth and give 0.
    """
    if not len(measured) or np.ptp(measured) == 0:
        return math.nan
    count = int(len(measured) * (top_percent / 100))
    gains = (measured - measured.min()) / np.ptp(measured)
    if count == 0:
        return 0.0
    discounts = 1 / np.log2(np.arange(count) + 2)
    found = gains[np.argsort(-predicted, kind="stable")[:count]]
    ideal = np.sort(gains)[::-1][:count]
    return float((found * discounts).sum() / (ideal * discounts).sum())


def top_recall(measured: Values, predicted: Values, top_percent: float = 10) -> float:
    """Share of the measured top that lies in the predicted top."""
    if not len(measured):
        return math.nan
    best = measured >= np.percentile(measured, 100 - top_percent)
    chosen = predicted >= np.percentile(predicted, 100 - top_percent)
    return float((best & chosen).sum() / best.sum())


def metrics_by_depth(
    measured: Values, predicted: Values, binary: NDArray[np.int64] | None, depths: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """Metrics of the variants with 1, 2, 3, 4 and 5 or more substitutions.

    Predictions are divided for MCC at the median of the whole assay.
    """
    cutoff = float(np.median(predicted))
    groups = {}
    for name in DEPTHS:
        chosen = depths >= 5 if name == "5+" else depths == int(name)
        if chosen.any():
            some = None if binary is None else binary[chosen]
            groups[name] = assay_metrics(measured[chosen], predicted[chosen], some, cutoff)
    return groups


@dataclass(frozen=True)
class AssayTable:
    """One metric of several models on several assays, and what the assays are."""

    models: Sequence[str]
    values: Values
    """[assays, models]; NaN where a model has no score."""
    uniprot: Sequence[str]
    """Protein of each assay."""
    selection: Sequence[str]
    """Activity, Binding, Expression, OrganismalFitness or Stability."""
    msa_depth: Sequence[str]
    """Low, Medium or High."""
    taxon: Sequence[str]
    """Human, Eukaryote, Prokaryote or Virus."""
    by_depth: Mapping[str, Values] = field(default_factory=dict)
    """The same table for each group of `DEPTHS`, where it is known."""

    def rounded(self) -> Values:
        """Values as ProteinGym averages them."""
        return np.round(self.values, PRINTED_DIGITS)


def summarise(
    table: AssayTable,
    metric: str = "Spearman",
    draws: int = 10_000,
    seed: int = 0,
    lower_is_better: bool = False,
) -> list[dict]:
    """ProteinGym's summary: one row per model, best first, in the columns of its published table.

    The average is over selection types, each the mean of its proteins, each the mean of its assays. The error
    is that of the difference to the best model, from `draws` resamples of the proteins within each type.
    """
    proteins, by_protein = _means(zip(table.uniprot, table.selection, strict=True), table.rounded())
    types = [selection for _, selection in proteins]
    functions, by_function = _means(types, by_protein)
    average = _mean(by_function)
    merit = np.nan_to_num(-average if lower_is_better else average, nan=-np.inf)
    best = int(np.argmax(merit))
    columns = {
        f"Average_{metric}": average,
        f"Bootstrap_standard_error_{metric}": bootstrap_standard_error(
            by_protein - by_protein[:, [best]], types, draws, seed
        ),
        **{f"Function_{name}": row for name, row in zip(functions, by_function, strict=True)},
        **_by_group(table, table.msa_depth, _MSA_DEPTHS),
        **_by_group(table, table.taxon, _TAXA),
    }
    for name, values in table.by_depth.items():
        # Differs from the other columns: ProteinGym averages depths over proteins, not over selection types.
        _, means = _means(zip(table.uniprot, table.selection, strict=True), np.round(values, PRINTED_DIGITS))
        columns[f"Depth_{name}"] = _mean(means)
    order = np.argsort(-merit, kind="stable")
    return [
        {"Model_rank": rank, "Model_name": table.models[number]}
        | {name: float(np.round(values[number], PRINTED_DIGITS)) for name, values in columns.items()}
        for rank, number in enumerate(order, start=1)
    ]


def uniprot_level(table: AssayTable) -> list[dict]:
    """ProteinGym's table per protein, its last row the average.

    As published, a protein appears once for each of its assays, so the average weighs it by their number.
    """
    proteins, means = _means(table.uniprot, table.rounded())
    described: list[dict] = []
    rows = []
    for protein, values in zip(proteins, means, strict=True):
        assays = [number for number, name in enumerate(table.uniprot) if name == protein]
        for depth in dict.fromkeys(table.msa_depth[number] for number in assays):
            for taxon in dict.fromkeys(table.taxon[number] for number in assays):
                for number in assays:
                    rows.append(values)
                    described.append(
                        {
                            "Selection Type": table.selection[number],
                            "UniProt_ID": protein,
                            "MSA_Neff_L_category": depth,
                            "Taxon": taxon,
                        }
                    )
    rows.append(_mean(np.array(rows)))
    described.append(dict.fromkeys(("Selection Type", "UniProt_ID", "MSA_Neff_L_category", "Taxon"), ""))
    return [
        dict(zip(table.models, np.round(values, PRINTED_DIGITS).tolist(), strict=True)) | about
        for values, about in zip(rows, described, strict=True)
    ]


def bootstrap_standard_error(
    values: Values, types: Sequence[str], draws: int = 10_000, seed: int = 0
) -> Values:
    """Standard error of the mean over types of the mean over proteins, for each column.

    Rows of `values` are proteins, columns models; proteins are resampled with replacement within their type.
    """
    generator = np.random.default_rng(seed)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    total = np.zeros((draws, values.shape[1]))
    groups = sorted(set(types))
    for name in groups:
        members = [number for number, member in enumerate(types) if member == name]
        counts = generator.multinomial(len(members), [1 / len(members)] * len(members), size=draws)
        weights = counts @ known[members]
        # A resample without any known value has no mean and is left out of this model's error.
        weights = np.where(weights == 0, np.nan, weights)
        total += counts @ filled[members] / weights
    return _standard_deviation(total / len(groups))


def _standard_deviation(samples: Values) -> Values:
    deviations = np.full(samples.shape[1], np.nan)
    for column in range(samples.shape[1]):
        known = samples[:, column][~np.isnan(samples[:, column])]
        if len(known) > 1:
            deviations[column] = known.std(ddof=1)
    return deviations


def _by_group(table: AssayTable, groups: Sequence[str], names: Mapping[str, str]) -> dict[str, Values]:
    """Mean over the proteins of each group that occurs, under ProteinGym's name for it."""
    keys, by_protein = _means(zip(table.uniprot, groups, strict=True), table.rounded())
    found, means = _means([group for _, group in keys], by_protein)
    rows = dict(zip(found, means, strict=True))
    return {column: rows[name] for name, column in names.items() if name in rows}


def _means(keys: Iterable[Key], values: Values) -> tuple[list[Key], Values]:
    """Mean of the rows with equal key, in the order of sorted keys."""
    members: dict[Key, list[Values]] = {}
    for key, row in zip(keys, values, strict=True):
        members.setdefault(key, []).append(row)
    order = sorted(members)
    return order, np.array([_mean(np.array(members[key])) for key in order])


def _mean(rows: Values) -> Values:
    """Mean of each column without its NaNs.

    Means of rounded values often tie at the next rounding. They fall as published because the sum is the one
    the tables were made with: in order, with Kahan's compensation.
    """
    known = ~np.isnan(rows)
    total = compensation = np.zeros(rows.shape[1])
    for row, valid in zip(rows, known, strict=True):
        term = np.where(valid, row, 0.0) - compensation
        compensation = np.where(valid, ((total + term) - total) - term, compensation)
        total = np.where(valid, total + term, total)
    counts = known.sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
