"""The metric fulfils its contract, agrees with a naive calculation, and prunes from end to end."""

import pytest
import torch
from gcc_fpgm import GeometricMedian
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from gcc import Compressor, Teacher
from gcc.registry import Group
from gcc.registry.types import Producer
from gcc.testing import check_metric


def test_contract():
    check_metric("fpgm")


class Two(nn.Module):
    """A convolution and a transposed one that make the same four channels, and one that makes eight for a pixel shuffle."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other, self.shuffled = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(5, 4, 2), nn.Conv2d(3, 8, 1)


def naive(filters):
    """Return ranks in (0, 1] by loops over lists of numbers."""
    sums = [sum(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 for other in filters) for one in filters]
    return [(1 + sum(value < mine for value in sums)) / len(sums) for mine in sums]


def test_one_layer():
    network = Two()
    group = Group("a", 4, 1, (Producer("one.weight", 0, 1),), ())
    expected = naive([network.one.weight[c].flatten().tolist() for c in range(4)])
    assert GeometricMedian().score(network, group).tolist() == pytest.approx(expected)


def test_layers_that_are_summed_are_one_filter():
    network = Two()
    group = Group("a", 4, 1, (Producer("one.weight", 0, 1), Producer("other.weight", 1, 1)), ())
    filters = [network.one.weight[c].flatten().tolist() + network.other.weight[:, c].flatten().tolist() for c in range(4)]
    assert GeometricMedian().score(network, group).tolist() == pytest.approx(naive(filters))


def test_consecutive_outputs_are_one_filter():
    network = Two()
    group = Group("a", 4, 1, (Producer("shuffled.weight", 0, 2),), ())
    filters = [network.shuffled.weight[2 * c : 2 * c + 2].flatten().tolist() for c in range(4)]
    assert GeometricMedian().score(network, group).tolist() == pytest.approx(naive(filters))


def test_the_effective_weight_counts():
    torch.manual_seed(0)
    network = weight_norm(nn.Conv2d(3, 6, 3))
    group = Group("a", 6, 1, (Producer("parametrizations.weight.original1", 0, 1),), ())
    with torch.no_grad():
        network.parametrizations.weight.original0.mul_(torch.rand(6, 1, 1, 1))
    expected = naive([network.weight[c].flatten().tolist() for c in range(6)])
    assert GeometricMedian().score(network, group).tolist() == pytest.approx(expected)
    with torch.no_grad():
        network.parametrizations.weight.original1.mul_(torch.rand(6, 1, 1, 1))
    assert GeometricMedian().score(network, group).tolist() == pytest.approx(expected)


def test_the_filter_in_the_middle_goes_first():
    network = nn.Conv2d(1, 5, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([-9.0, 3.0, 0.5, -2.0, 8.0]).view(5, 1, 1, 1))
    score = GeometricMedian().score(network, Group("a", 5, 1, (Producer("weight", 0, 1),), ()))
    assert score.argmin() == 2 and score.max() == 1


def test_compress():
    settings = {"size": 32, "ngf": 4, "prune_width": 4, "ndf": 4, "epochs": 1, "batch_size": 200, "budget": "40%"}
    run = Compressor(Teacher.create("pix2pix"), metric="fpgm", **settings)
    figures = run.run().measurements()["G"]
    assert figures["student"]["exact_macs"] <= 0.4 * figures["teacher"]["exact_macs"]
    full = run.architecture.full_widths(4)
    kept = [channels / full[name] for name, channels in run.widths["G"].items() if full[name] > 8]
    assert max(kept) - min(kept) < 0.2  # about the same share of every layer
