"""AIDO.Protein (Sun et al. 2024, bioRxiv 2024.11.29.625425): a mixture-of-experts protein language model."""

from chaperonin.models.aido.config import AIDOConfig
from chaperonin.models.aido.model import AIDO

__all__ = ["AIDO", "AIDOConfig"]
