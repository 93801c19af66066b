"""The perceptual loss's features against torchvision's own networks, on random weights."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from gcc.errors import ArtifactError, GccError
from gcc.models.vgg import load_vgg
from gcc.utils.weights import Weights


@pytest.fixture(scope="module")
def vgg16():
    torch.manual_seed(0)
    return torchvision.models.vgg16(weights=None).features.eval()


def named(features):
    return {f"features.{name}": tensor for name, tensor in features.state_dict().items()}


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_features_are_torchvisions_before_the_last_pooling(vgg16, suffix, tmp_path):
    file = tmp_path / f"vgg.{suffix}"
    (torch.save if suffix == "pth" else save_file)(named(vgg16) | {"classifier.0.weight": torch.zeros(2)}, file)
    image = torch.rand(2, 3, 32, 48) * 2 - 1
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        torch.testing.assert_close(load_vgg("vgg16", Weights({"vgg16": file}), "otherwise")(image), vgg16[:-1](normalise((image + 1) / 2)))


def test_vgg19_ends_with_layer_5_4(tmp_path):
    features = torchvision.models.vgg19(weights=None).features
    torch.save(named(features), tmp_path / "vgg19.pth")
    network = load_vgg("vgg19", Weights({"vgg19": tmp_path / "vgg19.pth"}), "otherwise")
    assert network.features[-2].weight.equal(features[34].weight) and len(network.features) == 36
    with pytest.raises(ArtifactError, match=r"does not fit vgg16 of torchvision: features\."):
        load_vgg("vgg16", Weights({"vgg16": tmp_path / "vgg19.pth"}), "otherwise")


def test_files_of_other_networks_are_refused(vgg16, tmp_path):
    torch.save(named(vgg16), tmp_path / "vgg16.pth")
    with pytest.raises(ArtifactError, match=r"does not fit vgg19 of torchvision: features\."):
        load_vgg("vgg19", Weights({"vgg19": tmp_path / "vgg16.pth"}), "otherwise")
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match=r"expected features\.0\.weight, .*but its tensors are a"):
        load_vgg("vgg19", Weights({"vgg19": tmp_path / "a.pth"}), "otherwise")


def test_torchs_cache_is_looked_into_and_its_absence_is_told(vgg16, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(GccError, match=r'`weights=\{"vgg16": "FILE"\}`; .*otherwise'):
        load_vgg("vgg16", Weights(), "otherwise")
    (tmp_path / "checkpoints").mkdir()
    torch.save(named(vgg16), tmp_path / "checkpoints" / "vgg16-397923af.pth")
    assert load_vgg("vgg16", Weights(), "otherwise").features[0].weight.equal(vgg16[0].weight)
