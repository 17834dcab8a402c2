"""What the bundled model does: `./go demo [OUTDIR]`.

It embeds, scans and maps the proteins of this folder, predicts where they are with the adapters that ship inside, and
trains an adapter of its own for a moment on sequences that it makes.
"""

import shutil
import sys
import time
from pathlib import Path

from made_membrane import write_table

from chaperonin.cli.main import main

EXAMPLES = Path(__file__).parent
ADAPTERS = ("chaperonin/esm2-tiny-membrane", "chaperonin/esm2-tiny-localization")


def demo(outdir: Path) -> int:
    """Run each verb into a folder of its own with a report.html."""
    proteins = str(EXAMPLES / "proteins.fasta")
    start = time.perf_counter()
    codes = [
        main(["embed", proteins, str(outdir / "embed")]),
        main(["score", str(EXAMPLES / "blat_ecolx.fasta"), str(outdir / "score")]),
        main(["contacts", proteins, str(outdir / "contacts")]),
    ]
    codes += [
        main(["predict", proteins, str(outdir / name.rpartition("-")[2]), "--model", name])
        for name in ADAPTERS
    ]
    codes.append(train_on_made_data(outdir))
    print(f"\n{time.perf_counter() - start:.0f} s. Open in a browser:")
    for page in sorted(outdir.glob("*/report.html")):
        print(f"  {page}")
    print(
        "Serve the adapter that ships inside, trained on real proteins, with a page to paste yours into:\n"
        f"  ./go run serve {ADAPTERS[0]}"
    )
    return max(codes)


def train_on_made_data(outdir: Path) -> int:
    """Fine-tune for some seconds; the sequences are no proteins, and the model is good for nothing else."""
    table = outdir / "made_membrane.csv"
    write_table(table, 120)
    print(
        f"\nNow a fine-tuning on sequences that are MADE, not real ({table}): they show the command, no biology."
    )
    folder = outdir / "train-on-made-data"
    shutil.rmtree(folder, ignore_errors=True)
    return main(
        ["train", str(table), str(folder), "--set", "epochs=2", "--set", "training.schedule.peak=2e-3"]
    )


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
