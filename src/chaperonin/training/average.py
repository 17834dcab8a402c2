"""A running average of the weights, often better than the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from chaperonin.training import state


class Average:
    """Running average of the weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.clone() for name, tensor in state.trained_weights(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model."""
        for name, tensor in state.trained_weights(model).items():
            self.weights[name].lerp_(tensor, 1 - self.decay)

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """The model with the averaged weights, for as long as the block lasts."""
        own = {name: tensor.clone() for name, tensor in state.trained_weights(model).items()}
        state.put_weights(model, self.weights)
        try:
            yield
        finally:
            state.put_weights(model, own)
