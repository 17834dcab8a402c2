"""AlphaFold 2 equals the published code (alphafold-colabfold on JAX), with every tensor random.

What it says lies in `alphafold_reference/*.npz`, made by the script beside them.
"""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.fold_sides import PYTORCH_KERNELS
from tests.models.alphafold_reference import made_up
from torch import Tensor

from chaperonin.kernels import registry
from chaperonin.kernels.slices import slice_bytes
from chaperonin.models.alphafold.config import PRESETS
from chaperonin.models.alphafold.embedding import Recycled
from chaperonin.models.alphafold.evoformer import pair_mask_of
from chaperonin.models.alphafold.features import Features, Templates
from chaperonin.models.alphafold.model import AlphaFold, Prediction
from chaperonin.models.alphafold.weights import npz_table

FOLDER = Path(__file__).parent / "alphafold_reference"
KEPT = 4
"""First rows of a result that the script keeps."""
MODULE_TOLERANCE = 1e-5
"""Relative root mean square; single precision on both sides, sums in another order."""
TOLERANCE = {4: 1e-4, 48: 1e-3}
"""Of whole models, by the number of blocks: random weights make activations and their rounding grow."""


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as opened:
        return dict(opened)


@cache
@torch.inference_mode(False)
def model(preset: str, blocks: int, extra_blocks: int = 4, template_blocks: int = 2) -> AlphaFold:
    sizes = {"blocks": blocks, "extra_msa_blocks": extra_blocks, "template_blocks": template_blocks}
    config = replace(PRESETS[preset], **sizes)
    with torch.device("meta"):
        made = AlphaFold(config)
    table = npz_table(config)
    shapes = {name: tuple(own.shape) for name, own in table.write(made.state_dict()).items()}
    arrays = {name: torch.from_numpy(own) for name, own in made_up.parameters(shapes).items()}
    made.load_state_dict(table.read(arrays, made.state_dict(), preset), assign=True)
    return made.eval()


def tensors(given: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(own) for name, own in given.items()}


@cache
@torch.inference_mode(False)
def features() -> Features:
    own = tensors(made_up.batch())
    return Features(
        aatype=own["aatype"].long(),
        residue_index=own["residue_index"].long(),
        mask=own["seq_mask"],
        target=own["target_feat"],
        msa=own["msa_feat"],
        msa_mask=own["msa_mask"],
        extra_msa=own["extra_msa"].long(),
        extra_has_deletion=own["extra_has_deletion"],
        extra_deletion=own["extra_deletion_value"],
        extra_msa_mask=own["extra_msa_mask"],
        templates=Templates(
            aatype=own["template_aatype"].long(),
            positions=own["template_all_atom_positions"],
            atom_mask=own["template_all_atom_masks"],
            mask=own["template_mask"],
        ),
    )


def last() -> Recycled:
    """New tensors each time: an iteration overwrites the pairs."""
    own = tensors(made_up.batch())
    return Recycled(own["prev_pos"], own["prev_msa_first_row"], own["prev_pair"])


def module_results() -> dict[str, Tensor]:
    """Every module of a model with one block in each stack, on made-up representations."""
    own = model("model_1_ptm", 1, 1, 2)
    block, extra_block = own.blocks[0], own.extra_blocks[0]
    given, read = tensors(made_up.representations()), features()
    msa, extra, pair, single = given["msa"], given["extra_msa"], given["pair"], given["single"]
    mask = pair_mask_of(read.mask)
    updates = block.pair_updates
    structure = own.structure(single, pair, read.aatype, read.mask)
    found = {
        "row_attention": block.row_attention(msa.clone(), pair, read.msa_mask) - msa,
        "column_attention": turned(block.column_attention)(msa.clone(), read.msa_mask) - msa,
        "msa_transition": block.msa_transition(msa.clone()) - msa,
        "extra_row_attention": extra_block.row_attention(extra.clone(), pair, read.extra_msa_mask) - extra,
        "extra_column_attention": turned(extra_block.column_attention)(extra.clone(), read.extra_msa_mask)
        - extra,
        "outer_product_mean": block.outer_product_mean(torch.zeros_like(pair), msa, read.msa_mask),
        "triangle_multiplication_outgoing": updates.multiplication_outgoing(pair.clone(), mask) - pair,
        "triangle_multiplication_incoming": updates.multiplication_incoming(pair.clone(), mask) - pair,
        "triangle_attention_starting_node": updates.attention_starting(pair.clone(), mask) - pair,
        "triangle_attention_ending_node": turned(updates.attention_ending)(pair.clone(), mask) - pair,
        "pair_transition": updates.transition(pair.clone()) - pair,
        "templates": own.templates(pair.clone(), read.templates, mask) - pair,
    }
    return {name: result[:KEPT] for name, result in found.items()} | {
        "structure_single": structure.single,
        "structure_positions": structure.positions,
        "structure_angles": torch.stack(structure.angles),
    }


