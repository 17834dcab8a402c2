"""The other side of ./go bench fold: one iteration of alphafold-colabfold on JAX, timed in its own process.

Runs in an environment of its own (alphafold-colabfold==2.3.27, colabfold-kernels, jax, dm-haiku), which ./go bench fold
is given by --jax; imports nothing of ours. Reads a line for every iteration from stdin, answers with its seconds;
compiles before the first answer.

    PYTHON benchmarks/fold_jax.py LENGTH SEQUENCES EXTRA_SEQUENCES BLOCKS
"""

import resource
import sys
import time
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from alphafold.model import config, modules


def main(length: int, sequences: int, extra: int, blocks: int) -> None:
    """Serve until stdin ends."""
    settings = config.model_config("model_3_ptm").model
    settings.global_config.bfloat16 = False
    settings.embeddings_and_evoformer.evoformer_num_block = blocks
    given = {name: jnp.asarray(own) for name, own in batch(length, sequences, extra).items()}

    def build() -> Any:
        own = modules.AlphaFoldIteration_noE(settings, settings.global_config, name="alphafold_iteration")
        return own(given, is_training=False)

    transformed = hk.transform(build)
    key = jax.random.PRNGKey(0)
    shapes = jax.eval_shape(transformed.init, key)
    draw = np.random.default_rng(0)
    parameters = jax.tree.map(
        lambda own: jnp.asarray(draw.normal(0, 0.05, own.shape).astype(np.float32)), shapes
    )
    run = jax.jit(transformed.apply)
    begun = time.perf_counter()
    jax.block_until_ready(run(parameters, key))
    print(time.perf_counter() - begun, flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        jax.block_until_ready(run(parameters, key))
        print(
            time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True
        )


def batch(length: int, sequences: int, extra: int) -> dict[str, np.ndarray]:
    """Features of the shapes that are asked for."""
    draw = np.random.default_rng(0)
    pairs = (length, length)
    return {
        "aatype": draw.integers(0, 20, length).astype(np.int32),
        "residue_index": np.arange(length, dtype=np.int32),
        "seq_mask": np.ones(length, np.float32),
        "target_feat": draw.normal(size=(length, 22)).astype(np.float32),
        "msa_feat": draw.normal(size=(sequences, length, 49)).astype(np.float32),
        "msa_mask": np.ones((sequences, length), np.float32),
        "extra_msa": draw.integers(0, 23, (extra, length)).astype(np.int32),
        "extra_has_deletion": np.zeros((extra, length), np.float32),
        "extra_deletion_value": np.zeros((extra, length), np.float32),
        "extra_msa_mask": np.ones((extra, length), np.float32),
        "prev_pos": np.zeros((length, 37, 3), np.float32),
        "prev_msa_first_row": np.zeros((length, 256), np.float32),
        "prev_pair": np.zeros((*pairs, 128), np.float32),
        "residx_atom37_to_atom14": np.zeros((length, 37), np.int32),
        "atom37_atom_exists": np.ones((length, 37), np.float32),
        "atom14_atom_exists": np.ones((length, 14), np.float32),
    }


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
