"""Understand, design and fold proteins with foundation models on the hardware you have.

    import chaperonin as ch

    model = ch.load("facebook/esm2_t33_650M_UR50D")
    embeddings = ch.embed(model, "proteins.fasta")

The verbs are imported when they are first used, so `import chaperonin` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaperonin.inference.contacts import contacts
    from chaperonin.inference.embed import embed
    from chaperonin.inference.fold import fold
    from chaperonin.inference.load import load
    from chaperonin.inference.predict import predict
    from chaperonin.inference.score import score

_VERBS = {
    "load": "chaperonin.inference.load",
    "embed": "chaperonin.inference.embed",
    "score": "chaperonin.inference.score",
    "predict": "chaperonin.inference.predict",
    "contacts": "chaperonin.inference.contacts",
    "fold": "chaperonin.inference.fold",
}

__all__ = ["contacts", "embed", "fold", "load", "predict", "score"]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'chaperonin' has no attribute {name!r}")
