"""Moving averages of networks, against loops in float64."""

import pytest
import torch
from torch import nn

from gcc.training.moving_average import MovingAverage


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_average_moves_as_the_formula_says(decay):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    average = MovingAverage(network, decay)
    expected = {name: value.double() for name, value in network.state_dict().items()}
    for step in range(1, 30):
        network(torch.randn(2, 2, 4, 4))  # changes the running statistics
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += torch.randn_like(parameter)
        average.update(network)
        kept = min(decay, step / (step + 9))
        for name, value in network.state_dict().items():
            expected[name] = kept * expected[name] + (1 - kept) * value.double() if value.is_floating_point() else value.double()
    for name, value in average.network.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert int(average.network[1].num_batches_tracked) == 29


def test_average_stays_apart_from_the_network():
    network = nn.Linear(2, 2)
    average = MovingAverage(network, 0.9)
    with torch.no_grad():
        network.weight += 1
    assert not torch.equal(average.network.weight, network.weight)
    assert not average.network.training and network.training
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_vectors_of_spectral_norm_are_copied_and_stay_unit_vectors():
    torch.manual_seed(0)
    network = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    average = MovingAverage(network, 0.9)
    for _ in range(5):
        with torch.no_grad():
            network.parametrizations.weight.original.add_(torch.randn(3, 4))
        network(torch.randn(2, 4))  # turns the vectors
        average.update(network)
    buffers = dict(network.named_buffers())
    assert buffers and all(torch.equal(copied, buffers[name]) for name, copied in average.network.named_buffers())


class Counts(nn.Linear):
    """Assigns a new tensor to its buffer in every forward pass."""

    def __init__(self):
        super().__init__(2, 2)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes = self.passes + 1
        return super().forward(x)


def test_buffers_that_a_network_replaces_are_followed():
    network = Counts()
    average = MovingAverage(network, 0.9)
    for number in range(1, 4):
        network(torch.zeros(1, 2))
        average.update(network)
        assert average.network.passes == number
