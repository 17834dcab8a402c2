"""ProtST: a protein language model and a text model whose vectors of a protein and of its description agree."""

from chaperonin.models.protst.model import ProtST, ProtSTConfig
from chaperonin.models.protst.text import TextBatch

__all__ = ["ProtST", "ProtSTConfig", "TextBatch"]
