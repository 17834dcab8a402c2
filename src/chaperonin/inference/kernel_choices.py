"""What runs on this machine, seen by running it: a protein through the bundled model, a mixture, a short AlphaFold."""

from dataclasses import replace

import torch

from chaperonin.adapt.prepare import prepare
from chaperonin.inference.embed import embed
from chaperonin.inference.fold import fold
from chaperonin.inference.fold_models import FoldModel, model_of, random_network
from chaperonin.inference.fold_settings import FoldSettings
from chaperonin.inference.load import load
from chaperonin.kernels.hardware import choose_device
from chaperonin.kernels.registry import watch
from chaperonin.kernels.segments import Segments
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.models.alphafold.config import PRESETS
from chaperonin.protein.alignment import read_a3m

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"


def chosen_kernels() -> dict[str, set[str]]:
    """Operation → bodies that inference gets here, in the precision `auto`; some seconds of work."""
    with watch() as chosen:
        embed(load(), {"ubiquitin": UBIQUITIN})
        _run_mixture()
        fold([_short_alphafold()], read_a3m(_alignment()), settings=FoldSettings(recycles=0))
    return chosen


def _run_mixture() -> None:
    """One layer of an AIDO.Protein, narrow, made ready as a large one would be."""
    device = choose_device("auto")
    model = AIDO(AIDOConfig(width=64, depth=1, heads=2, inner_width=64))
    model.initialise()
    ready, _ = prepare(model, "auto", device)
    tokens = torch.from_numpy(model.alphabet.encode(UBIQUITIN)).to(device)
    with torch.inference_mode():
        ready(tokens, Segments([len(tokens)]))


def _short_alphafold() -> FoldModel:
    """One block each, of the published widths."""
    config = replace(PRESETS["model_3_ptm"], blocks=1, extra_msa_blocks=1, structure_layers=1)
    return model_of(random_network(config).to(choose_device("auto")))


def _alignment() -> str:
    """As many sequences as ubiquitin has residues, each with another residue exchanged."""
    rows = [UBIQUITIN] + [
        f"{UBIQUITIN[:place]}{'G' if residue == 'A' else 'A'}{UBIQUITIN[place + 1 :]}"
        for place, residue in enumerate(UBIQUITIN)
    ]
    return "".join(f">{number}\n{row}\n" for number, row in enumerate(rows))
