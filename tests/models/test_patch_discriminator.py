"""The PatchGAN against one written by hand, and the initialisation."""

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, instance_norm, leaky_relu

from gcc.models.gate import ChannelGate
from gcc.models.layers import PatchDiscriminator, initialise_normal
from gcc.registry import no_gate


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("size", [32, 64])
def test_forward_is_the_70x70_patchgan(norm, size):
    torch.manual_seed(0)
    network = PatchDiscriminator(6, 3, norm, no_gate)
    image = torch.randn(2, 6, size, size)
    weights = [p for p in network.parameters() if p.ndim == 4]
    assert [tuple(w.shape) for w in weights] == [(3, 6, 4, 4), (6, 3, 4, 4), (12, 6, 4, 4), (24, 12, 4, 4), (1, 24, 4, 4)]
    x = image
    for number, (weight, stride) in enumerate(zip(weights, (2, 2, 2, 1, 1), strict=True), start=1):
        block = network.get_submodule(f"conv{number}")
        conv = block if number == 5 else block[0]
        # As in the original: the norm's shift replaces the bias, where the norm has one.
        assert (conv.bias is None) == (norm == "batch" and 1 < number < 5)
        x = conv2d(x, weight, conv.bias, stride, 1)
        if 1 < number < 5:
            x = batch_norm(x, None, None, block[1].weight, block[1].bias, training=True) if norm == "batch" else instance_norm(x)
        if number < 5:
            x = leaky_relu(x, 0.2)
    got = network(image)
    assert got.shape == (2, 1, size // 8 - 2, size // 8 - 2)
    torch.testing.assert_close(got, x)


def test_open_gates_change_nothing_bit_for_bit():
    plain = PatchDiscriminator(6, 4, "batch", no_gate)
    gated = PatchDiscriminator(6, 4, "batch", lambda channels: ChannelGate(channels, 0.5))
    gated.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(2, 6, 32, 32)
    assert torch.equal(plain(image), gated(image))
    assert {name for name, _ in plain.named_modules()} == {name for name, _ in gated.named_modules()}


def test_initialise_normal_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(64, 64, 4), nn.BatchNorm2d(4000), nn.ConvTranspose2d(64, 64, 4), nn.Linear(300, 300), nn.InstanceNorm2d(3)
    )
    initialise_normal(network)
    for layer in (network[0], network[2], network[3]):
        assert layer.weight.mean().item() == pytest.approx(0, abs=3e-4)
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert not layer.bias.any()
    assert network[1].weight.mean().item() == pytest.approx(1, abs=2e-3)
    assert network[1].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not network[1].bias.any()
