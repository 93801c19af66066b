"""Inception's weights load from files of either format, and no code in them runs."""

import os

import pytest
import torch
from safetensors.torch import save_file
from torch_fidelity import feature_extractor_inceptionv3 as library

from gcc.errors import ArtifactError, GccError
from gcc.evaluation.networks.inception import Inception, _untrained
from tests.helpers.evaluators import context


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    state = _untrained(library).state_dict()
    # Files of 2018 have no counters.
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


@pytest.fixture(scope="module")
def files(state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inception")
    torch.save(state, folder / "inception.pth")
    save_file(state, folder / "inception.safetensors")
    return folder


def images():
    return torch.randint(0, 256, (2, 3, 20, 24), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.mark.slow
def test_features_are_torch_fidelitys(files, monkeypatch):
    path = files / "inception.pth"
    (expected,) = library.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))(images())
    for name in ("inception.pth", "inception.safetensors"):
        extractor = Inception(context(inception=files / name))
        assert extractor(images()).equal(expected) and expected.shape == (2, 2048)
        assert f"{name} (sha256 " in extractor.protocol and "resized to 299" in extractor.protocol


@pytest.mark.parametrize("name", ["weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"])
def test_files_of_both_programs_are_found_in_torchs_cache(name, files, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        GccError, match=r'inception are needed.*`weights=\{"inception": "FILE"\}`; download weights-inception-2015-12-05-6726825d\.pth'
    ):
        Inception(context())
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).symlink_to(files / "inception.pth")
    assert name in Inception(context()).protocol


def test_another_networks_file_is_refused(state, tmp_path):
    torch.save(state | {"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "a.pth")
    with pytest.raises(
        ArtifactError,
        match=r"does not fit Inception of torch-fidelity: fc\.weight is \(1000, 2048\), expected \(1008, 2048\)",
    ):
        Inception(context(inception=tmp_path / "a.pth"))
    save_file({"fc.weight": state["fc.weight"]}, tmp_path / "a.safetensors")
    with pytest.raises(ArtifactError, match=r"Conv2d_1a_3x3\.conv\.weight is missing"):
        Inception(context(inception=tmp_path / "a.safetensors"))


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_code_in_a_file_is_refused_and_not_run(state, tmp_path):
    mark = tmp_path / "ran"
    torch.save(state | {"fc.bias": Evil(mark)}, tmp_path / "evil.pth")
    with pytest.raises(ArtifactError, match="contains objects other than tensors"):
        Inception(context(inception=tmp_path / "evil.pth"))
    assert not mark.exists()


def test_nothing_is_downloaded_or_unpickled(files, monkeypatch):
    def refused(*_, **__):
        pytest.fail("torch was asked to load")

    for function in ("load", "hub.load_state_dict_from_url"):
        monkeypatch.setattr(f"torch.{function}", refused)
    monkeypatch.setattr(library, "load_state_dict_from_url", refused)
    Inception(context(inception=files / "inception.safetensors"))
    assert library.load_state_dict_from_url is refused
