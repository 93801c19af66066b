"""Weights are drawn anew, and what is not drawn is known."""

import torch
from torch import nn
from torch.nn import functional

from gcc.pruning.graph.reset import matrices, owners, reset


class Raw(nn.Module):
    """A convolution that draws its weight when it is made, and never again."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 3, 1, 1)), nn.Parameter(torch.randn(3))

    def forward(self, image):
        return functional.conv2d(image, self.weight, self.bias)


class Drawn(nn.Sequential):
    """Draws the weights of its layers itself."""

    def reset_parameters(self):
        for layer in self:
            nn.init.normal_(layer.weight)


def test_parameters_that_no_module_draws_are_named():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), Raw(), Drawn(Raw()))
    assert reset(network) == ["2.weight", "2.bias", "3.0.bias"]
    assert matrices(network, ["2.weight", "2.bias", "3.0.bias"]) == ["2.weight"] and owners(network, ["2.weight", "2.bias"]) == ["Raw"]


def test_constants_have_learned_nothing():
    network = Raw()
    nn.init.zeros_(network.weight), nn.init.ones_(network.bias)
    assert reset(network) == []


def test_the_attention_of_torch_is_drawn():
    assert reset(nn.MultiheadAttention(4, 2)) == []
