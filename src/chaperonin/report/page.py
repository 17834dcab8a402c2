"""One self-contained HTML page about a finished job."""

import os
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chaperonin.errors import InputError
from chaperonin.report import contact_section, embedding_section
from chaperonin.report.benchmark_section import benchmark_section, is_benchmark
from chaperonin.report.blocks import Illustration, Section, Table, Terms
from chaperonin.report.comparison_section import comparison_section
from chaperonin.report.figures import length_histogram
from chaperonin.report.files import read_mapping
from chaperonin.report.finetune_section import curves_section, is_finetuning, result_section
from chaperonin.report.fold_section import fold_section
from chaperonin.report.prediction_section import prediction_section
from chaperonin.report.provenance import RUN_FILE, failures_section, provenance_section, summary
from chaperonin.report.score_section import score_section
from chaperonin.report.search_section import search_section
from chaperonin.report.structure_view import script_policy, viewer_scripts
from chaperonin.report.style import as_svg
from chaperonin.report.training_section import training_section
from chaperonin.report.wording import count, mapping, moment, number

PAGE = "report.html"

_TITLES = {
    "embed": "Embeddings",
    "score": "Variant effects",
    "contacts": "Contact maps",
    "fold": "Structures",
    "predict": "Predictions",
    "search": "Proteins and texts",
    "evaluate": "Evaluation",
    "train": "Training",
}


def write_report(outdir: Path) -> Path:
    """Read what a finished job left in `outdir` and write `report.html` there: complete or not at all.

    A part whose file is missing is left out. Raises InputError where there is no such folder or
    run.json is damaged.
    """
    if not outdir.is_dir():
        raise InputError(
            "no such folder", where=str(outdir), advice="Give the output folder of a finished job."
        )
    run = read_mapping(outdir / RUN_FILE)
    failures, listed = failures_section(outdir)
    failed = max(listed, int(number(mapping(run, "records"), "failed") or 0))
    results = [section for section in [*_results(outdir), failures] if section is not None]
    explanations = [entry for section in results for entry in section.reading]
    sections = [*results, _reading_section(explanations), provenance_section(run)]
    text = _render(run, [section for section in sections if section is not None], failed)
    page = outdir / PAGE
    unfinished = page.with_name(PAGE + ".part")
    unfinished.write_text(text, encoding="utf-8", errors="replace")
    os.replace(unfinished, page)
    return page


def _results(outdir: Path) -> list[Section | None]:
    scores, read = score_section(outdir)
    lengths = [np.array(list(read.lengths.values()), dtype=np.int64)]
    if (outdir / embedding_section.FILE).is_file():
        lengths.append(embedding_section.read_lengths(outdir))
    lengths.append(contact_section.read_lengths(outdir))
    return [
        embedding_section.embedding_section(outdir),
        None if is_finetuning(outdir) else scores,
        contact_section.contact_section(outdir),
        None if is_benchmark(outdir) else fold_section(outdir),
        benchmark_section(outdir),
        comparison_section(outdir),
        result_section(outdir),
        prediction_section(outdir),
        search_section(outdir),
        curves_section(outdir) if is_finetuning(outdir) else training_section(outdir),
        _length_section(np.concatenate(lengths)),
    ]


def _length_section(lengths: np.ndarray) -> Section | None:
    """None for fewer than two sequences."""
    if len(lengths) < 2:
        return None
    caption = f"Lengths of {count(len(lengths), 'sequence')}."
    svg = as_svg(length_histogram(lengths), "lengths", f"Histogram: {caption}")
    shares = (
        ("shortest", 0),
        ("5 % are shorter", 0.05),
        ("median", 0.5),
        ("95 % are shorter", 0.95),
        ("longest", 1),
    )
    rows = [(name, count(round(float(np.quantile(lengths, share))))) for name, share in shares]
    rows += [("mean", count(round(float(lengths.mean())))), ("all together", count(int(lengths.sum())))]
    table = Table("Residues per sequence", ("statistic", "residues"), rows, frozenset({1}))
    return Section("lengths", "Lengths", [Illustration(svg, caption), table])


def _reading_section(explanations: Sequence[tuple[str, str]]) -> Section | None:
    if not explanations:
        return None
    return Section("reading", "How to read this", [Terms(explanations, prose=True)])


def _render(run: Mapping[str, object], sections: list[Section], failed: int) -> str:
    environment = Environment(
        loader=PackageLoader("chaperonin", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    verb = str(run.get("verb") or "")
    style = resources.files("chaperonin.report").joinpath("page.css").read_text(encoding="utf-8")
    scripts = viewer_scripts(sections)
    return environment.get_template("page.html.j2").render(
        title=_TITLES.get(verb, f"{verb.capitalize()} job" if verb else "Job"),
        sentence=_sentence(run, failed),
        subtitle=[text for text in (mapping(run, "model").get("name"), moment(run.get("finished"))) if text],
        facts=summary(run, failed),
        failed=failed,
        failures_listed=any(section.anchor == "failures" for section in sections),
        sections=sections,
        version=mapping(run, "versions").get("chaperonin") or "",
        style=Markup(style),
        scripts=scripts,
        script_policy=Markup(script_policy(scripts)),
    )


def _breakable(text: str) -> Markup:
    """The text, escaped, with leave to break after the marks that divide ids and paths."""
    return Markup("<wbr>").join(re.split(r"(?<=[|_/;])(?=.)", text))


def _sentence(run: Mapping[str, object], failed: int) -> str:
    """How the job went, in words."""
    done = number(mapping(run, "records"), "done")
    if done is None:
        return ""
    if not failed:
        return f"All {count(int(done), 'record')} have a result." if done > 1 else "The record has a result."
    if not done:
        return f"No record has a result: {count(failed, 'record')} failed."
    return f"{count(int(done), 'record has', 'records have')} a result, {count(failed)} failed."
