"""What a reader is warned of before the training."""

from pathlib import Path

import numpy as np
import tiny_study

from chaperonin.training.material import read_material

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
