"""The pictures that ColabFold lays beside its structures: NAME_coverage.png, NAME_plddt.png and NAME_pae.png."""

from collections.abc import Sequence
from pathlib import Path

from chaperonin.inference.fold_store import COVERAGE, read_coverage
from chaperonin.inference.fold_table import SUMMARY, read_results
from chaperonin.report.fold_figures import aligned_error_maps, confidence_lines, coverage_map
from chaperonin.report.fold_scores import Scores, read_scores, score_files
from chaperonin.report.style import Picture, save_png


def write_fold_pictures(outdir: Path) -> list[Path]:
    """The pictures of every folded target, where there is none that is as new as its files; returns the new ones."""
    if not (outdir / SUMMARY).is_file():
        return []
    files = score_files(outdir)
    names = [row.name for row in read_results(outdir)]
    return [path for name in names if name in files for path in _of_target(outdir, name, files[name])]


def _of_target(outdir: Path, name: str, files: Sequence[Path]) -> list[Path]:
    coverage = outdir / f"{name}_{COVERAGE}"
    sources = {"plddt": files, "pae": files, "coverage": [coverage]}
    missing = {
        kind: path for kind, own in sources.items() if not _is_new(path := outdir / f"{name}_{kind}.png", own)
    }
    if not missing:
        return []
    written, scores = [], read_scores(files)
    for kind, path in missing.items():
        figure = _draw(kind, scores, coverage)
        if figure is not None:
            save_png(path, figure)
            written.append(path)
    return written


def _is_new(path: Path, sources: Sequence[Path]) -> bool:
    """Whether a picture is as new as what it is made of, or there is nothing to make it of."""
    if not all(one.is_file() for one in sources):
        return True
    return path.is_file() and path.stat().st_mtime_ns >= max(one.stat().st_mtime_ns for one in sources)


def _draw(kind: str, scores: Scores, coverage: Path) -> Picture | None:
    """None where the files have not what the picture shows."""
    if kind == "coverage":
        return coverage_map(read_coverage(coverage), scores.warning)
    if kind == "plddt":
        return confidence_lines(scores.plddt, scores.warning) if scores.plddt else None
    return aligned_error_maps(scores.aligned_errors, scores.warning) if scores.aligned_errors else None
