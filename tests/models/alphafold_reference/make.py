"""Run the published AlphaFold 2 on made-up parameters and keep what it says, for the tests of ours.

Needs Python 3.11 and, in an environment of their own: alphafold-colabfold==2.3.27 colabfold-kernels==0.9.0
jax==0.10.2 dm-haiku==0.0.17

    python -m tests.models.alphafold_reference.make modules tests/models/alphafold_reference/modules.npz
    python -m tests.models.alphafold_reference.make presets tests/models/alphafold_reference/presets.npz
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from alphafold.common import residue_constants
from alphafold.model import config, folding, modules
from tests.models.alphafold_reference import made_up

ROOT = "alphafold/alphafold_iteration"
BLOCK = f"{ROOT}/evoformer/evoformer_iteration"
EXTRA = f"{ROOT}/evoformer/extra_msa_stack"
TEMPLATE = f"{ROOT}/evoformer/template_embedding"
KEPT = 4
"""First rows of a result that are kept."""
jax.config.update("jax_default_matmul_precision", "highest")


def settings(preset: str, blocks: int) -> Any:
    """As published, in single precision, everything at once, projections apart."""
    found = config.model_config(preset).model
    found.global_config.update({"bfloat16": False, "subbatch_size": 100_000})
    found.embeddings_and_evoformer.evoformer_num_block = blocks
    with found.unlocked():
        _unfuse(found)
    return found


def _unfuse(own: Any) -> None:
    for name, value in own.items():
        if name == "fuse_projection_weights":
            own[name] = False
        elif hasattr(value, "items"):
            _unfuse(value)


def batch() -> dict[str, np.ndarray]:
    """With what the feature pipeline derives."""
    own = made_up.batch()
    aatype, template = own["aatype"], own["template_aatype"]
    constants = residue_constants
    positions, mask = own["template_all_atom_positions"], own["template_all_atom_masks"]
    glycine = (template == constants.restype_order["G"])[..., None]
    return own | {
        "residx_atom37_to_atom14": _atom37_to_14()[aatype],
        "atom37_atom_exists": constants.restype_atom37_mask[aatype],
        "atom14_atom_exists": constants.restype_atom14_mask[aatype],
        "template_pseudo_beta": np.where(glycine, positions[:, :, 1], positions[:, :, 3]),
        "template_pseudo_beta_mask": np.where(glycine[..., 0], mask[:, :, 1], mask[:, :, 3]),
    }


def _atom37_to_14() -> np.ndarray:
    table = np.zeros((21, 37), np.int32)
    for index, letter in enumerate(residue_constants.restypes):
        names = residue_constants.restype_name_to_atom14_names[residue_constants.restype_1to3[letter]]
        for place, name in enumerate(names):
            if name:
                table[index, residue_constants.atom_order[name]] = place
    return table


def run(build: Callable[[], Any], scope: str, layer: int | None = None) -> Any:
    """A module's result; its parameters are those of `scope` in the whole model, of one layer."""
    transformed = hk.transform(build)
    shapes = jax.eval_shape(transformed.init, jax.random.PRNGKey(0))
    own: dict[str, dict[str, Any]] = {}
    for module, values in shapes.items():
        inner = f"{scope}/{module.partition('/')[2]}".rstrip("/")
        for name, value in values.items():
            shape = value.shape if layer is None else (1, *value.shape)
            key = f"{inner}//{name}"
            parameter = made_up.parameters({key: shape})[key]
            own.setdefault(module, {})[name] = jnp.asarray(parameter if layer is None else parameter[layer])
    return jax.tree.map(np.asarray, jax.jit(transformed.apply)(own, jax.random.PRNGKey(0)))


