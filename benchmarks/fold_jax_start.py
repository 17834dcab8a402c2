"""The other side of ./go bench fold: alphafold-colabfold from the start of its process to a PDB file.

Runs in the environment that ./go bench fold is given by --jax; imports nothing of ours. Does what ColabFold does with
one sequence and no templates: its features, its settings, one compilation, four iterations.

    PYTHON benchmarks/fold_jax_start.py PARAMETERS.npz FASTA OUT.pdb BLOCKS
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from alphafold.common import protein
from alphafold.data import parsers, pipeline
from alphafold.model import config, model, utils


def main(parameters: str, fasta: str, out: str, blocks: int) -> None:
    """Fold the first sequence of the FASTA file."""
    settings = configuration(blocks)
    named = utils.flat_params_to_haiku(np.load(parameters), fuse=True)
    runner = model.RunModel(settings, named)
    (sequence, *_), _ = parsers.parse_fasta(Path(fasta).read_text())
    features = runner.process_features(raw_features(sequence), random_seed=0)
    result, recycles = runner.predict(features, random_seed=0)
    assert recycles == settings.model.num_recycle
    confidence = np.repeat(result["plddt"][:, None], 37, axis=1)
    partial = Path(f"{out}.part")
    partial.write_text(protein.to_pdb(protein.from_prediction(features, result, confidence)))
    os.replace(partial, out)


def configuration(blocks: int) -> Any:
    """model_3_ptm (no templates) in fp32, otherwise as ColabFold sets it for one sequence."""
    settings = config.model_config("model_3_ptm")
    whole = settings.model
    whole.global_config.bfloat16 = False
    whole.stop_at_score, whole.rank_by = 100.0, "plddt"
    settings.data.eval.max_msa_clusters = settings.data.common.max_extra_msa = 1
    settings.data.common.num_recycle = whole.num_recycle = 3
    whole.embeddings_and_evoformer.evoformer_num_block = blocks
    block = whole.embeddings_and_evoformer.evoformer
    for direction in ("incoming", "outgoing"):
        block[f"triangle_multiplication_{direction}"].fuse_projection_weights = True
    for head in ("distogram", "masked_msa", "experimentally_resolved"):
        whole.heads[head].weight = 0.0
    return settings


def raw_features(sequence: str) -> dict[str, Any]:
    """An alignment of the sequence alone."""
    alignment = parsers.parse_a3m(f">query\n{sequence}\n")
    return {
        **pipeline.make_sequence_features(sequence, "none", len(sequence)),
        **pipeline.make_msa_features([alignment]),
    }


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
