"""VGG16's features against torchvision's layers, on random weights."""

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import vgg

from gcc.errors import GccError
from gcc.evaluation.frechet import FDVGG16
from gcc.evaluation.networks import imagenet
from gcc.evaluation.networks.vgg import VGG16
from tests.helpers.evaluators import context


def test_features_are_means_of_torchvisions_layers(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "SIZE", 32)
    torch.manual_seed(0)
    layers = vgg.make_layers(vgg.cfgs["D"])
    file = tmp_path / "vgg16.safetensors"
    save_file({f"features.{name}": tensor for name, tensor in layers.state_dict().items()}, file)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    extractor = VGG16(context(vgg16=file))
    with torch.no_grad():
        inputs = (images / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        relu3_3 = layers[:16](inputs)
        relu4_3 = layers[16:23](relu3_3)
        expected = torch.cat([relu3_3.mean((2, 3)), relu4_3.mean((2, 3))], 1)
        torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-6)
    assert expected.shape == (2, 768) and isinstance(layers[15], torch.nn.ReLU) and relu3_3.shape[-1] == 8 == 2 * relu4_3.shape[-1]
    assert "relu3_3 and relu4_3 of VGG16 vgg16.safetensors (sha256 " in extractor.protocol
    assert FDVGG16.extractor is VGG16 and FDVGG16(context()).protocol.startswith("not FID, torch-fidelity ")


def test_missing_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(GccError, match=r'vgg16 are needed.*`weights=\{"vgg16": "FILE"\}`; .*; fd_effnetlite0 needs no such file'):
        VGG16(context())
