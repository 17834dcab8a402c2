"""Parameters and inputs that both sides of the comparison make from the same seeds. NumPy alone."""

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
LENGTH, SEQUENCES, EXTRA, TEMPLATES = 19, 6, 10, 2
_STACKS = ("/extra_msa_stack/", "/evoformer_iteration/", "/__layer_stack_no_state/")


def parameters(shapes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Every tensor random, also those that training begins at zero or one: a wrong block cannot hide behind zeros."""
    return {name: _parameter(name, tuple(shape)) for name, shape in shapes.items()}


def _parameter(name: str, shape: tuple[int, ...]) -> Array:
    kind = name.rpartition("//")[2]
    noise = normal(name, *shape)
    if kind == "scale":
        return 1 + 0.1 * noise
    if kind in ("offset", "bias", "gating_b", "output_b"):
        return 0.1 * noise
    if kind == "trainable_point_weights":
        return noise
    own = shape[1:] if any(stack in name for stack in _STACKS) else shape
    inputs = int(np.prod(own[:-1])) if kind == "output_w" else own[0]
    return noise * np.float32(inputs**-0.5)


def normal(name: str, *shape: int) -> Array:
    """Gaussian noise that belongs to a name."""
    return np.random.default_rng(crc32(name.encode())).standard_normal(shape, dtype=np.float32)


def _mask(name: str, *shape: int) -> Array:
    """About a fifth is masked, nothing of the first row."""
    mask = (np.random.default_rng(crc32(name.encode())).random(shape) > 0.2).astype(np.float32)
    mask[0] = 1
    return mask


def _integers(name: str, high: int, *shape: int) -> NDArray[np.int32]:
    return np.random.default_rng(crc32(name.encode())).integers(0, high, shape).astype(np.int32)


def batch() -> dict[str, NDArray]:
    """Features by their published names; the last two residues are padding, two residues are missing in the chain."""
    seq_mask = np.ones(LENGTH, np.float32)
    seq_mask[-2:] = 0
    residue_index = np.arange(LENGTH, dtype=np.int32)
    residue_index[LENGTH // 2 :] += 2
    atom_mask = _mask("template atoms", TEMPLATES, LENGTH, 37)
    atom_mask[1, 4:7] = 0
    aatype = _integers("aatype", 20, LENGTH)
    aatype[3] = 20
    template_aatype = _integers("template aatype", 20, TEMPLATES, LENGTH)
    template_aatype[1, 4:7] = 21
    return {
        "aatype": aatype,
        "residue_index": residue_index,
        "seq_mask": seq_mask,
        "target_feat": normal("target", LENGTH, 22),
        "msa_feat": normal("msa", SEQUENCES, LENGTH, 49),
        "msa_mask": _mask("msa", SEQUENCES, LENGTH) * seq_mask,
        "extra_msa": _integers("extra", 23, EXTRA, LENGTH),
        "extra_has_deletion": _mask("deletion", EXTRA, LENGTH),
        "extra_deletion_value": np.abs(normal("deletion", EXTRA, LENGTH)),
        "extra_msa_mask": _mask("extra", EXTRA, LENGTH) * seq_mask,
        "template_aatype": template_aatype,
        "template_all_atom_positions": 8
        * normal("template", TEMPLATES, LENGTH, 37, 3)
        * atom_mask[..., None],
        "template_all_atom_masks": atom_mask,
        "template_mask": np.ones(TEMPLATES, np.float32),
        "prev_pos": 8 * normal("position", LENGTH, 37, 3),
        "prev_msa_first_row": normal("row", LENGTH, 256),
        "prev_pair": normal("pair", LENGTH, LENGTH, 128),
    }


def representations() -> dict[str, Array]:
    """Inputs of single modules."""
    return {
        "msa": normal("module msa", SEQUENCES, LENGTH, 256),
        "extra_msa": normal("module extra", EXTRA, LENGTH, 64),
        "pair": normal("module pair", LENGTH, LENGTH, 128),
        "single": normal("module single", LENGTH, 384),
    }
