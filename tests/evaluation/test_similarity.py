"""LPIPS against its authors' package as they load it, SSIM against loops."""

import math
import sys
import warnings

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from gcc.errors import ArtifactError, DataError, GccError
from gcc.evaluation.similarity import LPIPS, SSIM
from tests.helpers.evaluators import context, figure, judged, streets


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A folder like torch's cache with AlexNet's weights, random ones."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("torch")
    (folder / "checkpoints").mkdir()
    state = torchvision.models.alexnet(weights=None).state_dict()
    for name in ("classifier.1.weight", "classifier.4.weight"):  # what LPIPS does not read takes no disk
        state[name] = torch.zeros(()).expand(state[name].shape)
    torch.save(state, folder / "checkpoints" / "alexnet-owt-7be5be79.pth")
    save_file({name: tensor for name, tensor in state.items() if "features" in name}, folder / "alexnet.safetensors")
    return folder


def test_lpips_is_what_its_package_says_with_the_same_weights(alexnet, monkeypatch):
    import lpips

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(alexnet))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net="alex", verbose=False)
    photos = streets(4)
    made, real = photos[:2], photos[2:]
    with torch.no_grad():
        expected = theirs(made, real).flatten()
        for evaluator in (LPIPS(context()), LPIPS(context(alexnet=alexnet / "alexnet.safetensors"))):
            found = evaluator.compare(judged(made, real))
            assert found.equal(expected) and found.shape == (2,) and (found > 0).all()
            assert evaluator.compare(judged(real, real)).tolist() == [0, 0]
            noise = 0.3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
            worse = [figure(evaluator, judged(real + deviation * noise, real)) for deviation in (0.1, 0.5, 1)]
            assert worse == sorted(worse)
    assert "version 0.1, AlexNet alexnet.safetensors (sha256 " in evaluator.protocol


def test_lpips_leaves_random_numbers_alone(alexnet):
    before = torch.get_rng_state()
    LPIPS(context(alexnet=alexnet / "alexnet.safetensors"))
    assert torch.get_rng_state().equal(before)


def test_weights_of_alexnet_that_are_missing_or_anothers(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(GccError, match=r"alexnet are needed.*--weights alexnet=FILE; torchvision fetches them"):
        LPIPS(context())
    torch.save(torchvision.models.vgg11(weights=None).features.state_dict(), tmp_path / "vgg.pth")
    with pytest.raises(
        ArtifactError, match=r"no alexnet of torchvision: it lacks features\.0\.weight, expected of shape \(64, 3, 11, 11\)"
    ):
        LPIPS(context(alexnet=tmp_path / "vgg.pth"))


def naive_ssim(made, real):
    """Return the mean over channels and places of SSIM of images (3, H, W) in [0, 1]."""
    window = [[math.exp(-((x - 5) ** 2 + (y - 5) ** 2) / (2 * 1.5**2)) for x in range(11)] for y in range(11)]
    total, found = sum(map(sum, window)), []
    for one, other in zip(made.tolist(), real.tolist(), strict=True):
        for top in range(len(one) - 10):
            for left in range(len(one[0]) - 10):
                at = [(window[y][x] / total, one[top + y][left + x], other[top + y][left + x]) for y in range(11) for x in range(11)]
                a, b = sum(w * m for w, m, _ in at), sum(w * r for w, _, r in at)
                aa, bb = sum(w * (m - a) ** 2 for w, m, _ in at), sum(w * (r - b) ** 2 for w, _, r in at)
                ab = sum(w * (m - a) * (r - b) for w, m, r in at)
                found.append((2 * a * b + 1e-4) * (2 * ab + 9e-4) / ((a * a + b * b + 1e-4) * (aa + bb + 9e-4)))
    return sum(found) / len(found)


def test_ssim_is_the_mean_where_the_window_fits():
    random = torch.Generator().manual_seed(0)
    real = torch.rand(2, 3, 14, 17, generator=random) * 2 - 1
    made = (real + 0.4 * torch.randn(real.shape, generator=random)).clamp(-1, 1)
    expected = [naive_ssim((m + 1) / 2, (r + 1) / 2) for m, r in zip(made.double(), real.double(), strict=True)]
    assert SSIM(context()).compare(judged(made, real)).tolist() == pytest.approx(expected, rel=1e-10)
    assert figure(SSIM(context()), judged(made[:1], real[:1]), judged(made[1:], real[1:])) == pytest.approx(sum(expected) / 2)


def test_ssim_falls_with_noise_from_one():
    photos = streets(3)
    noise = torch.randn(photos.shape, generator=torch.Generator().manual_seed(0))
    falling = [figure(SSIM(context()), judged(photos + deviation * noise, photos)) for deviation in (0, 0.1, 0.3, 1)]
    assert falling[0] == pytest.approx(1) and falling == sorted(falling, reverse=True)


def test_small_images(alexnet):
    for evaluator, least in ((SSIM(context()), 11), (LPIPS(context(alexnet=alexnet / "alexnet.safetensors")), 31)):
        assert evaluator.compare(judged(torch.rand(2, 3, least, least))).isfinite().all()
        with pytest.raises(DataError, match=f"40x{least - 1} pixels is too small for .*: expected at least {least}x{least}"):
            evaluator.compare(judged(torch.rand(2, 3, least - 1, 40)))


@pytest.mark.parametrize(("kind", "package"), [(SSIM, "torchmetrics"), (LPIPS, "lpips")])
def test_a_missing_package_is_named_with_the_extra(kind, package, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(GccError, match=rf"{kind.__name__.lower()} needs {package}: pip install 'gan-gcc\[eval\]'"):
        kind(context())
