"""The discriminators for any images against ones written by hand."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, leaky_relu

from gcc.errors import RecipeError
from gcc.models.discriminators import DCGANDiscriminator, UNetDiscriminator
from gcc.models.gate import ChannelGate, gates
from gcc.models.modules import on_meta
from gcc.registry import no_gate

GATE = partial(ChannelGate, tau=0.5)


def normalised(convolution):
    """Return a spectral-normed weight by its definition, for the stored singular vectors."""
    weight = convolution.parametrizations.weight.original
    stored = convolution.parametrizations.weight[0]
    return weight / (stored._u @ weight.flatten(1) @ stored._v)


def doubled(features):
    """Return features enlarged by two, bilinearly: each new row mixes the nearest old row and its neighbour 3 to 1."""
    for dim in (2, 3):
        size = features.shape[dim]
        index = torch.arange(size)
        before = features.index_select(dim, (index - 1).clamp(min=0))
        after = features.index_select(dim, (index + 1).clamp(max=size - 1))
        pairs = torch.stack([0.75 * features + 0.25 * before, 0.75 * features + 0.25 * after], dim + 1)
        features = pairs.flatten(dim, dim + 1)
    return features


def test_the_unet_by_hand_with_closed_channels():
    torch.manual_seed(0)
    network = UNetDiscriminator(4, 3, GATE).double().eval()
    for gate in gates(network).values():
        gate.alpha.data = torch.rand_like(gate.alpha)

    def layer(name, features, stride=1):
        convolution, gate, _ = network.get_submodule(name)
        weight, bias = (convolution.weight, convolution.bias) if name == "stem" else (normalised(convolution), None)
        mask = torch.tensor([float(alpha >= 0.5) for alpha in gate.alpha], dtype=torch.float64)
        return leaky_relu(mask[:, None, None] * conv2d(features, weight, bias, stride, 1), 0.2)

    image = torch.randn(2, 4, 16, 24, dtype=torch.float64)
    level0 = layer("stem", image)
    level1 = layer("down1", level0, 2)
    level2 = layer("down2", level1, 2)
    level3 = layer("down3", level2, 2)
    up = layer("up1", doubled(level3)) + level2
    up = layer("up2", doubled(up)) + level1
    up = layer("up3", doubled(up)) + level0
    expected = conv2d(layer("conv2", layer("conv1", up)), network.logits.weight, network.logits.bias, 1, 1)
    logits = network(image)
    assert logits.shape == (2, 1, 16, 24)
    torch.testing.assert_close(logits, expected)


def test_the_widths_of_the_unet():
    weights = {name: tuple(tensor.shape) for name, tensor in UNetDiscriminator(3, 2, no_gate).named_parameters() if tensor.ndim == 4}
    assert list(weights.values()) == [
        (2, 3, 3, 3), (4, 2, 4, 4), (8, 4, 4, 4), (16, 8, 4, 4), (8, 16, 3, 3), (4, 8, 3, 3), (2, 4, 3, 3),
        (2, 2, 3, 3), (2, 2, 3, 3), (1, 2, 3, 3),
    ]  # fmt: skip


def test_the_unet_takes_sizes_that_are_not_multiples_of_eight():
    assert UNetDiscriminator(3, 2, no_gate)(torch.randn(1, 3, 13, 22)).shape == (1, 1, 13, 22)


@pytest.mark.parametrize(("size", "levels"), [(8, 1), (16, 2), (32, 3)])
def test_dcgan_by_hand(size, levels):
    torch.manual_seed(0)
    network = DCGANDiscriminator(2, size, 3, no_gate).double()
    features = image = torch.randn(2, 2, size, size, dtype=torch.float64)
    for level in range(1, levels + 1):
        convolution, norm = network.get_submodule(f"conv{level}")[:2]
        assert convolution.weight.shape[0] == 3 * 2 ** (level - 1) and (convolution.bias is None) == (level > 1)
        features = conv2d(features, convolution.weight, convolution.bias, 2, 1)
        if level > 1:
            features = batch_norm(features, None, None, norm.weight, norm.bias, training=True)
        features = leaky_relu(features, 0.2)
    assert features.shape[2:] == (4, 4)
    expected = (features[:, None] * network.head.weight).sum((2, 3, 4)) + network.head.bias
    logits = network(image)
    assert logits.shape == (2, 1, 1, 1)
    torch.testing.assert_close(logits.flatten(1), expected)


@pytest.mark.parametrize(
    ("size", "nearest"), [(96, "64 or 128"), (9, "8 or 16"), (4, "8"), (7, "8"), (0, "8"), (-8, "8"), (255, "128 or 256"), (12, "8 or 16")]
)
def test_dcgan_refuses_other_sizes(size, nearest):
    with pytest.raises(RecipeError, match=f"size = {size}: .* power of two from 8 up, such as {nearest}$"):
        DCGANDiscriminator(3, size, 2, no_gate)


@pytest.mark.parametrize("build", [partial(UNetDiscriminator, 3, 4), partial(DCGANDiscriminator, 3, 32, 4)])
def test_every_convolution_except_the_last_is_gated(build):
    network = on_meta(lambda: build(GATE))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [gate.alpha.numel() for gate in gates(network).values()] == [convolution.out_channels for convolution in convolutions[:-1]]
    assert convolutions[-1].out_channels == 1
    plain = on_meta(lambda: build(no_gate))
    assert {path for path, _ in network.named_modules()} == {path for path, _ in plain.named_modules()}
    assert network(torch.empty(2, 3, 32, 32, device="meta")).shape[:2] == (2, 1)
