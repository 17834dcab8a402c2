"""A very small fine-tuning in a folder; as a program, one that a test can kill or start several times at once."""

import sys
from pathlib import Path

import numpy as np
import torch

from chaperonin.config import resolve
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.parallel.data import join_processes, leave_processes
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.training.material import read_material
from chaperonin.training.study import study
from chaperonin.weights.pretrained import save_folder

CPU = torch.device("cpu")
LIKES = {"M": "AILMFVWC", "S": "DEKRNQST"}
KINDS = {
    "binary": (),
    "multiclass": ("data.label_column=third",),
    "multilabel": ("kind=multilabel", "data.label_column=marks"),
    "regression": ("data.label_column=share",),
    "residue": ("task=residue", "data.label_column=residues"),
    "pairs": ("task=pairs", "data.label_column=pairs"),
}
"""Settings for each kind of label in the table."""


def write_base(folder: Path) -> Path:
    """A model of two layers with random weights everywhere, as Hugging Face lays it out."""
    generator = torch.Generator().manual_seed(1)
    model = ESM(ESMConfig(width=32, depth=2, heads=2, inner_width=64))
    for name, parameter in model.named_parameters():
        if name != "rotary_frequencies":
            parameter.data.normal_(0.0, 0.2, generator=generator)
        if name.endswith("norm.weight"):
            parameter.data.add_(1.0)
    save_folder(LAYOUT, model, folder)
    return folder


def write_table(path: Path, rows: int = 80, seed: int = 0) -> Path:
    """Proteins of two classes that differ in what they are made of; the other labels follow from the letters."""
    generator = np.random.default_rng(seed)
    lines = ["id,sequence,label,stage,residues,third,marks,share,pairs"]
    for number in range(rows):
        label = "MS"[number % 2]
        letters = list(LIKES[label] * 2 + "ACDEFGHIKLMNPQRSTVWY")
        sequence = "".join(generator.choice(letters, generator.integers(10, 40)))
        stage = ("train", "train", "train", "val", "test")[number // 2 % 5]
        residues = "".join(
            next((name for name, own in LIKES.items() if letter in own), ".") for letter in sequence
        )
        lines.append(",".join([f"p{number}", sequence, label, stage, residues, *_other_labels(residues)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def _other_labels(residues: str) -> tuple[str, str, str, str]:
    """One of three classes, several of two, a value, and pairs of residues that touch."""
    share = residues.count("M") / len(residues)
    third = "low" if share < 0.35 else "middle" if share < 0.55 else "high"
    marks = "|".join(name for name in LIKES if residues.count(name) > 0.4 * len(residues)) or "|"
    oily = [number for number, name in enumerate(residues, start=1) if name == "M"]
    pairs = " ".join(f"{first}-{second}" for first in oily for second in oily if second - first >= 6)
    return third, marks, f"{share:.3f}", pairs


def settings(folder: Path, *overrides: str) -> FineTuning:
    """Settings for the base and the table in the folder, which are made if they are not there."""
    if not (folder / "base").exists():
        write_base(folder / "base")
        write_table(folder / "table.csv")
    usual = [
        f"model={folder / 'base'}",
        f"data.input={folder / 'table.csv'}",
        "training.precision=fp32",
        "training.log_every=1",
        "batch_size=8",
        "epochs=2",
    ]
    return resolve(FineTuning, overrides=[*usual, *overrides])


def run(inputs: Path, folder: Path, *overrides: str, sweeps: bool = False):
    """Fine-tune in the folder, from its newest checkpoint if it has one."""
    own = settings(inputs, *overrides)
    material = read_material(own.data, own.split, own.task, own.kind, own.classes)
    processes, device = join_processes(CPU)
    try:
        return study(own, material, folder, device, processes, sweeps=sweeps)
    finally:
        leave_processes()


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
