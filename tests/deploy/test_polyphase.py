"""Transposed convolutions as plain ones, against loops."""

import pytest
import torch
from torch import nn

from gcc.deploy.polyphase import PhasedTranspose2d, is_upsampling_x2


def transposed_by_loops(image, weight, bias):
    """Scatter every pixel's kernel over a canvas, and cut the padding of 1 off."""
    (n, _, height, width), outputs = image.shape, weight.shape[1]
    canvas = torch.zeros(n, outputs, 2 * height + 2, 2 * width + 2, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            canvas[:, :, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += torch.einsum("nc,cokl->nokl", image[:, :, y, x], weight)
    return canvas[:, :, 1:-1, 1:-1] + (0 if bias is None else bias[:, None, None])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (4, 5), (8, 9)])
def test_four_phases_are_the_transposed_convolution(size, bias):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 5, 4, 2, 1, bias=bias).double()
    assert is_upsampling_x2(layer)
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = transposed_by_loops(image, layer.weight.detach(), layer.bias)
    torch.testing.assert_close(PhasedTranspose2d(layer)(image), expected)
    torch.testing.assert_close(PhasedTranspose2d(layer)(image[1]), expected[1])
    assert PhasedTranspose2d(layer)(image[:0]).shape == expected[:0].shape


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 5, 4, 2, 1),
        nn.ConvTranspose2d(3, 5, 4),
        nn.ConvTranspose2d(3, 5, 3, 2, 1, 1),
        nn.ConvTranspose2d(3, 6, 4, 2, 1, groups=3),
        nn.ConvTranspose2d(3, 5, 4, 2, 1, 1),
    ],
)
def test_others_do_not_double(layer):
    assert not is_upsampling_x2(layer)
