"""Files of weights whose architecture spandrel knows."""

import json
import sys

import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.SPAN import SPAN

import gcc
from gcc.custom.zoo import ZooNetwork, read_zoo_model
from gcc.errors import ArtifactError, GccError
from gcc.training.teacher import Teacher
from tests.helpers.custom_toys import Images


@pytest.fixture
def compact():
    torch.manual_seed(0)
    return Compact(num_feat=8, num_conv=2, upscale=2)


def test_the_averaged_weights_of_a_checkpoint_are_read(tmp_path, compact):
    averaged = {name: tensor + 1 for name, tensor in compact.state_dict().items()}
    torch.save({"params": compact.state_dict(), "params_ema": averaged}, tmp_path / "x2.pth")
    model = read_zoo_model(tmp_path / "x2.pth")
    assert (model.description.architecture, model.description.network, model.scale, model.size) == ("Compact", "Compact", 2, 64)
    assert all(torch.equal(averaged[name], tensor) for name, tensor in model.network.state_dict().items())
    last = read_zoo_model(tmp_path / "x2.pth", "params").network.state_dict()
    assert all(torch.equal(compact.state_dict()[name], tensor) for name, tensor in last.items())
    again = ZooNetwork.parse(json.loads(json.dumps(model.description.to_json()))).build()
    again.load_state_dict(averaged)
    image = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        assert torch.equal(again(image), model.network.eval()(image))
    with pytest.raises(ArtifactError, match="no state dict at the key 'ema': it has params"):
        read_zoo_model(tmp_path / "x2.pth", "ema")


def span():
    """A network that merges convolutions for inference; the merged ones are not called in training."""
    torch.manual_seed(0)
    return SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)


@pytest.mark.parametrize("network", ["compact", pytest.param("span", marks=pytest.mark.slow)])
def test_a_student_is_loaded_without_code_of_its_own(tmp_path, compact, network):
    network = compact if network == "compact" else span()
    save_file(network.state_dict(), tmp_path / "x2.safetensors")
    teacher = Teacher.of_file(tmp_path / "x2.safetensors", size=32, cost_size=16, epochs=1, batch_size=4, ndf=4, evaluators="")
    settings = {"budget": "50%", "device": "cpu", "perceptual": "none", "lambda_pixel": 1.0}
    result = gcc.Compressor(teacher, data=Images(hr=32, lr=16), **settings).run(progress=False)
    result.save(tmp_path / "run")
    image = 2 * torch.rand(1, 3, 12, 20) - 1
    with torch.no_grad():
        assert torch.equal(gcc.load(tmp_path / "run/student")(image), result.student(image))
        full = gcc.load(tmp_path / "run/teacher")
        full.network.load_state_dict(network.state_dict())
        # Images are in [0, 1] to the network, and in [-1, 1] to all else.
        torch.testing.assert_close(full(image), 2 * network.eval()((image + 1) / 2) - 1)


def test_weights_that_spandrel_does_not_know_are_refused(tmp_path):
    save_file({"stem.weight": torch.ones(2, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match=r"is not a network that spandrel knows.*stem.weight: for your own network"):
        Teacher.of_file(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"architecture": "os", "network": "system", "hyperparameters": {}}, "spandrel has no network 'system' of architecture 'os'"),
        ({"architecture": "Compact", "network": "CompactArch", "hyperparameters": {}}, "has no network 'CompactArch'"),
        ({"architecture": "Compact", "network": "Compact", "hyperparameters": {"num_feat": "x"}}, "refuses its hyperparameters"),
        ({"architecture": "Compact", "network": "Compact"}, "expected exactly architecture, network, hyperparameters"),
        ({"architecture": "a.b", "network": "c", "hyperparameters": {}}, "expected two names"),
        ({"architecture": "a", "network": "c", "hyperparameters": []}, "expected two names"),
        ([], "expected exactly"),
    ],
)
def test_a_file_names_no_code_beside_that_of_spandrel(network, message):
    with pytest.raises(GccError, match=message):
        ZooNetwork.parse(network).build()


def test_without_spandrel_the_code_of_ones_own_generator_is_asked_for(tmp_path, compact, monkeypatch):
    torch.save(compact.state_dict(), tmp_path / "g.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(GccError, match="needs spandrel: pip install.*; or give the code of your own generator with `generator`"):
        read_zoo_model(tmp_path / "g.pth")
