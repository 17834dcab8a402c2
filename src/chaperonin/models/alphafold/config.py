"""Sizes of the network, and the ten published monomer models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AlphaFoldConfig:
    """The published sizes."""

    templates: bool = True
    """Whether the network reads known structures."""
    aligned_error: bool = False
    """Whether it predicts aligned errors, and with them pTM."""
    extra_sequences: int = 5120
    """Sequences beside the clusters that it was trained with."""
    msa_width: int = 256
    extra_msa_width: int = 64
    pair_width: int = 128
    single_width: int = 384
    template_width: int = 64
    blocks: int = 48
    extra_msa_blocks: int = 4
    template_blocks: int = 2
    msa_heads: int = 8
    pair_heads: int = 4
    outer_product_width: int = 32
    structure_layers: int = 8
    """Times that the one block of the structure module is applied."""
    recycles: int = 3


PRESETS = {
    f"model_{number}{ending}": AlphaFoldConfig(
        templates=number <= 2,
        aligned_error=bool(ending),
        extra_sequences=1024 if number in (2, 5) else 5120,
    )
    for ending in ("", "_ptm")
    for number in range(1, 6)
}
"""model_1 to model_5 and model_1_ptm to model_5_ptm."""
