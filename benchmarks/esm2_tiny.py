"""What the bundled model knows, beside what counting knows: the figures of its model card.

    python -m benchmarks.esm2_tiny --data ../shared/data
    python -m benchmarks.esm2_tiny --rows perplexity --model OUTDIR/model

The recipe gives the split, so the hold-out is the one that the model never saw.
"""

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import esm2_tiny_kin
from chaperonin.config import resolve
from chaperonin.data.batching import make_batch
from chaperonin.data.clusters import clusters, crossing
from chaperonin.data.stream import Sequences
from chaperonin.inference.embed import represent
from chaperonin.inference.evaluate import spearman
from chaperonin.inference.load import BUNDLED, load
from chaperonin.inference.score import ScoreSettings, score
from chaperonin.models.esm import ESM
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES
from chaperonin.protein.substitution import blosum62_score
from chaperonin.protein.variant import parse_variant
from chaperonin.tasks.masked_language import CHOSEN
from chaperonin.training.pretrain import Corpus, Pretraining, read_corpus

Figures = dict[str, float]
_LONGEST = 1022
_TOKENS = 8192
_STANDARD = ESM_ALPHABET.indices(STANDARD_RESIDUES)
_BOUNDARY = len(STANDARD_RESIDUES)
"""Number of what stands beyond the ends, and of unusual residues, for the counts."""


class Setting:
    """Model and data, read when a row first needs them."""

    def __init__(self, data: Path, model: str, config: Path, protocols: list[str]) -> None:
        self.data = data
        self.protocols = protocols
        self.settings = resolve(
            Pretraining, file=config, options={"data.input": str(data / "sequences" / "*.fasta.gz")}
        )
        self.model: ESM = load(model, precision="fp32")

    @cached_property
    def corpus(self) -> Corpus:
        """The sequences, split as for the training."""
        return read_corpus(self.settings)


def perplexity(setting: Setting) -> Figures:
    """Held-out residues, 15 % of them masked; how many choices each way of telling them amounts to.

    Counting takes the training sequences, with one added to each count. Its neighbours are the true ones, also where
    the model sees `<mask>`.
    """
    sequences, parts = setting.corpus.sequences, setting.corpus.parts
    letters = np.full(256, _BOUNDARY)
    letters[_STANDARD] = np.arange(_BOUNDARY)
    single, triple = _counts(sequences.choose(parts.training), letters)
    losses: dict[str, list[NDArray[np.float64]]] = {"model": [], "unigram": [], "bigram": []}
    for number in parts.holdout:
        residues = sequences[int(number)][:_LONGEST]
        generator = np.random.default_rng([setting.settings.training.seed, int(number)])
        own = letters[residues]
        chosen = np.flatnonzero((generator.random(len(residues)) < CHOSEN) & (own < _BOUNDARY))
        if not len(chosen):
            continue
        framed = np.concatenate(([_BOUNDARY], own, [_BOUNDARY]))
        left, truth, right = framed[chosen], own[chosen], framed[chosen + 2]
        beside = triple[left, :, right]
        losses["model"].append(_model_losses(setting.model, residues, chosen))
        losses["unigram"].append(-np.log(single[truth] / single.sum()))
        losses["bigram"].append(-np.log(beside[np.arange(len(truth)), truth] / beside.sum(axis=1)))
    count = sum(map(len, losses["model"]))
    means = {name: float(np.concatenate(parts).mean()) for name, parts in losses.items()}
    return {
        "held-out sequences": len(losses["model"]),
        "masked residues": count,
        **{f"perplexity, {name}": float(np.exp(mean)) for name, mean in means.items()},
    }


