"""ESM-1b and ESM-2: masked language models of protein sequences."""

from chaperonin.models.esm.model import ESM, ESMConfig

__all__ = ["ESM", "ESMConfig"]
