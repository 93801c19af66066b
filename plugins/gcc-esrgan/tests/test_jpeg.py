"""JPEG compression is that of Pillow up to rounding: on average less than one level of 8 bits."""

import io
import math

import numpy as np
import pytest
import torch
from gcc_esrgan.jpeg import CHROMINANCE, LUMINANCE, compressed, cosines, quantisation_table
from PIL import Image

from gcc.data.demo.scenes.views import render


def test_the_transform_by_its_definition():
    block = torch.rand(8, 8, dtype=torch.float64)
    expected = np.zeros((8, 8))
    for v in range(8):
        for u in range(8):
            total = 0.0
            for y in range(8):
                for x in range(8):
                    total += block[y, x].item() * math.cos((2 * y + 1) * v * math.pi / 16) * math.cos((2 * x + 1) * u * math.pi / 16)
            expected[v, u] = total / 4 * (2**-0.5 if v == 0 else 1) * (2**-0.5 if u == 0 else 1)
    np.testing.assert_allclose((cosines() @ block @ cosines().T).numpy(), expected, atol=1e-12)


def by_pillow(pixels, quality, subsampled):
    """Return an image after Pillow's compression, and the quantisation tables in the file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2 if subsampled else 0)
    with Image.open(file) as image:
        return np.array(image), image.quantization


@pytest.mark.parametrize("quality", [5, 30, 50, 77, 100])
def test_quantisation_is_that_of_pillow(quality):
    _, tables = by_pillow(np.zeros((8, 8, 3), np.uint8), quality, subsampled=False)
    for number, table in enumerate((LUMINANCE, CHROMINANCE)):
        assert quantisation_table(table, quality).flatten().tolist() == tables[number]


@pytest.mark.parametrize("subsampled", [True, False])
@pytest.mark.parametrize("quality", [30, 60, 95])
def test_pixels_are_those_of_pillow(quality, subsampled):
    # Coefficients half-way between two multiples may take the other one, since Pillow transforms with whole numbers.
    pixels = render(72, np.random.default_rng(3))[:61, :67]
    expected, _ = by_pillow(pixels, quality, subsampled)
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
    result = (255 * compressed(image, quality, subsampled=subsampled)).round().permute(1, 2, 0).numpy()
    difference, loss = np.abs(result - expected), np.abs(expected - pixels.astype(np.float64))
    assert difference.mean() < min(1.0, loss.mean() / 3) and np.quantile(difference, 0.99) <= 8