def _counts(
    sequences: Sequences, letters: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts of residues, and of residues between two neighbours `[left, residue, right]`, one added to each."""
    size = _BOUNDARY + 1
    # A boundary before each sequence and after the last: what ends one begins the next.
    stream = np.insert(letters[sequences.residues], sequences.offsets, _BOUNDARY)
    triples = (stream[:-2] * size + stream[1:-1]) * size + stream[2:]
    triple = (
        np.bincount(triples, minlength=size**3).reshape(size, size, size)[:, :_BOUNDARY].astype(float) + 1
    )
    single = np.bincount(stream, minlength=size)[:_BOUNDARY].astype(float) + 1
    return single, triple


def _model_losses(model: ESM, residues: NDArray[np.uint8], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    tokens = np.concatenate(([ESM_ALPHABET.cls], residues, [ESM_ALPHABET.eos])).astype(np.int64)
    truth = tokens[chosen + 1]
    tokens[chosen + 1] = ESM_ALPHABET.mask
    batch = make_batch([tokens])
    with torch.inference_mode():
        logits = model.lm_head(model(batch.tokens, batch.segments)[chosen + 1]).double()
        # Only residues can stand there, for the model as for the counts.
        table = logits[:, _STANDARD].logsumexp(dim=1) - logits[np.arange(len(truth)), truth]
    return np.asarray(table)


def splits(setting: Setting) -> Figures:
    """What the hold-out shares with training, and what a random one of the same size would have shared."""
    sequences, parts = setting.corpus.sequences, setting.corpus.parts
    labels = clusters(sequences)
    generator = np.random.default_rng(setting.settings.training.seed)
    random = generator.choice(len(sequences), len(parts.holdout), replace=False)
    figures: Figures = {
        "sequences": len(sequences),
        "clusters": int(labels.max()) + 1,
        "largest cluster": int(np.bincount(labels).max()),
        "held out": len(parts.holdout),
        "with kin in training": crossing(labels, parts.holdout),
        "with kin in training, random split": crossing(labels, random),
    }
    for name, holdout in (("", parts.holdout), (", random split", random)):
        short = holdout[sequences.lengths[holdout] <= _LONGEST]
        sample = generator.choice(short, esm2_tiny_kin.SAMPLE, replace=False)
        training = np.setdiff1d(np.arange(len(sequences)), holdout)
        for least, count in esm2_tiny_kin.with_kin(sequences, training, sample).items():
            figures[f"of {len(sample)}, nearest ≥ {least:.0%} alike{name}"] = count
    return figures


def variants(setting: Setting) -> Figures:
    """Mean Spearman correlation with measured effects over the assays of single substitutions."""
    files = sorted((setting.data / "dms" / "substitutions_singles").glob("*.csv.gz"))
    found: dict[str, list[float]] = {}
    for number, file in enumerate(files, start=1):
        with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        measured = np.array([float(row["DMS_score"]) for row in rows])
        predicted = {"BLOSUM62": [float(blosum62_score(parse_variant(row["mutant"]))) for row in rows]}
        for protocol in setting.protocols:
            settings = resolve(ScoreSettings, options={"protocol": protocol, "precision": "fp32"})
            scores = {row["mutant"]: float(row["score"]) for row in score(setting.model, file, settings).rows}
            predicted[f"model, {protocol}"] = [scores[row["mutant"]] for row in rows]
        for name, values in predicted.items():
            found.setdefault(name, []).append(spearman(measured, np.array(values)))
        last = "  ".join(f"{name} {values[-1]:6.3f}" for name, values in found.items())
        print(f"{number:>3}/{len(files)} {file.name:<48} {last}", file=sys.stderr)
    means = {f"mean Spearman, {name}": float(np.mean(values)) for name, values in found.items()}
    return {"assays": len(files), **means}


def membrane(setting: Setting) -> Figures:
    """Membrane or soluble: logistic regression on mean embeddings, every homology fold predicted from the others."""
    with gzip.open(setting.data / "localization" / "deeploc1_train.tsv.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["membrane"] in ("M", "S")]
    labels = np.array([row["membrane"] == "M" for row in rows])
    folds = np.array([int(row["fold"]) for row in rows])
    texts = [row["sequence"] for row in rows]
    embedded = np.stack([own.mean(axis=0) for own in represent(setting.model, texts, _TOKENS)])
    composition = np.array(
        [[text.count(residue) / len(text) for residue in STANDARD_RESIDUES] for text in texts]
    )
    return {
        "proteins": len(rows),
        "accuracy, model": probe(embedded, labels, folds),
        "accuracy, composition": probe(composition, labels, folds),
        "accuracy, always the larger class": float(max(labels.mean(), 1 - labels.mean())),
    }


def probe(vectors: NDArray[np.floating], labels: NDArray[np.bool_], folds: NDArray[np.int64]) -> float:
    """Accuracy of logistic regression, every fold predicted from the others."""
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    predicted = cross_val_predict(regression, vectors, labels, groups=folds, cv=LeaveOneGroupOut())
    return float((predicted == labels).mean())


ROWS: dict[str, Callable[[Setting], Figures]] = {
    "perplexity": perplexity,
    "splits": splits,
    "variants": variants,
    "membrane": membrane,
}


def main(arguments: list[str]) -> int:
    """Measure and print; `--json` writes the figures too."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default=BUNDLED)
    parser.add_argument("--config", type=Path, default=Path("configs/esm2-tiny.yaml"))
    parser.add_argument("--rows", default=",".join(ROWS), help="some of: %(default)s")
    parser.add_argument(
        "--protocols",
        default="wt-marginal",
        help="of the variant scores: %(default)s, or masked-marginal, with one pass a position",
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    setting = Setting(options.data, options.model, options.config, options.protocols.split(","))
    figures: dict[str, Figures] = {}
    for name in options.rows.split(","):
        figures[name] = ROWS[name](setting)
        for what, value in figures[name].items():
            print(
                f"{name:<12} {what:<44} {value:>12,.4f}"
                if value % 1
                else f"{name:<12} {what:<44} {value:>12,.0f}"
            )
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