def turned(module: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, mask: module(x.transpose(0, 1), mask.T).transpose(0, 1)


def relative_rms(result: Tensor, expected: np.ndarray) -> float:
    """Over real residues: what padding gets is a bias over next to nothing, and noise after some blocks."""
    right = torch.from_numpy(expected).double()
    residues = expected.shape.index(made_up.LENGTH)
    result, right = (own.narrow(residues, 0, made_up.LENGTH - 2) for own in (result, right))
    return float((result.double() - right).norm() / right.norm())


@pytest.mark.parametrize("kernels", [{}, PYTORCH_KERNELS], ids=["fastest", "PyTorch's"])
def test_every_module_equals_the_published_one(kernels: dict[str, str]) -> None:
    expected = golden("modules")
    with torch.inference_mode(), registry.use(**kernels):
        found = module_results()
    assert set(found) == set(expected)
    for name, result in found.items():
        assert result.shape == expected[name].shape, name
        assert relative_rms(result, expected[name]) < MODULE_TOLERANCE, name


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_of_four_blocks_equals_the_published_one(preset: str) -> None:
    compare(preset, 4)


def test_four_blocks_without_compiled_kernels_equal_the_published_ones() -> None:
    with registry.use(**PYTORCH_KERNELS):
        compare("model_1_ptm", 4)


@pytest.mark.parametrize("preset", ["model_1_ptm", pytest.param("model_5", marks=pytest.mark.slow)])
def test_full_depth_equals_the_published_one(preset: str) -> None:
    compare(preset, 48)


def compare(preset: str, blocks: int) -> None:
    expected = {
        name.rpartition("/")[2]: own
        for name, own in golden("presets").items()
        if name.startswith(f"{preset}/{blocks}/")
    }
    with torch.inference_mode():
        found = results(model(preset, blocks)(features(), last()))
    assert set(found) == set(expected)
    for name, result in found.items():
        assert relative_rms(result, expected[name]) < TOLERANCE[blocks], name


def results(found: Prediction) -> dict[str, Tensor]:
    """As the script keeps them."""
    logits, representations = found.logits, found.representations
    kept = {
        "positions": found.structure.positions,
        "single": representations.single,
        "pair": representations.pair[:2],
        "msa": representations.msa[:2],
        "lddt": logits.lddt,
        "distogram": logits.distogram[:2],
        "masked_msa": logits.masked_msa[:2],
        "resolved": logits.resolved,
    }
    return kept if logits.aligned_error is None else kept | {"aligned_error": logits.aligned_error[:2]}


@pytest.mark.parametrize("budget", [1, 50_000, 1 << 40])
def test_slices_change_nothing(budget: int) -> None:
    """One row at a time, some that do not divide the rows, all at once; and all at once with gradient."""
    own = model("model_1_ptm", 1, 1, 2)
    expected = results(own(features(), last()))
    with torch.inference_mode(), slice_bytes(budget):
        found = results(own(features(), last()))
    for name, result in found.items():
        assert relative_rms(result, expected[name].detach().numpy()) < MODULE_TOLERANCE, name


def test_an_extra_alignment_without_rows_is_one_that_is_masked() -> None:
    own = model("model_3_ptm", 1, 1)
    whole = replace(features(), extra_msa_mask=torch.zeros_like(features().extra_msa_mask))
    names = ("extra_msa", "extra_has_deletion", "extra_deletion", "extra_msa_mask")
    empty = replace(whole, **{name: getattr(whole, name)[:0] for name in names})
    with torch.inference_mode():
        found, expected = (results(own(given, last())) for given in (empty, whole))
    for name, result in found.items():
        assert relative_rms(result, expected[name].numpy()) < MODULE_TOLERANCE, name


@pytest.mark.slow
def test_the_script_says_what_was_kept(tmp_path: Path) -> None:
    """Runs the published code again: CHAPERONIN_JAX_PYTHON names an interpreter as `make.py` describes it."""
    python = os.environ.get("CHAPERONIN_JAX_PYTHON")
    if not python:
        pytest.skip("CHAPERONIN_JAX_PYTHON names no interpreter with alphafold-colabfold")
    command = [
        python,
        "-m",
        "tests.models.alphafold_reference.make",
        "modules",
        str(tmp_path / "modules.npz"),
    ]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    with np.load(tmp_path / "modules.npz") as opened:
        assert set(opened) == set(golden("modules"))
        for name, expected in golden("modules").items():
            np.testing.assert_allclose(opened[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)
