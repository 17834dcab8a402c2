"""A model whose layers stay on disk: each is read for its turn in every pass, into the memory of the one before.

For a model that fits into no memory at all. A pass over many tokens computes longer than it reads: 36 layers of the 16B
are 64 GB in their files, and 4,096 tokens take 38 trillion operations.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from chaperonin.adapt.quantize import quantize_for_training
from chaperonin.errors import UsageError
from chaperonin.kernels.segments import Segments
from chaperonin.layers.attention import Rotation
from chaperonin.layers.language import LanguageModel
from chaperonin.weights.files import read_config
from chaperonin.weights.filling import Place, fill, find_places, share_of
from chaperonin.weights.pretrained import Layout, build_empty, leave_out_heads


def load_streamed(
    layout: Layout, folder: Path, precision: Literal["fp32", "int8"], device: torch.device
) -> LanguageModel:
    """The model, to infer with: embedding, last norm and heads in memory, and one layer of all.

    Raises UsageError away from the CPU, WeightsError for a folder that does not hold the model that it describes.
    """
    if device.type != "cpu":
        raise UsageError("layers are streamed from disk on a CPU only", advice="Write --set device=cpu.")
    model = build_empty(layout, layout.read_config(read_config(folder), str(folder)))
    assert isinstance(model, LanguageModel)
    places = find_places(layout.tables["huggingface"], folder, model)
    leave_out_heads(layout, model, [place.ours for place in places])
    layer = model.layers[0]
    if precision == "int8":
        quantize_for_training(layer)
    layer.to_empty(device=device)
    model.layers = nn.ModuleList(
        StreamedLayer(layer, share_of(places, f"layers.{number}.")) for number in range(len(model.layers))
    )
    rest = [place for place in places if not place.ours.startswith("layers.")]
    for name, child in model.named_children():
        if name != "layers":
            child.to_empty(device=device)
    fill(model, rest)
    model.one_pass_at_a_time = True
    return model.eval().requires_grad_(False)


class StreamedLayer(nn.Module):
    """A layer that is read when its turn comes. All of a model compute in the memory of one."""

    def __init__(self, shared: nn.Module, places: list[Place]) -> None:
        super().__init__()
        self._shared = (shared,)  # in a tuple: its parameters are not this one's
        self.places = places

    def forward(self, x: Tensor, segments: Segments, rotation: Rotation) -> Tensor:
        """The layer's own."""
        (layer,) = self._shared
        fill(layer, self.places)
        result: Tensor = layer(x, segments, rotation)
        return result
