"""Images of any size: in tiles, as a whole."""

import pytest
import torch

from gcc.deploy.tiles import in_tiles
from gcc.registry import ARCHITECTURES


@pytest.mark.parametrize(("height", "width"), [(7, 100), (50, 50), (64, 33), (65, 51)])
def test_tiles_have_no_seams(height, width):
    family = ARCHITECTURES.load("srgan")
    architecture = family(family.demo())
    torch.manual_seed(0)
    network = architecture.build_generator(architecture.full_widths(4)).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)  # so that distant pixels matter
    image = torch.rand(1, 3, height, width, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        whole = network(image)
        torch.testing.assert_close(in_tiles(network, image, architecture.receptive_field_radius, tile=16), whole)
        assert whole.std() > 0.01 and not torch.allclose(in_tiles(network, image, 4, tile=16), whole)
