"""A model folder straight into the form in which the model runs: for models that nearly fill the memory.

The peak is the model in its precision and a few megabytes: nothing is held twice, not even in the type of its file.
"""

from pathlib import Path

import torch
from torch import nn

from chaperonin.adapt.pack import pack_linears
from chaperonin.adapt.precision import DTYPES, require_bf16
from chaperonin.adapt.prepare import Precision, choose_precision
from chaperonin.adapt.quantize import quantize_for_training
from chaperonin.kernels.linear import onednn
from chaperonin.weights.files import read_config
from chaperonin.weights.filling import fill, find_places
from chaperonin.weights.pretrained import Layout, build_empty, leave_out_heads


def load_filled(
    layout: Layout, folder: Path, precision: Precision, device: torch.device
) -> tuple[nn.Module, str]:
    """The model, in evaluation mode and without gradients, and the precision that it got: fp32, bf16 or int8.

    `int8` is one byte per weight on any processor; one without 8-bit products scales a matrix back for its product.

    Raises WeightsError, before anything is read, for a folder that does not hold the model that it describes.
    """
    chosen = choose_precision(precision, device)
    if chosen == "bf16":
        require_bf16(device)
    model = read_filled(layout, folder, chosen, device).eval().requires_grad_(False)
    if chosen == "fp32" and device.type == "cpu" and not onednn.lacks():
        pack_linears(model)
    return model, chosen


def read_filled(
    layout: Layout, folder: Path, stored: str, device: torch.device, *, only_matrices: bool = False
) -> nn.Module:
    """The plain model with its parameters in fp32, bf16 or, the matrices of its layers, bytes (`int8`).

    only_matrices: whether what is no matrix of a layer stays fp32 in bf16 too, as training wants it.
    """
    model = build_empty(layout, layout.read_config(read_config(folder), str(folder)))
    places = find_places(layout.tables["huggingface"], folder, model)
    leave_out_heads(layout, model, [place.ours for place in places])
    if stored == "int8":
        quantize_for_training(model)
    dtype = DTYPES["bf16" if stored == "bf16" else "fp32"]
    for name, parameter in model.named_parameters():
        is_matrix = name.startswith("layers.") and parameter.ndim > 1 and not name.endswith(".bias")
        is_exact = name.endswith("router.weight") or (only_matrices and not is_matrix)
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.float32 if is_exact else dtype)
    model.to_empty(device=device)
    fill(model, places)
    return model
