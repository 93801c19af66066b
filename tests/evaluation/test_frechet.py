"""FID and KID against formulas written out, against torchmetrics, and on images that get worse."""

import math
import sys

import numpy as np
import pytest
import scipy
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from gcc.errors import DataError, GccError
from gcc.evaluation import frechet
from gcc.evaluation.frechet import FID, KID, FDEffNetLite0
from tests.helpers.evaluators import context, eval_sample, streets


def features(seed, count, width, shift=0.0):
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(count, width)) @ np.random.default_rng(9).normal(size=(width, width)) / math.sqrt(width)
    return torch.from_numpy(mixed + shift).float()


def by_square_roots(fake, real):
    """Return the Fréchet distance with a matrix square root, in the symmetric form, which also fits singular covariances."""
    (m1, c1), (m2, c2) = ((f.mean(0), np.cov(f, rowvar=False)) for f in (fake.double().numpy(), real.double().numpy()))
    values, vectors = scipy.linalg.eigh(c1)
    root = vectors @ np.diag(np.sqrt(values.clip(min=0))) @ vectors.T
    crossed = scipy.linalg.eigvalsh(root @ c2 @ root).clip(min=0)
    return ((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * np.sqrt(crossed).sum()


@pytest.mark.parametrize("kind", [FID, FDEffNetLite0])
@pytest.mark.parametrize(("fake", "real", "width"), [(80, 60, 12), (10, 7, 32)])
def test_frechet_distance(kind, fake, real, width):
    one, other = features(0, fake, width, shift=0.5), features(1, real, width)
    assert kind(context()).distance(one, other) == pytest.approx(by_square_roots(one, other), rel=1e-6)


def test_fid_by_scipys_square_root():
    one, other = features(0, 90, 10), features(1, 70, 10, shift=0.2)
    covariances = [np.cov(f.double().numpy(), rowvar=False) for f in (one, other)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    means = (one.double().mean(0) - other.double().mean(0)).square().sum().item()
    assert FID(context()).distance(one, other) == pytest.approx(means + np.trace(covariances[0] + covariances[1] - 2 * root), rel=1e-8)


def test_fid_is_torchmetrics_on_the_same_features():
    class Pooled(torch.nn.Module):
        num_features = 12

        def forward(self, images):
            return torch.nn.functional.adaptive_avg_pool2d(images.double(), 2).flatten(1)

    photos = streets(60, 32)
    fake, real = (((images + 1) * 127.5).round().to(torch.uint8) for images in (photos[:30].flip(2), photos[30:]))
    second = FrechetInceptionDistance(Pooled(), input_img_size=(3, 32, 32)).set_dtype(torch.float64)
    second.update(real, real=True)
    second.update(fake, real=False)
    expected = second.compute().item()
    assert expected > 10
    assert FID(context()).distance(Pooled()(fake), Pooled()(real)) == pytest.approx(expected, rel=1e-4)


def test_features_in_float32_lose_no_digits():
    # Means far from zero, whose squares hide the covariances in float32.
    one, other = features(0, 500, 4, shift=1000), features(1, 500, 4, shift=1000)
    assert FID(context()).distance(one, other) == pytest.approx(by_square_roots(one, other), rel=1e-6)


def test_equal_sets_have_no_distance():
    one = features(0, 50, 8)
    assert FID(context()).distance(one, one) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_rounding_takes_no_distance_below_zero(seed):
    features = torch.randn(12, 40, generator=torch.Generator().manual_seed(seed))
    assert 0 <= FID(context()).distance(features, features.flip(0)) < 1e-3


def unbiased_mmd(fake, real):
    """Return the unbiased squared MMD of the cubic kernel by loops."""

    def kernel(a, b):
        return (sum(x * y for x, y in zip(a, b, strict=True)) / len(a) + 1) ** 3

    fake, real = fake.double().tolist(), real.double().tolist()
    m, n = len(fake), len(real)
    within_fake = sum(kernel(a, b) for i, a in enumerate(fake) for j, b in enumerate(fake) if i != j) / (m * (m - 1))
    within_real = sum(kernel(a, b) for i, a in enumerate(real) for j, b in enumerate(real) if i != j) / (n * (n - 1))
    return within_fake + within_real - 2 * sum(kernel(a, b) for a in fake for b in real) / (m * n)


def test_kid_of_few_images_takes_them_all():
    one, other = features(0, 20, 6, shift=0.3), features(1, 20, 6)
    assert KID(context()).distance(one, other) == pytest.approx(unbiased_mmd(one, other), rel=1e-9)


@pytest.mark.parametrize(("fake", "real"), [(24, 20), (20, 24)])
def test_kid_takes_as_many_as_the_smaller_set_has(fake, real):
    one, other = features(0, fake, 6, shift=0.5), features(1, real, 6)
    assert KID(context()).distance(one, other) == pytest.approx(unbiased_mmd(one, other), rel=0.05)


def test_kid_of_many_images_is_a_mean_over_subsets(monkeypatch):
    monkeypatch.setattr(frechet, "SUBSET", 15)
    monkeypatch.setattr(frechet, "SUBSETS", 400)
    one, other = features(0, 40, 6, shift=0.5), features(1, 30, 6)
    evaluator = KID(context())
    assert evaluator.distance(one, other) == pytest.approx(unbiased_mmd(one, other), rel=0.05)
    assert "mean of 400 subsets of 15 images, or as many as there are" in evaluator.protocol


def test_metrics_are_the_same_each_time_and_leave_random_numbers_alone(monkeypatch):
    monkeypatch.setattr(frechet, "SUBSETS", 3)
    one, other = features(0, 1100, 4), features(1, 1050, 4)
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    for kind in (FID, KID):
        evaluator = kind(context())
        assert evaluator.distance(one, other) == evaluator.distance(one, other)
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before  # noqa: NPY002


@pytest.mark.parametrize("kind", [FID, KID, FDEffNetLite0])
def test_a_single_image_is_refused(kind):
    with pytest.raises(DataError, match=f"{kind.name} compares sets of images: expected 2 or more of each, got 1 fake and 5 real"):
        kind(context()).check(eval_sample(torch.zeros(1, 3, 8, 8)), 1, 5)


@pytest.mark.parametrize("kind", [FID, KID, FDEffNetLite0])
def test_a_missing_package_is_named_with_the_extra(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(GccError, match=rf"{kind.name} needs torch-fidelity: pip install 'gan-gcc\[eval\]'"):
        kind(context())


@pytest.mark.slow
def test_the_distance_grows_with_noise():
    evaluator = FDEffNetLite0(context())
    extract = evaluator.extractor(context())
    photos = streets(16)
    random = torch.Generator().manual_seed(0)

    def features_of(images):
        with torch.no_grad():
            return extract(((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))

    real = features_of(photos[8:])
    noise = torch.randn(photos[:8].shape, generator=random)
    fake = [features_of(photos[:8] + deviation * noise) for deviation in (0, 0.15, 0.6)]
    distances = [evaluator.distance(images, real) for images in fake]
    assert distances == sorted(distances) and distances[-1] > 2 * distances[0]
    kids = [KID(context()).distance(images, real) for images in fake]
    assert kids == sorted(kids) and abs(kids[0]) < 0.2 * kids[1]
