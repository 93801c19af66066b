"""SAGAN against independent calculations and the numbers that are known of it."""

import numpy as np
import pytest
import torch
from torch import nn

from gcc.errors import RecipeError
from gcc.models.layers import SelfAttention, spectral_norm
from gcc.models.sagan import SAGAN
from gcc.recipe import changed


def sagan(**settings):
    return SAGAN(changed(SAGAN.published(), settings))


def test_attention_is_the_papers():
    """Zhang et al. 2019, Eq. 1-4, position by position."""
    torch.manual_seed(0)
    layer = SelfAttention(16).double()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    features = torch.randn(2, 16, 3, 4, dtype=torch.float64)

    def at(convolution, n, place):
        column = features[n, :, place // 4, place % 4]
        return convolution.weight.view(convolution.weight.shape[:2]) @ column + convolution.bias

    expected = features.clone()
    for n in range(2):
        for j in range(12):
            scores = torch.stack([at(layer.key, n, i) @ at(layer.query, n, j) for i in range(12)])
            shares = scores.exp() / scores.exp().sum()
            made = sum(shares[i] * at(layer.value, n, i) for i in range(12))
            expected[n, :, j // 4, j % 4] += 0.7 * made
    torch.testing.assert_close(layer(features), expected)


def test_attention_starts_as_the_identity():
    features = torch.randn(1, 8, 4, 4)
    assert torch.equal(SelfAttention(8)(features), features)


@pytest.mark.parametrize(("kind", "dim"), [(nn.Conv2d, 0), (nn.ConvTranspose2d, 1)])
def test_spectral_norm_has_the_largest_singular_value_1(kind, dim):
    torch.manual_seed(0)
    layer = kind(5, 7, 3)
    original = layer.weight.detach().clone()
    normed = spectral_norm(layer)
    for _ in range(200):
        normed(torch.zeros(1, 5, 8, 8))
    matrix = normed.weight.detach().transpose(0, dim).flatten(1)
    assert torch.linalg.svdvals(matrix)[0] == pytest.approx(1, rel=1e-4)
    wanted = original / torch.linalg.svdvals(original.transpose(0, dim).flatten(1))[0]
    torch.testing.assert_close(normed.weight.detach(), wanted, rtol=1e-3, atol=1e-5)


def test_spectral_norm_is_computed_in_float32_under_autocast():
    layer = spectral_norm(nn.Conv2d(4, 4, 3))
    layer.eval()
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer.weight
    assert inside.dtype == torch.float32 and torch.equal(inside, layer.weight)


def test_power_iterations_are_no_parameters():
    network = sagan(size=32, ngf=4, ndf=4).build_discriminator()
    assert not any(name.endswith(("_u", "_v")) for name, _ in network.named_parameters())
    assert sum(name.endswith("_u") for name, _ in network.named_buffers()) == 3


@pytest.mark.parametrize(("size", "levels"), [(32, 3), (64, 4), (128, 5)])
def test_images_and_logits_have_their_shapes(size, levels):
    architecture = sagan(size=size, ngf=4, ndf=4)
    assert architecture.levels == levels
    generator, discriminator = architecture.build_generator(architecture.full_widths(4)), architecture.build_discriminator()
    made = generator(torch.randn(2, 128))
    assert made.shape == (2, 3, size, size) and made.abs().max() <= 1
    assert discriminator(made).shape == (2, 1, 1, 1)


def test_attention_lies_at_16_and_32_pixels():
    network = sagan().build_generator(sagan().full_widths(64))
    assert [path for path, module in network.named_modules() if isinstance(module, SelfAttention)] == ["attention3", "attention4"]


def test_noise_is_normal_and_depends_on_its_generator_alone():
    architecture = sagan(z_dim=5000)
    z = architecture.sample_z(np.random.default_rng(3))
    assert z.dtype == torch.float32 and z.mean().abs() < 0.1 and z.std() == pytest.approx(1, abs=0.05)
    assert torch.equal(z, architecture.sample_z(np.random.default_rng(3)))


@pytest.mark.parametrize(("settings", "says"), [({"size": 48}, "power of two"), ({"size": 16}, "from 32"), ({"z_dim": 0}, "z_dim")])
def test_bad_recipes_are_refused(settings, says):
    with pytest.raises(RecipeError, match=says):
        sagan(**settings)
