"""Layers that are written as others compute the same."""

import pytest
import torch
from torch import nn

from gcc.deploy.formats.rewrites import without_output_padding


@pytest.mark.parametrize(("kernel", "padding", "output_padding"), [(3, 1, 1), (5, 2, 1), (4, (1, 2), (1, 0)), (3, 0, 1)])
def test_output_padding_is_replaced_exactly(kernel, padding, output_padding):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 3, kernel, 2, padding, output_padding).double()
    features = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    for network in (layer, nn.Sequential(layer, nn.ReLU()), nn.Sequential(layer, nn.ReLU(), layer)):
        copy = without_output_padding(network)
        torch.testing.assert_close(copy(features), network(features), rtol=0, atol=1e-14)
        layers = [module for module in copy.modules() if isinstance(module, nn.ConvTranspose2d)]
        assert any(layers[0].output_padding) == (padding == 0), "only less padding than output padding keeps the latter"
    assert any(layer.output_padding)
