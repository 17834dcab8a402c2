"""Embed, scan and map the proteins of this folder with the bundled model: `./go demo [OUTDIR]`."""

import sys
import time
from pathlib import Path

from chaperonin.cli.main import main

EXAMPLES = Path(__file__).parent


def demo(outdir: Path) -> int:
    """Run three verbs, each into a folder of its own with a report.html."""
    proteins = str(EXAMPLES / "proteins.fasta")
    target = str(EXAMPLES / "blat_ecolx.fasta")
    start = time.perf_counter()
    codes = [
        main(["embed", proteins, str(outdir / "embed")]),
        main(["score", target, str(outdir / "score")]),
        main(["contacts", proteins, str(outdir / "contacts")]),
    ]
    print(f"\n{time.perf_counter() - start:.0f} s. Open in a browser:")
    for verb in ("embed", "score", "contacts"):
        print(f"  {outdir / verb / 'report.html'}")
    return max(codes)


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
