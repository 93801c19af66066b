"""LPIPS against its authors' package as they load it, SSIM against loops."""

import sys
import warnings

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from gcc.errors import ArtifactError, DataError, GccError
from gcc.evaluation.similarity import LPIPS, SSIM
from tests.helpers.evaluators import context, eval_sample, metric, streets
from tests.losses.test_ssim import ssim_by_loops


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A folder like torch's cache with AlexNet's weights, random ones."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("torch")
    (folder / "checkpoints").mkdir()
    state = torchvision.models.alexnet(weights=None).state_dict()
    for name in ("classifier.1.weight", "classifier.4.weight"):  # LPIPS does not read them: save disk space
        state[name] = torch.zeros(()).expand(state[name].shape)
    torch.save(state, folder / "checkpoints" / "alexnet-owt-7be5be79.pth")
    save_file({name: tensor for name, tensor in state.items() if "features" in name}, folder / "alexnet.safetensors")
    return folder


def test_lpips_equals_its_package_with_the_same_weights(alexnet, monkeypatch):
    import lpips

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(alexnet))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net="alex", verbose=False)
    photos = streets(4)
    fake, real = photos[:2], photos[2:]
    with torch.no_grad():
        expected = theirs(fake, real).flatten()
        for evaluator in (LPIPS(context()), LPIPS(context(alexnet=alexnet / "alexnet.safetensors"))):
            distances = evaluator.compare(eval_sample(fake, real))
            assert distances.equal(expected) and distances.shape == (2,) and (distances > 0).all()
            assert evaluator.compare(eval_sample(real, real)).tolist() == [0, 0]
            noise = 0.3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
            worse = [metric(evaluator, eval_sample(real + deviation * noise, real)) for deviation in (0.1, 0.5, 1)]
            assert worse == sorted(worse)
    assert "version 0.1, AlexNet alexnet.safetensors (sha256 " in evaluator.protocol


def test_lpips_leaves_random_numbers_alone(alexnet):
    before = torch.get_rng_state()
    LPIPS(context(alexnet=alexnet / "alexnet.safetensors"))
    assert torch.get_rng_state().equal(before)


def test_weights_of_alexnet_that_are_missing_or_of_another_network(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(GccError, match=r'alexnet are needed.*`weights=\{"alexnet": "FILE"\}`; torchvision fetches them'):
        LPIPS(context())
    torch.save(torchvision.models.vgg11(weights=None).features.state_dict(), tmp_path / "vgg.pth")
    with pytest.raises(
        ArtifactError, match=r"does not fit alexnet of torchvision: expected features\.0\.weight, .*but its tensors are 0\.weight"
    ):
        LPIPS(context(alexnet=tmp_path / "vgg.pth"))


def test_ssim_is_the_mean_where_the_window_fits():
    random = torch.Generator().manual_seed(0)
    real = torch.rand(2, 3, 14, 17, generator=random) * 2 - 1
    fake = (real + 0.4 * torch.randn(real.shape, generator=random)).clamp(-1, 1)
    expected = [ssim_by_loops(((f + 1) / 2).tolist(), ((r + 1) / 2).tolist(), 1) for f, r in zip(fake.double(), real.double(), strict=True)]
    assert SSIM(context()).compare(eval_sample(fake, real)).tolist() == pytest.approx(expected, rel=1e-10)
    assert metric(SSIM(context()), eval_sample(fake[:1], real[:1]), eval_sample(fake[1:], real[1:])) == pytest.approx(sum(expected) / 2)


def test_ssim_falls_with_noise_from_one():
    photos = streets(3)
    noise = torch.randn(photos.shape, generator=torch.Generator().manual_seed(0))
    falling = [metric(SSIM(context()), eval_sample(photos + deviation * noise, photos)) for deviation in (0, 0.1, 0.3, 1)]
    assert falling[0] == pytest.approx(1) and falling == sorted(falling, reverse=True)


def test_small_images(alexnet):
    for evaluator, least in ((SSIM(context()), 11), (LPIPS(context(alexnet=alexnet / "alexnet.safetensors")), 31)):
        assert evaluator.compare(eval_sample(torch.rand(2, 3, least, least))).isfinite().all()
        with pytest.raises(DataError, match=f"40x{least - 1} pixels is too small for .*: expected at least {least}x{least}"):
            evaluator.compare(eval_sample(torch.rand(2, 3, least - 1, 40)))


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(GccError, match=r"lpips needs lpips: pip install 'gan-gcc\[eval\]'"):
        LPIPS(context())
