"""What this machine reaches on the user's own model and data."""

import sys
from pathlib import Path

from cyclopts import App, Parameter

app = App(
    name="chaperonin bench",
    help=__doc__,
    version_flags=[],
    default_parameter=Parameter(negative_iterable=""),
)


@app.command
def finetune(
    input: Path,
    outdir: Path,
    /,
    *,
    model: str | None = None,
    set: list[str] | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    seeds: int = 1,
    rows: str = "",
    device: str = "auto",
) -> int:
    """Fine-tune by each of the means in turn and print what it took: time, quality, peak memory.

    Every row has the same examples, seeds and number of optimizer steps, and a process of its own. The same command
    again runs only what is not done. With split.folds=N, each seed is tested on the next fold.

    Parameters
    ----------
    input
        YAML file with a `task`, or labelled sequences, as for `chaperonin train`.
    outdir
        Folder for comparison.csv and comparison.json.
    model
        Model to fine-tune: hub name, folder, or the bundled chaperonin/esm2-tiny.
    set
        One setting as section.key=value; may be repeated.
    epochs
        Passes over the training part.
    steps
        Optimizer steps, in place of epochs.
    seeds
        Trainings of each row.
    rows
        Comma-separated, of base, accumulation, checkpointing, lora, all, frozen, qlora.
    device
        auto, cpu, cuda, cuda:1 …
    """
    from chaperonin.cli.train import begin
    from chaperonin.config import as_yaml
    from chaperonin.errors import UsageError
    from chaperonin.kernels.hardware import choose_device
    from chaperonin.training.comparison import ROWS, compare
    from chaperonin.training.finetune_settings import FineTuning
    from chaperonin.training.material import material_of
    from chaperonin.training.settings import resolve_training

    lengths = {"epochs": epochs, "training.steps": steps}
    given = [f"{name}={value}" for name, value in lengths.items() if value is not None]
    settings = resolve_training(input, [*(set or ()), *given], model)
    if not isinstance(settings, FineTuning):
        raise UsageError(
            "a pre-training has no rows to compare", where=str(input), advice="Give labelled data."
        )
    material = material_of(settings)
    names = [name.strip() for name in rows.split(",")] if rows else list(ROWS)
    begin(outdir, as_yaml(settings), material.dataset.rejected)
    print("\n".join(material.warnings), file=sys.stderr)
    found = compare(settings, material, outdir, choose_device(device), seeds, names)
    print(found)
    if not any(row.trials for row in found.rows):
        return 1
    return 3 if material.dataset.rejected or not all(row.trials for row in found.rows) else 0