def single_modules() -> dict[str, np.ndarray]:
    """Each module on made-up representations, parameters of a model with one block in each stack."""
    chosen = settings("model_1_ptm", 1)
    every, block = chosen.global_config, chosen.embeddings_and_evoformer.evoformer
    given, features = made_up.representations(), batch()
    pair, msa, extra = given["pair"], given["msa"], given["extra_msa"]
    seq_mask = features["seq_mask"]
    pair_mask = seq_mask[:, None] * seq_mask[None]
    msa_mask, extra_mask = features["msa_mask"], features["extra_msa_mask"]
    found = {}

    def of_block(key: str, build: Callable[..., Any], own: str, scope: str, *inputs: Any) -> None:
        def call() -> Any:
            return build(block[own], every, name="own")(
                *(jnp.asarray(one) for one in inputs), is_training=False
            )

        found[key] = run(call, scope, 0)[:KEPT]

    of_block("row_attention", modules.MSARowAttentionWithPairBias, "msa_row_attention_with_pair_bias",
             f"{BLOCK}/msa_row_attention_with_pair_bias", msa, msa_mask, pair)  # fmt: skip
    of_block("column_attention", modules.MSAColumnAttention, "msa_column_attention",
             f"{BLOCK}/msa_column_attention", msa, msa_mask)  # fmt: skip
    of_block("msa_transition", modules.Transition, "msa_transition", f"{BLOCK}/msa_transition", msa, msa_mask)
    of_block("extra_row_attention", modules.MSARowAttentionWithPairBias, "msa_row_attention_with_pair_bias",
             f"{EXTRA}/msa_row_attention_with_pair_bias", extra, extra_mask, pair)  # fmt: skip
    of_block("extra_column_attention", modules.MSAColumnGlobalAttention, "msa_column_attention",
             f"{EXTRA}/msa_column_global_attention", extra, extra_mask)  # fmt: skip

    def outer() -> Any:
        own = block.outer_product_mean
        return modules.OuterProductMean(own, every, num_output_channel=128, name="own")(
            jnp.asarray(msa), jnp.asarray(msa_mask), is_training=False
        )

    found["outer_product_mean"] = run(outer, f"{BLOCK}/outer_product_mean", 0)[:KEPT]
    for edge in ("outgoing", "incoming"):
        name = f"triangle_multiplication_{edge}"
        of_block(name, modules.TriangleMultiplication, name, f"{BLOCK}/{name}", pair, pair_mask)
    for node in ("starting", "ending"):
        name = f"triangle_attention_{node}_node"
        of_block(name, modules.TriangleAttention, name, f"{BLOCK}/{name}", pair, pair_mask)
    of_block(
        "pair_transition", modules.Transition, "pair_transition", f"{BLOCK}/pair_transition", pair, pair_mask
    )

    def templates() -> Any:
        own = chosen.embeddings_and_evoformer.template
        chosen_batch = {
            name: jnp.asarray(value) for name, value in features.items() if name.startswith("template_")
        }
        return modules.TemplateEmbedding(own, every, name="own")(
            jnp.asarray(pair), chosen_batch, jnp.asarray(pair_mask), is_training=False
        )

    found["templates"] = run(templates, TEMPLATE)[:KEPT]

    def structure() -> Any:
        inputs = {"single": jnp.asarray(given["single"]), "pair": jnp.asarray(pair)}
        return folding.StructureModule(chosen.heads.structure_module, every, compute_loss=True, name="own")(
            inputs, {name: jnp.asarray(value) for name, value in features.items()}, is_training=False
        )

    result = run(structure, f"{ROOT}/structure_module")
    found["structure_single"] = result["representations"]["structure_module"]
    found["structure_positions"] = result["final_atom_positions"]
    found["structure_angles"] = result["sidechains"]["angles_sin_cos"]
    return found


def whole(preset: str, blocks: int) -> dict[str, np.ndarray]:
    """One iteration of a preset."""
    chosen = settings(preset, blocks)
    given = {name: jnp.asarray(value) for name, value in batch().items()}

    def build() -> Any:
        own = modules.AlphaFoldIteration_noE(chosen, chosen.global_config, name="alphafold_iteration")
        return own(given, is_training=False)

    transformed = hk.transform(build)
    shapes = jax.eval_shape(transformed.init, jax.random.PRNGKey(0))
    own = {
        module: {
            name: jnp.asarray(
                made_up.parameters({f"alphafold/{module}//{name}": value.shape})[
                    f"alphafold/{module}//{name}"
                ]
            )
            for name, value in values.items()
        }
        for module, values in shapes.items()
    }
    result = jax.jit(transformed.apply)(own, jax.random.PRNGKey(0))
    found = {
        "positions": result["structure_module"]["final_atom_positions"],
        "single": result["representations"]["single"],
        "pair": result["representations"]["pair"][:2],
        "msa": result["representations"]["msa"][:2],
        "lddt": result["predicted_lddt"]["logits"],
        "distogram": result["distogram"]["logits"][:2],
        "masked_msa": result["masked_msa"]["logits"][:2],
        "resolved": result["experimentally_resolved"]["logits"],
    }
    if "predicted_aligned_error" in result:
        found["aligned_error"] = result["predicted_aligned_error"]["logits"][:2]
    return {f"{preset}/{blocks}/{name}": np.asarray(value) for name, value in found.items()}


def all_presets() -> dict[str, np.ndarray]:
    """Ten models of four blocks, and two of full depth."""
    names = [f"model_{number}{ending}" for ending in ("", "_ptm") for number in range(1, 6)]
    found: dict[str, np.ndarray] = {}
    for name, blocks in [*((name, 4) for name in names), ("model_1_ptm", 48), ("model_5", 48)]:
        print(name, blocks, flush=True)
        found |= whole(name, blocks)
    return found


if __name__ == "__main__":
    results = {"modules": single_modules, "presets": all_presets}[sys.argv[1]]()
    np.savez_compressed(Path(sys.argv[2]), **results)
