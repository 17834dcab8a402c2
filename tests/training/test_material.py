"""What a reader is warned of before the training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_study

from chaperonin.training.material import material_of, read_material

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


def write_twins(path: Path) -> None:
    """Forty random proteins in four groups; the last is the first but for one residue, in another group."""
    generator = np.random.default_rng(4)
    texts = ["".join(generator.choice(LETTERS, 100)) for _ in range(39)]
    texts.append(("W" if texts[0][0] != "W" else "A") + texts[0][1:])
    rows = [f"p{n},{text},{'MS'[n % 2]},g{n % 4}" for n, text in enumerate(texts)]
    path.write_text("\n".join(["id,sequence,label,family", *rows]) + "\n")


def test_a_leak_of_any_fold_is_told_with_its_sequences_and_what_to_do(tmp_path: Path) -> None:
    write_twins(tmp_path / "twins.csv")
    own = tiny_study.settings(
        tmp_path, f"data.input={tmp_path / 'twins.csv'}", "split.group_column=family", "split.folds=4"
    )
    material = read_material(own.data, own.split, own.task)
    assert material.warnings == [
        "warning: 2 held-out sequences are nearly identical to one in another part (p0 to p39, 99% identical): "
        "figures will be too good. Use split.method=cluster."
    ]
    own = tiny_study.settings(tmp_path, f"data.input={tmp_path / 'twins.csv'}", "split.method=cluster")
    assert read_material(own.data, own.split, own.task).warnings == []


@pytest.mark.parametrize("kind", tiny_study.KINDS)
def test_truncated_sequences_are_those_of_a_file_that_was_cut(kind: str, tmp_path: Path) -> None:
    own = tiny_study.settings(tmp_path, *tiny_study.KINDS[kind], "truncate=25", "split.method=given")
    found = material_of(own)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    for row in rows:
        row["sequence"], row["residues"] = row["sequence"][:25], row["residues"][:25]
        inside = [pair for pair in row["pairs"].split() if int(pair.split("-")[1]) <= 25]
        row["pairs"] = ";".join(inside) if len(row["pairs"]) else ""
    table = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (tmp_path / "cut.csv").write_text("\n".join(table) + "\n")
    cut = material_of(replace(own, truncate=0, data=replace(own.data, input=str(tmp_path / "cut.csv"))))
    where = {example.id: number for number, example in enumerate(cut.dataset.examples)}
    assert len(found.items) >= 70 and len(cut.items) >= 60
    for example, item in zip(found.dataset.examples, found.items, strict=True):
        if example.id in where:  # of pairs, those of which none is left are no record of the file
            other = where[example.id]
            np.testing.assert_array_equal(item.target, cut.items[other].target)
            assert (item.tokens == cut.items[other].tokens).all()
            assert found.target.encode(example.label, len(item)).tolist() == item.target.tolist()
    longer = sum(len(line.split(",")[1]) > 25 for line in lines[1:])
    assert f"{longer} sequences cut after 25 residues (truncate)" in found.warnings
