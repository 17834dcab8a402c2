"""The part of the report about hits.csv: the best hits of each query."""

import csv
from itertools import groupby, islice
from pathlib import Path

from chaperonin.report.blocks import Paragraph, Part, Section, Table
from chaperonin.report.wording import count, shortened

FILE = "hits.csv"
MOST_QUERIES, MOST_HITS = 20, 10


def search_section(outdir: Path) -> Section | None:
    """None where nothing was searched for."""
    path = outdir / FILE
    if not path.is_file():
        return None
    parts: list[Part] = []
    queries = 0
    with path.open(encoding="utf-8", newline="") as lines:
        for query, hits in groupby(csv.DictReader(lines), key=lambda hit: hit["query"]):
            queries += 1
            if queries > MOST_QUERIES:
                continue
            rows = [
                (shortened(hit["id"], 60), f"{float(hit['cosine']):.3f}") for hit in islice(hits, MOST_HITS)
            ]
            parts.append(Table(shortened(query, 90), ("best hits", "cosine"), rows, frozenset({1})))
    if queries > MOST_QUERIES:
        parts.append(
            Paragraph(f"The first {MOST_QUERIES} of {count(queries, 'query', 'queries')}; all are in {FILE}.")
        )
    return Section("hits", "Hits", parts, _READING) if parts else None


_READING = (
    (
        "Cosine",
        "How far the vectors of query and hit point the same way: 1 is the same direction, 0 none in common. Compare "
        "the hits of one query with each other; between queries cosines are shifted.",
    ),
)
