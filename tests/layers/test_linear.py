import torch
from torch import nn

from chaperonin.layers.linear import Linear, fused


def test_activation_and_residual_follow_the_product() -> None:
    layer, x, residual = Linear(8, 6), torch.randn(5, 8), torch.randn(5, 6)
    expected = nn.functional.gelu(nn.functional.linear(x, layer.weight, layer.bias)) + residual
    torch.testing.assert_close(fused(layer, x, "gelu", residual), expected)


def test_a_wrapped_layer_is_called_plainly_with_the_same_result() -> None:
    """An adapter adds to the product before the activation, so the activation must stay outside."""
    layer, x, residual = Linear(8, 6), torch.randn(5, 8), torch.randn(5, 6)
    torch.testing.assert_close(
        fused(nn.Sequential(layer), x, "gelu", residual), fused(layer, x, "gelu", residual)
    )
