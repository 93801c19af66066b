"""Networks that are compiled compute what they compute as they are."""

import copy

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gcc.models.gate import ChannelGate
from gcc.training.micro_batch import MicroBatched, keep_features
from gcc.training.precision import ExecutionConfig
from gcc.utils.backend import compiler_limits


def network():
    torch.manual_seed(5)
    gate = ChannelGate(6, 0.1)
    gate.alpha.data[::2] = 0
    return nn.Sequential(spectral_norm(nn.Conv2d(3, 6, 3)), nn.BatchNorm2d(6), gate, nn.Dropout(0.5), nn.Conv2d(6, 2, 3))


def passes(inner, execution):
    """Return all that is left by two passes, in which other parameters move and which are each walked back twice."""
    called = MicroBatched(inner, execution, {"2": inner[2]})
    left = []
    for moving in ("4.weight", "2.alpha"):
        for name, parameter in inner.named_parameters():
            parameter.requires_grad_(name.startswith(moving))
        images = torch.rand(4, 3, 9, 9, generator=torch.Generator().manual_seed(1), requires_grad=True)
        torch.manual_seed(3)
        with keep_features({"D": called}) as features:
            made = called(images)
        losses = made.square().mean(), features["D"]["2"].sin().mean()
        for loss in losses:
            loss.backward(retain_graph=True)
        left += [made, features["D"]["2"], images.grad, *(parameter.grad for parameter in inner.parameters() if parameter.grad is not None)]
    assert called.taps.features is None
    return [value.detach().clone() for value in (*left, *inner.buffers())]


def test_results_features_gradients_and_buffers_are_those_of_the_network_as_it_is():
    first, second = network(), network()
    expected = passes(first, ExecutionConfig(torch.device("cpu")))
    with compiler_limits():
        found = passes(second, ExecutionConfig(torch.device("cpu"), compile=True))
    assert len(found) == len(expected) > 10
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    # What is copied from a network that a player calls has nothing to do with the player.
    assert copy.deepcopy(second)(torch.rand(1, 3, 9, 9)).shape == (1, 2, 5, 5)
