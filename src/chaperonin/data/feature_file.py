"""Features that AlphaFold's own pipeline made, kept as `.npz` under their published names."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from chaperonin.errors import InputError
from chaperonin.models.alphafold.features import Templates
from chaperonin.protein.alignment import Alignment
from chaperonin.protein.atoms import ATOM_TYPES, GAP, RESIDUES, UNKNOWN
from chaperonin.protein.lines import display_name


class FeatureFile(NamedTuple):
    """What a file of features holds that a model needs."""

    alignment: Alignment
    residue_index: NDArray[np.int64]
    templates: Templates | None


def read_features(path: Path, most: int = 4) -> FeatureFile:
    """Alignment, residue numbers and the first `most` templates, their residues put into AlphaFold's order.

    Keys: aatype, msa, deletion_matrix_int, and where they are there sequence, residue_index, template_aatype,
    template_all_atom_positions and template_all_atom_masks (OpenFold: mask). InputError names the key that is missing
    or does not fit. Arrays of Python objects are never unpickled.
    """
    where = display_name(path)
    try:
        with path.open("rb") as file:
            opened = np.load(file, allow_pickle=False)
            if not isinstance(opened, np.lib.npyio.NpzFile):
                raise InputError("one array, not a file of features", where=where, advice=_MAKE)
            return _Reader(opened, where).features(most)
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror or error}", where=where) from error
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"not a readable .npz file: {error}", where=where, advice=_MAKE) from error


_HHBLITS = "ACDEFGHIKLMNPQRSTVWYX-"
"""Residues in the order of the published features."""
_FROM_HHBLITS = np.array([(RESIDUES + "X-").index(letter) for letter in _HHBLITS], np.int8)
_MAKE = "Write it with numpy.savez(path, **features), where features is AlphaFold's features.pkl."


class _Reader:
    """Arrays of one file, checked as they are taken."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], where: str) -> None:
        self.arrays = arrays
        self.where = where

    def features(self, most: int) -> FeatureFile:
        aatype = self._types("aatype", UNKNOWN + 1)
        if aatype.ndim != 1 or not len(aatype):
            raise self._refused("aatype", "one row of residues")
        length = len(aatype)
        residues = self._types("msa", GAP + 1, is_one_hot=False)
        if residues.ndim != 2 or not len(residues) or residues.shape[1] != length:
            raise self._refused("msa", f"sequences of {length:,} residues")
        deletions = self._taken("deletion_matrix_int")
        if deletions.shape != residues.shape or deletions.min() < 0:
            raise self._refused("deletion_matrix_int", f"counts as [{len(residues):,}, {length:,}]")
        index = self._taken("residue_index") if "residue_index" in self.arrays else np.arange(length)
        if index.shape != (length,):
            raise self._refused("residue_index", f"{length:,} numbers")
        names = (
            self._text("domain_name") or "query",
            *(f"row {number}" for number in range(1, len(residues))),
        )
        alignment = Alignment(self._query(aatype), names, _FROM_HHBLITS[residues], deletions.astype(np.int32))
        return FeatureFile(alignment, index.astype(np.int64), self._templates(length, most))

    def _query(self, aatype: NDArray[np.int64]) -> str:
        """The sequence, from its types where the file has no text."""
        letters = "".join((RESIDUES + "X")[number] for number in aatype)
        if "sequence" in self.arrays and (given := self._text("sequence")):
            known = "".join(letter if letter in RESIDUES else "X" for letter in given)
            if known != letters:
                raise self._refused("sequence", "the residues of aatype")
            letters = given
        return letters

    def _text(self, key: str) -> str:
        """Text of a key; nothing where the file has it as pickled objects, which stay closed."""
        if key not in self.arrays:
            return ""
        try:
            value = self.arrays[key]
        except ValueError:
            return ""
        if value.dtype.kind == "S":
            value = np.char.decode(value, "utf-8", "replace")
        return str(value.ravel()[0]) if value.size and value.dtype.kind == "U" else ""

    def _templates(self, length: int, most: int) -> Templates | None:
        if "template_aatype" not in self.arrays:
            return None
        types = self._types("template_aatype", GAP + 1)[:most]
        positions = self._taken("template_all_atom_positions")[:most]
        key = (
            "template_all_atom_masks"
            if "template_all_atom_masks" in self.arrays
            else "template_all_atom_mask"
        )
        mask = self._taken(key)[:most]
        if not len(types):
            return None
        shape = (len(types), length, len(ATOM_TYPES))
        for name, array, wanted in (
            ("template_aatype", types, shape[:2]),
            ("template_all_atom_positions", positions, (*shape, 3)),
            (key, mask, shape),
        ):
            if array.shape != wanted:
                raise self._refused(name, f"the shape {list(wanted)}")
        return Templates(
            aatype=torch.from_numpy(_FROM_HHBLITS[types].astype(np.int64)),
            positions=torch.from_numpy(positions.astype(np.float32) * mask.astype(np.float32)[..., None]),
            atom_mask=torch.from_numpy(mask.astype(np.float32)),
            mask=torch.ones(len(types)),
        )

    def _types(self, key: str, classes: int, is_one_hot: bool = True) -> NDArray[np.int64]:
        """Numbers of residues, from one-hot rows where the last axis has as many places as there are classes."""
        values = self._taken(key)
        if is_one_hot and values.ndim > 1 and values.shape[-1] == classes:
            return np.argmax(values, axis=-1)
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise self._refused(key, f"numbers from 0 to {classes - 1}")
        return values.astype(np.int64)

    def _taken(self, key: str) -> NDArray[Any]:
        if key not in self.arrays:
            raise InputError(f"no {key} in the file", where=self.where, advice=_MAKE)
        values = self.arrays[key]
        if values.dtype.kind not in "iufb" or not np.isfinite(values).all():
            raise self._refused(key, "finite numbers")
        return values

    def _refused(self, key: str, wanted: str) -> InputError:
        return InputError(f"{key} does not fit: expected {wanted}", where=self.where, advice=_MAKE)
