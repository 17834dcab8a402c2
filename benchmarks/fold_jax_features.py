"""The other side of ./go bench fold: ColabFold's features of an alignment, all samples of one run.

Runs in the environment that ./go bench fold is given by --jax; imports nothing of ours. Reads a line for every run from
stdin, answers with its seconds.

    PYTHON benchmarks/fold_jax_features.py A3M
"""

import sys
import time
from pathlib import Path

from alphafold.data import parsers, pipeline
from alphafold.model import config, features


def main(a3m: str) -> None:
    """Serve until stdin ends; with three recycles there are four samples."""
    answers, sys.stdout = sys.stdout, sys.stderr
    alignment = parsers.parse_a3m(Path(a3m).read_text())
    query = alignment.sequences[0]
    raw = {
        **pipeline.make_sequence_features(query, "none", len(query)),
        **pipeline.make_msa_features([alignment]),
    }
    settings = config.model_config("model_3_ptm")
    print("ready", file=answers, flush=True)
    for number, _ in enumerate(sys.stdin):
        begun = time.perf_counter()
        features.np_example_to_features(raw, settings, random_seed=number)
        print(time.perf_counter() - begun, file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
