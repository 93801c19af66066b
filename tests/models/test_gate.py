"""Eq. 3 and 4 against loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gcc.models.gate import ChannelGate, gates
from gcc.models.layers import PatchDiscriminator
from gcc.registry import ARCHITECTURES, no_gate


def gate_with(alpha, tau, dtype=torch.float32):
    gate = ChannelGate(len(alpha), tau).to(dtype)
    gate.alpha.data = torch.tensor(alpha, dtype=dtype)
    return gate


def test_factors_start_at_one():
    gate = ChannelGate(5, 0.5)
    assert gate.alpha.tolist() == [1.0] * 5
    assert isinstance(gate.alpha, nn.Parameter) and gate.alpha.dtype == torch.float32


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=6), st.floats(0, 1, width=32), st.integers(0, 10**6))
def test_forward_is_eq_3(alpha, tau, seed):
    features = torch.randn(2, len(alpha), 2, 3, generator=torch.Generator().manual_seed(seed))
    gate = gate_with(alpha, tau)
    got = gate(features)
    for i, a in enumerate(alpha):
        expected = features[:, i] if a >= tau else torch.zeros_like(features[:, i])
        assert torch.equal(got[:, i], expected)
    assert gate.open().tolist() == [a >= tau for a in alpha]


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.3, 1.0, 0.0])
def test_channel_is_on_at_the_threshold(tau):
    # The nearest float32 to tau counts as tau, though 0.1 and 0.3 are not exact in it.
    below = torch.nextafter(torch.tensor(tau), torch.tensor(-1.0)).item()
    gate = gate_with([tau, below], tau)
    assert gate.open().tolist() == [True, False]
    assert gate(torch.ones(1, 2, 1, 1)).flatten().tolist() == [1.0, 0.0]


def test_gradient_is_eq_4_for_open_and_closed_channels():
    torch.manual_seed(0)
    n, c, h, w = 3, 4, 2, 5
    alpha, tau = [0.9, 0.2, 0.5, 0.0], 0.5
    gate = gate_with(alpha, tau, torch.float64)
    features = torch.randn(n, c, h, w, dtype=torch.float64, requires_grad=True)
    slopes = torch.randn(n, c, h, w, dtype=torch.float64)
    (gate(features) * slopes).sum().backward()
    for i in range(c):
        expected = sum(slopes[b, i, y, x].item() * features[b, i, y, x].item() for b in range(n) for y in range(h) for x in range(w))
        assert gate.alpha.grad[i].item() == pytest.approx(expected, rel=1e-12)
        open_ = alpha[i] >= tau
        assert torch.equal(features.grad[:, i], slopes[:, i] if open_ else torch.zeros_like(slopes[:, i]))


def test_gradient_of_a_nonlinear_loss_uses_the_gated_output():
    # L = sum of squares: dL/dO^ = 2 O^, so a closed channel, where O^ = 0, gets exactly zero here.
    gate = gate_with([1.0, 0.1], 0.5, torch.float64)
    features = torch.randn(2, 2, 3, 3, dtype=torch.float64)
    gate(features).square().sum().backward()
    assert gate.alpha.grad[0].item() == pytest.approx(2 * features[:, 0].square().sum().item())
    assert gate.alpha.grad[1].item() == 0


def test_closed_channel_can_reopen():
    gate = gate_with([0.2], 0.5)
    optimizer = torch.optim.SGD(gate.parameters(), lr=0.5)
    (-gate(torch.ones(1, 1, 1, 1)).sum()).backward()
    optimizer.step()
    assert gate.open().item() and gate.alpha.item() == pytest.approx(0.7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_all_ones_change_nothing_bit_for_bit(dtype):
    features = torch.tensor([0.0, -0.0, 1e-40, -3.14159, 65504.0, 1 / 3, float("inf"), -1e-7]).to(dtype).view(1, 8, 1, 1)
    got = ChannelGate(8, 0.5)(features)
    assert got.dtype == dtype
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[features.element_size()]
    assert torch.equal(got.detach().view(bits), features.view(bits))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8), st.floats(0, 1))
def test_mask_is_never_fractional(alpha, tau):
    got = gate_with(alpha, tau)(torch.ones(1, len(alpha), 1, 1))
    assert set(got.flatten().tolist()) <= {0.0, 1.0}


def test_gates_of_a_discriminator_stand_after_the_norm_and_before_the_activation():
    network = PatchDiscriminator(6, 4, "batch", lambda channels: ChannelGate(channels, 0.5))
    found = gates(network)
    assert [(path, gate.alpha.numel()) for path, gate in found.items()] == [
        ("conv1.2", 4), ("conv2.2", 8), ("conv3.2", 16), ("conv4.2", 32),
    ]  # fmt: skip
    for path in found:
        block = network.get_submodule(path.partition(".")[0])
        assert [type(layer).__name__ for layer in block][2:] == ["ChannelGate", "LeakyReLU"]
        assert type(block[1]).__name__ == ("Identity" if path.startswith("conv1") else "BatchNorm2d")
    assert gates(PatchDiscriminator(6, 4, "batch", no_gate)) == {}


def test_the_gradient_of_half_precision_features_is_summed_in_float32():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 64, 64).to(torch.bfloat16)
    slope = torch.randn(2, 3, 64, 64).to(torch.bfloat16)
    gate = ChannelGate(3, 0.5)
    gate(features).backward(slope)
    exact = (features.double() * slope.double()).sum((0, 2, 3))
    torch.testing.assert_close(gate.alpha.grad.double(), exact, rtol=1e-4, atol=1e-3)


def test_the_gate_can_be_differentiated_twice_as_gradient_penalties_do():
    gate = ChannelGate(3, 0.5).double()
    with torch.no_grad():
        gate.alpha[1] = 0.2
    features = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(gate(features).pow(3).sum(), features, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), features)
    mask = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(curve, 6 * features * mask)


@pytest.mark.parametrize(("arch", "convolutions", "gated"), [("pix2pix", 5, 4), ("cyclegan", 5, 4), ("sagan", 5, 4), ("srgan", 4, 4)])
def test_every_convolution_is_gated_except_one_that_gives_the_logits(arch, convolutions, gated):
    family = ARCHITECTURES.load(arch)
    with torch.device("meta"):
        network = family(family.published()).build_discriminator(lambda channels: ChannelGate(channels, 0.5))
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)]
    assert len(layers) == convolutions
    assert [gate.alpha.numel() for gate in gates(network).values()] == [layer.out_channels for layer in layers[:gated]]
    assert all(layer.out_channels == 1 for layer in layers[gated:])
