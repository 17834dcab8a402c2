"""Settings of `fold`, apart from what folds: parameters are already read while that is imported."""

import math
from dataclasses import dataclass

from chaperonin.errors import UsageError
from chaperonin.inference.fold_models import FoldModel


@dataclass(frozen=True)
class FoldSettings:
    """How targets are folded."""

    models: tuple[str, ...] | None = None
    """Names such as model_1_ptm, or folders; by default model_1_ptm to model_5_ptm, as far as they are on this disk."""
    templates: tuple[str, ...] = ()
    """PDB or mmCIF files, for all targets; folders, in which ID.pdb, ID.cif and ID.ANYTHING.cif are for target ID."""
    use_templates: bool = True
    """Whether the models that can read templates do, also those of feature files."""
    recycles: int | None = None
    """Times that a result is fed back; by default the model's own number, 3."""
    recycle_tolerance: float = 0.0
    """Recycling ends when distances of Cα atoms change by less, as root mean square in Å; 0: never before the end."""
    seeds: int = 1
    """How many random seeds each model folds with."""
    first_seed: int = 0
    """The others count up from it."""
    msa_clusters: int = 512
    """Most sequences in the main alignment, rows for templates among them."""
    extra_sequences: int | None = None
    """Most sequences beside them; by default what the model was trained with, 5120 or 1024."""
    keep: int | None = None
    """How many structures of a target are written, best first; by default all."""
    random_weights: bool = False
    """Seeded random parameters, to try the program without any: results are meaningless and marked so."""
    unknown: str | None = None
    """`X` reads the letter J of a FASTA file as X instead of failing the record."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …"""

    def __post_init__(self) -> None:
        least = {
            "recycles": 0,
            "seeds": 1,
            "first_seed": 0,
            "msa_clusters": 1,
            "extra_sequences": 0,
            "keep": 1,
        }
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise UsageError(f"{name} = {value}", advice=f"Give a number of at least {smallest}.")
        if not 0 <= self.recycle_tolerance < math.inf:
            raise UsageError(
                f"recycle_tolerance = {self.recycle_tolerance}", advice="Give a distance in Å, 0 for never."
            )

    @property
    def seed_numbers(self) -> range:
        """The seeds themselves."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def recycles_of(self, model: FoldModel) -> int:
        """How often this model's result is fed back."""
        return model.config.recycles if self.recycles is None else self.recycles
