"""How good classes that are described in words are on labelled proteins: figures beside those of guessing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.labelled import Dataset, Example
from chaperonin.data.prompts import Prompt
from chaperonin.data.sources import Rejected
from chaperonin.errors import InputError
from chaperonin.inference.assess import (
    LABELS,
    EvaluateSettings,
    LabelledJob,
    labelled,
    outcomes,
    write_metrics,
)
from chaperonin.inference.jobs import Job, JobRecord, Outcome
from chaperonin.inference.predict import FILE, write_rows
from chaperonin.inference.protst import Loaded
from chaperonin.inference.zero_shot import (
    ZeroShotSettings,
    classes_of,
    compute,
    prompts_of,
    result_bytes,
    stored_prediction,
    with_digest,
)
from chaperonin.layers.language import LanguageModel
from chaperonin.tasks.figures import figures
from chaperonin.tasks.labels import number_in, shown
from chaperonin.tasks.target import Target

_MOST_SHOWN = 12


@dataclass(frozen=True)
class ZeroShotEvaluation(ZeroShotSettings, EvaluateSettings):
    """What `evaluate --prompts` reads and computes."""


def evaluate_zero_shot_job(
    model: Loaded, source: Path, outdir: Path, settings: ZeroShotEvaluation, overwrite: bool = False
) -> Outcome:
    """Evaluate prompts into OUTDIR: metrics.json and predictions.csv with the truth; resumes after a kill."""
    classes = classes_of(model, prompts_of(settings), settings.compat)
    target = classes.target

    def write(job: Job, outdir: Path, tower: LanguageModel) -> list[Path]:
        prediction = partial(stored_prediction, classes, job)

        def shares(record: JobRecord) -> NDArray[Any]:
            return np.array(list(prediction(record).probabilities.values()))

        truth, said = outcomes(job, target, shares)
        judged = {
            "target": target.as_json(),
            "parts": {"test": len(truth)},
            "result": figures(target, truth, said, settings.draws),
            "baselines": guesses(target, truth, settings.draws),
        }
        return [
            write_rows(job, outdir / FILE, target, prediction, LABELS),
            write_metrics(outdir, judged),
        ]

    return LabelledJob(
        "evaluate",
        with_digest(settings, model),
        partial(compute, model),
        write,
        partial(result_bytes, model),
        target=target,
        read=partial(labelled_in_words, settings),
    ).run(model.tower, source, outdir, overwrite)


def labelled_in_words(settings: ZeroShotEvaluation, source: Path) -> Dataset:
    """The examples of the stage, labelled as their prompts are."""
    return named(labelled(settings, source), prompts_of(settings), str(source))


def named(dataset: Dataset, prompts: Sequence[Prompt], where: str) -> Dataset:
    """The examples with the labels of the prompts that theirs name; one whose label names none is rejected.

    A table names prompts by their labels or by their ids, in whichever way more of its records do: not in both, as
    one number may be the label of one prompt and the id of another. InputError where no record names a prompt.
    """
    labels = [one.label for one in dataset.examples]
    names = _names(prompts, labels)
    examples, rejected = [], list(dataset.rejected)
    for one in dataset.examples:
        if (key := _key(one.label)) in names:
            examples.append(replace(one, label=names[key]))
        else:
            rejected.append(Rejected(one.number, one.id, one.where, _nameless(one, names)))
    if not examples:
        raise InputError(
            f"no label names a prompt; the labels are {_listed(labels)}",
            where=where,
            advice=f"The prompts are {_listed(prompt.label for prompt in prompts)}. "
            "Give each the name that the table has for it, in a column label or id.",
        )
    return replace(dataset, examples=examples, rejected=rejected)


def guesses(target: Target, truth: Sequence[NDArray[Any]], draws: int) -> dict[str, dict[str, Any]]:
    """Figures of the two guesses that look at no protein: always the largest class of these, and any class alike."""
    if not truth:
        return {}
    count = len(target.classes)
    shares = np.bincount(np.stack(truth), minlength=count) / len(truth)
    even = {"accuracy": 1 / count, "balanced_accuracy": 1 / count, "mcc": 0.0}
    return {
        "majority": figures(target, truth, [shares] * len(truth), draws),
        "chance": {name: {"value": value} for name, value in even.items()},
    }


def _names(prompts: Sequence[Prompt], labels: Sequence[str]) -> Mapping[str, str]:
    """What a table may call each prompt → the prompt's label."""
    own = [prompt.label for prompt in prompts]
    ways = [dict(zip(map(_key, said), own, strict=True)) for said in (own, [one.id for one in prompts])]
    clear = [way for way in ways if len(way) == len(prompts) and "" not in way]
    return max(clear, key=lambda way: sum(_key(label) in way for label in labels), default={})


def _key(name: str) -> str:
    """The name, a whole number without what a column of decimals puts behind it: `3` for `3.0`."""
    value = number_in(name)
    return name if value is None or value % 1 else str(int(value))


def _nameless(example: Example, names: Iterable[str]) -> InputError:
    return InputError(
        f"the label {shown(example.label)} names no prompt",
        where=example.where,
        advice=f"The names are {_listed(names)}.",
    )


def _listed(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - _MOST_SHOWN
    return ", ".join(map(shown, distinct[:_MOST_SHOWN])) + (f" and {more:,} more" if more > 0 else "")
