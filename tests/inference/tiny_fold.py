"""Small folding networks of random weights, and inputs for them."""

from dataclasses import replace
from pathlib import Path

from chaperonin.inference.fold_models import FoldModel, model_of, random_network
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.models.alphafold.layout import LAYOUT
from chaperonin.weights.pretrained import save_folder

CONFIG = AlphaFoldConfig(
    aligned_error=True,
    extra_sequences=3,
    msa_width=16,
    extra_msa_width=8,
    pair_width=16,
    single_width=16,
    template_width=8,
    blocks=1,
    extra_msa_blocks=1,
    template_blocks=1,
    msa_heads=2,
    pair_heads=2,
    outer_product_width=4,
    structure_layers=2,
    recycles=2,
)
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
ALIGNMENT = (
    ">query\nMKTAYIAKQR\n>a\nMKTAYLAKQ-\n>b\nMRTaaAYIGKQR\n>c\n--TAYIAK--\n>d\nMKSAYIAKHR\n>e\nMKTGYIAKQR\n"
)


def tiny_model(number: int = 1) -> FoldModel:
    """model_1 and model_2 read templates, the others do not."""
    config = replace(CONFIG, templates=number <= 2)
    return model_of(random_network(config, number), f"model_{number}")


def save_models(folder: Path, *numbers: int) -> list[str]:
    """Folders of models, as `--models` takes them."""
    for number in numbers:
        save_folder(LAYOUT, tiny_model(number).network, folder / f"model_{number}_ptm")
    return [str(folder / f"model_{number}_ptm") for number in numbers]
