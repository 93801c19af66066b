"""Compiled networks compute the same as uncompiled ones."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gcc.losses.distillation import stored_features
from gcc.models.gate import ChannelGate
from gcc.training.micro_batch import MicroBatched
from gcc.training.precision import ExecutionConfig
from gcc.utils.backend import compiler_limits


def network():
    torch.manual_seed(5)
    gate = ChannelGate(6, 0.1)
    gate.alpha.data[::2] = 0
    return nn.Sequential(spectral_norm(nn.Conv2d(3, 6, 3)), nn.BatchNorm2d(6), gate, nn.Dropout(0.5), nn.Conv2d(6, 2, 3))


def passes(inner, execution):
    """Return all results of two passes, which train different parameters and run backward twice each."""
    wrapped = MicroBatched(inner, execution, {"2": inner[2]})
    results = []
    for trained in ("4.weight", "2.alpha"):
        for name, parameter in inner.named_parameters():
            parameter.requires_grad_(name.startswith(trained))
        images = torch.rand(4, 3, 9, 9, generator=torch.Generator().manual_seed(1), requires_grad=True)
        torch.manual_seed(3)
        with stored_features({"D": wrapped.taps}) as features:
            output = wrapped(images)
        losses = output.square().mean(), features["D"]["2"].sin().mean()
        for loss in losses:
            loss.backward(retain_graph=True)
        results += [
            output,
            features["D"]["2"],
            images.grad,
            *(parameter.grad for parameter in inner.parameters() if parameter.grad is not None),
        ]
    assert wrapped.taps.features is None
    return [value.detach().clone() for value in (*results, *inner.buffers())]


@pytest.mark.slow
# The compiler of torch 2.11 uses parts of torch that are deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
# Torch's compiler looks at the gradients of everything that it is given.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_outputs_features_gradients_and_buffers_are_those_of_the_uncompiled_network():
    first, second = network(), network()
    expected = passes(first, ExecutionConfig(torch.device("cpu")))
    with compiler_limits():
        actual = passes(second, ExecutionConfig(torch.device("cpu"), compile=True))
    assert len(actual) == len(expected) > 10
    for value, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-6)
    # A copy of a wrapped network is independent of the wrapper.
    assert copy.deepcopy(second)(torch.rand(1, 3, 9, 9)).shape == (1, 2, 5, 5)
