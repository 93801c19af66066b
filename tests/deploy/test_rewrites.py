"""Layers that are written as others compute the same."""

import pytest
import torch
from torch import nn

from gcc.deploy.formats.rewrites import (
    InterleavedTranspose2d,
    instance_norm_as_means,
    prelu_as_leaky,
    rewritten,
    transposed_as_plain,
)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (6, 7)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding"),
    [
        (4, 2, 1, 0),
        (3, 2, 1, 1),
        (5, 2, 2, 1),
        (3, 2, 0, 1),
        (4, 2, 0, 1),
        (2, 2, 0, 0),
        (6, 3, 1, 2),
        (1, 2, 0, 1),
        ((4, 3), (2, 1), (1, 0), (1, 0)),
    ],
)
def test_transposed_convolutions_are_plain_ones(kernel, stride, padding, output_padding, size, bias):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 5, kernel, stride, padding, output_padding, bias=bias).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    rewrite = transposed_as_plain(layer)
    assert isinstance(rewrite, InterleavedTranspose2d)
    torch.testing.assert_close(rewrite(features), layer(features), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 5, 4, 2, 1),
        nn.ConvTranspose2d(3, 5, 4),
        nn.ConvTranspose2d(3, 6, 4, 2, 1, groups=3),
        nn.ConvTranspose2d(3, 5, 3, 2, dilation=2),
    ],
)
def test_other_convolutions_stay(layer):
    assert transposed_as_plain(layer) is None


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norms_are_means(affine):
    torch.manual_seed(0)
    layer = nn.InstanceNorm2d(3, affine=affine).double()
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    features = torch.randn(2, 3, 6, 7, dtype=torch.float64) + 10
    torch.testing.assert_close(instance_norm_as_means(layer)(features), layer(features), rtol=0, atol=1e-12)
    assert instance_norm_as_means(nn.InstanceNorm2d(3, track_running_stats=True)) is None


@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0, 2e4])
def test_instance_norms_hold_in_float16(scale):
    torch.manual_seed(0)
    layer, features = nn.InstanceNorm2d(4), torch.randn(1, 4, 16, 16).clamp(-2, 2) * scale
    features[:, 3] = scale
    rewrite = instance_norm_as_means(layer)(features.half())
    torch.testing.assert_close(rewrite.double(), layer(features.half().double()), rtol=0, atol=0.01)


@pytest.mark.parametrize("slope", [0.25, -0.5, 1.5])
def test_prelus_with_one_slope_are_leaky(slope):
    layer, features = nn.PReLU(init=slope), torch.linspace(-2, 2, 24).view(1, 2, 3, 4)
    torch.testing.assert_close(prelu_as_leaky(layer)(features), layer(features), rtol=0, atol=0)
    assert prelu_as_leaky(nn.PReLU(2)) is None


def test_layers_stay_shared_and_the_network_unchanged():
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 3, 4, 2, 1).double()
    features = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    for network in (layer, nn.Sequential(layer, nn.ReLU(), layer)):
        copy = rewritten(network, transposed_as_plain)
        torch.testing.assert_close(copy(features), network(features), rtol=0, atol=1e-14)
        assert len([module for module in copy.modules() if isinstance(module, InterleavedTranspose2d)]) == 1
        assert not any(isinstance(module, InterleavedTranspose2d) for module in network.modules())


class Scaled(nn.PReLU):
    def forward(self, features):
        return 2 * super().forward(features)


def test_layers_that_compute_more_stay():
    hooked = nn.PReLU()
    hooked.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert prelu_as_leaky(hooked) is None and prelu_as_leaky(Scaled()) is None
