"""SageMaker's training contract: settings as text, data in channels, the model and the reason of a failure in folders.

`/opt/ml/input/config/hyperparameters.json` holds settings by their dotted names (`means.method`, `epochs`), all as
text. Channels are folders below `/opt/ml/input/data`: `training` or `train`, with `validation` and `test` beside it if
they are there. The model directory goes to `/opt/ml/model`, tables and the report to `/opt/ml/output/data`, checkpoints
to `/opt/ml/checkpoints`, so that an interrupted job goes on; on failure `/opt/ml/output/failure` says why.
"""

import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from chaperonin.errors import ChaperoninError, UsageError

ROOT = "CHAPERONIN_SAGEMAKER_ROOT"
"""Environment variable that names another folder than /opt/ml."""
_CHANNELS = {"train": "train", "training": "train", "validation": "val", "val": "val", "test": "test"}
_FAILURE_LETTERS = 1024


def train_as_sagemaker(device: str = "auto") -> int:
    """Run the training job that the folders describe; 0 when it is done, 1 when it failed and the reason is written."""
    root = Path(os.environ.get(ROOT, "/opt/ml"))
    if not (root / "input").is_dir():
        raise UsageError(
            "no INPUT, and no SageMaker training job here",
            where=str(root / "input"),
            advice="Write `chaperonin train INPUT OUTDIR`.",
        )
    try:
        return _train(root, device)
    except Exception as error:
        # The contract wants every failure written down, whatever it is; the trace goes to the job's log.
        traceback.print_exc()
        words = str(error) if isinstance(error, ChaperoninError) else f"{type(error).__name__}: {error}"
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output" / "failure").write_text(words[:_FAILURE_LETTERS], encoding="utf-8")
        return 1


def _train(root: Path, device: str) -> int:
    from chaperonin.cli.train import fine_tune
    from chaperonin.config import resolve
    from chaperonin.kernels.hardware import choose_device
    from chaperonin.training.finetune_settings import FineTuning

    work = root / "checkpoints"
    settings = resolve(FineTuning, options={"data.input": str(_input(root, work)), **hyperparameters(root)})
    code = fine_tune(settings, work, choose_device(device))
    results = root / "output" / "data"
    results.mkdir(parents=True, exist_ok=True)
    for path in work.iterdir():
        if path.is_file():
            shutil.copy2(path, results / path.name)
    shutil.copytree(work / "model", root / "model", dirs_exist_ok=True)
    if code == 3:  # a record that was refused fails no job: it is in failures.jsonl
        print(f"some records were refused: see {results / 'failures.jsonl'}", file=sys.stderr)
    return 0


def hyperparameters(root: Path) -> dict[str, Any]:
    """Settings from hyperparameters.json, where every value is text; what begins with sagemaker_ is the platform's."""
    import yaml

    path = root / "input" / "config" / "hyperparameters.json"
    if not path.is_file():
        return {}
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(f"is not JSON ({error})", where=str(path)) from error
    if not isinstance(given, dict):
        raise UsageError("holds no names and values", where=str(path))
    return {
        name: yaml.safe_load(value) if isinstance(value, str) else value
        for name, value in given.items()
        if not name.startswith("sagemaker_")
    }


def _input(root: Path, work: Path) -> Path:
    """The labelled sequences: the one file of the training channel, or all channels joined with their stage."""
    folder = root / "input" / "data"
    found = {
        _CHANNELS[path.name]: _file(path)
        for path in sorted(folder.glob("*"))
        if path.is_dir() and path.name in _CHANNELS
    }
    if "train" not in found:
        raise UsageError(
            "no channel called training or train",
            where=str(folder),
            advice="Give the job one with a CSV or FASTA file of labelled sequences.",
        )
    return found["train"] if len(found) == 1 else _joined(found, work)


def _file(channel: Path) -> Path:
    files = [path for path in sorted(channel.iterdir()) if path.is_file() and not path.name.startswith(".")]
    if len(files) != 1:
        raise UsageError(
            f"holds {len(files)} files",
            where=str(channel),
            advice="Put one file of labelled sequences there.",
        )
    return files[0]


def _joined(files: dict[str, Path], work: Path) -> Path:
    """One CSV of all channels, whose column `stage` is the channel; they must be tables with the same columns."""
    import csv

    from chaperonin.data.tables import read_table

    work.mkdir(parents=True, exist_ok=True)
    target = work / "channels.csv"
    with target.open("w", encoding="utf-8", newline="") as opened:
        table = csv.writer(opened, lineterminator="\n")
        columns: list[str] = []
        for stage, path in files.items():
            found = read_table(path)
            if not columns:
                columns = [name for name in found.header if name != "stage"]
                table.writerow([*columns, "stage"])
            for row in found.rows:  # an unreadable row becomes one without sequence, and is rejected as such
                table.writerow([*(row.columns.get(name, "") for name in columns), stage])
    return target
