"""PNG files of 16-bit colours: torchvision decodes what is written, and Pillow shows the same picture."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_png

from gcc.data.images import read_image
from gcc.data.png import write_deep_colours


@pytest.mark.filterwarnings("ignore:.*TorchVision are deprecated:DeprecationWarning")
@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_written_is_decoded_by_others(channels, tmp_path):
    path, values = tmp_path / "a.png", np.random.default_rng(channels).integers(0, 1 << 16, (channels, 7, 5), dtype=np.uint16)
    write_deep_colours(path, values)
    decoded = decode_png(torch.from_numpy(np.fromfile(path, np.uint8)), ImageReadMode.UNCHANGED)
    assert decoded.dtype == torch.uint16 and np.array_equal(decoded.numpy(), values)
    with Image.open(path) as image:
        assert image.mode == {3: "RGB", 4: "RGBA"}[channels]
        assert np.array_equal(np.moveaxis(np.asarray(image), -1, 0), values >> 8)


def test_a_view_is_written_as_it_looks(tmp_path):
    values = np.arange(3 * 6 * 5, dtype=np.uint16).reshape(3, 6, 5)[:, ::-1, ::2].astype(">u2")
    write_deep_colours(tmp_path / "a.png", values)
    read = read_image(tmp_path / "a.png", 3, (0, 255))
    assert np.array_equal(np.stack([np.asarray(band) for band in read.bands]), values)
