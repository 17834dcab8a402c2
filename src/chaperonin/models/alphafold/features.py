"""What the network reads: one sample of an alignment, as one recycling iteration sees it."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from chaperonin.shapes import Float, Int


@dataclass(frozen=True)
class Templates:
    """Known structures, aligned with the sequence residue by residue."""

    aatype: Int[Tensor, "templates residues"]
    """0 to 19 in AlphaFold's order, 20 unknown, 21 where the template has a gap."""
    positions: Float[Tensor, "templates residues 37 3"]
    """Å; zero where an atom is missing."""
    atom_mask: Float[Tensor, "templates residues 37"]
    mask: Float[Tensor, " templates"]
    """1 for a template, 0 for a place that none fills."""


@dataclass(frozen=True)
class Features:
    """Published names in brackets."""

    aatype: Int[Tensor, " residues"]
    """0 to 19 in AlphaFold's order, 20 unknown."""
    residue_index: Int[Tensor, " residues"]
    """Numbers of the residues: a jump is a break of the chain."""
    mask: Float[Tensor, " residues"]
    """1 for a residue, 0 for padding (`seq_mask`)."""
    target: Float[Tensor, "residues 22"]
    """Whether the chain breaks before the residue, then its type one-hot with X (`target_feat`)."""
    msa: Float[Tensor, "sequences residues 49"]
    """Clusters: residue one-hot (23), has deletion, deletion value, profile (23), mean deletion (`msa_feat`)."""
    msa_mask: Float[Tensor, "sequences residues"]
    extra_msa: Int[Tensor, "extra_sequences residues"]
    """Sequences that are no cluster centre: 0 to 22."""
    extra_has_deletion: Float[Tensor, "extra_sequences residues"]
    extra_deletion: Float[Tensor, "extra_sequences residues"]
    """atan(deletions / 3) · 2 / π (`extra_deletion_value`)."""
    extra_msa_mask: Float[Tensor, "extra_sequences residues"]
    templates: Templates | None = None

    def to(self, device: torch.device | str) -> "Features":
        """The same features on a device."""
        templates = self.templates
        if templates is not None:
            templates = replace(templates, **_moved(templates, device))
        return replace(self, **_moved(self, device), templates=templates)


def _moved(own: "Features | Templates", device: torch.device | str) -> dict[str, Any]:
    values = {field.name: getattr(own, field.name) for field in fields(own)}
    return {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
