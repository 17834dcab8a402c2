"""How much memory a run will need, from shapes alone, and how many tokens a batch may hold.

Per token of a packed batch, at the widest moment of a layer: its input, the normed input, query, key and value, the
attended values, a product and its sum with the residual: eight vectors of the model's width (in 8 bits, whose products
run over blocks of rows, seven). The feed-forward's inner activation exists for one block of rows only.
"""

from dataclasses import dataclass
from typing import Any

import torch

from chaperonin.errors import UsageError
from chaperonin.inference.load import origin_of
from chaperonin.inference.provenance import peak_memory
from chaperonin.kernels.hardware import free_bytes
from chaperonin.kernels.host_memory import resident_bytes, return_free_memory
from chaperonin.layers.language import LanguageModel
from chaperonin.parallel.cores import CORE_TOKENS

CPU_BATCH_TOKENS = 4096
"""Enough rows for the processor's matrix product."""
_HEAP_BYTES = 32 << 20
"""Above this the C library maps a tensor of its own pages each time, and every layer pays for touching them anew."""
GPU_BATCH_TOKENS = 32768
_SHARE = 0.5
"""Share of the free memory that a batch may take."""
_FEED_FORWARD_ROWS = 1024
_CORE_HOLES = 0.4
"""Where each core runs passes of its own, each has a heap of its own: its holes, as a share of the activations."""


@dataclass(frozen=True)
class Footprint:
    """What a forward pass holds besides weights and results, by the way its products are made."""

    vectors: int
    """Vectors of the model's width per token."""
    runtime_bytes: int
    """What the first passes leave for good: pages of the libraries, compiled kernels, their scratch, thread stacks; and
    the holes in the heap that one batch makes."""


FOOTPRINTS = {
    "fp32": Footprint(vectors=8, runtime_bytes=45_000_000),
    "bf16": Footprint(vectors=8, runtime_bytes=45_000_000),
    "int8": Footprint(vectors=7, runtime_bytes=30_000_000),  # products run over blocks of rows
}


def activation_bytes(config: Any, tokens: int, element_bytes: int = 4, vectors: int = 8) -> int:
    """Peak of what a forward pass over `tokens` packed tokens holds besides the weights."""
    inner = min(tokens, _FEED_FORWARD_ROWS) * (config.inner_width + config.width)
    return element_bytes * (tokens * (vectors * config.width + config.wide) + inner)


def batch_tokens(model: LanguageModel, asked: int | None) -> int:
    """Tokens per batch: what was asked for, or what suits the device and fits its free memory."""
    if asked is not None:
        if asked < 1:
            raise UsageError(
                f"batch_tokens = {asked} is no number of tokens", advice="Leave it out, or write 4096."
            )
        return asked
    device = next(model.parameters()).device
    query_key_value = 3 * 4 * model.config.width
    usual = (
        GPU_BATCH_TOKENS if device.type == "cuda" else min(CPU_BATCH_TOKENS, _HEAP_BYTES // query_key_value)
    )
    if device.type == "cpu" and model.config.wide:
        usual = CPU_BATCH_TOKENS  # of each batch an expert sees a part, and needs rows enough of its own
    per_token = activation_bytes(model.config, 1)
    return max(1024, min(usual, int(_SHARE * free_bytes(device)) // per_token))


def predicted_peak_bytes(model: LanguageModel, tokens: int, kept_bytes: int = 0) -> int:
    """Peak of a run of batches of `tokens` tokens: on a GPU its tensors, else the whole process.

    kept_bytes: results that wait to be written; a shard, as large as they are, is made of them between two batches.
    """
    parameter = next(model.parameters())
    footprint = FOOTPRINTS[origin_of(model).precision]
    activations = activation_bytes(model.config, tokens, parameter.element_size(), footprint.vectors)
    if parameter.device.type == "cuda":
        return torch.cuda.memory_allocated(parameter.device) + activations
    cores = torch.get_num_threads()
    holes = _CORE_HOLES if cores > 1 and tokens >= cores * CORE_TOKENS else 0.0
    return_free_memory()  # of loading and planning: the batches use it again, so it must not be counted twice
    left = footprint.runtime_bytes + int(holes * activations)
    working = left + kept_bytes + max(activations, kept_bytes)
    return max(peak_memory().host_bytes, resident_bytes() + working)
