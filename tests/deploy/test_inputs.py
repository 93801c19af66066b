"""The inputs that a generator accepts are found by trying shapes."""

import pytest
import torch
from torch import nn

from gcc import Teacher
from gcc.deploy.inputs import accepted_inputs
from gcc.registry import Inputs
from tests.helpers.families import TINY

EXPECTED = {
    "pix2pix": "Nx3xHxW, H and W multiples of 32 from 32 up",
    "cyclegan": "Nx3xHxW, H and W multiples of 4 from 8 up",
    "sagan": "Nx128",
    "srgan": "Nx3xHxW, H and W any from 1 up",
}


def inputs(arch, **widths):
    architecture = Teacher.create(arch).demo_architecture(TINY[arch])
    network = architecture.build_generator(architecture.full_widths(4) | widths)
    return network.eval(), accepted_inputs(network, architecture.example_input())


@pytest.mark.parametrize("arch", sorted(TINY))
def test_the_inputs_of_every_family(arch):
    assert str(inputs(arch)[1]) == EXPECTED[arch]


@pytest.mark.parametrize("arch", sorted(TINY))
def test_trial_inputs_run(arch):
    network, accepted = inputs(arch)
    shapes = list(accepted.probe_shapes())
    assert shapes[0] == (1, *accepted.shape) and len(shapes) == len(set(shapes)) and {shape[0] for shape in shapes} >= {1, 3}
    with torch.no_grad():
        assert all(network(torch.zeros(shape)).shape[0] == shape[0] for shape in shapes)


def test_a_unet_that_has_lost_levels_takes_more_sizes():
    assert inputs("pix2pix", down4=0, down5=0, up4=0, up5=0)[1].step == 8


def test_a_network_for_a_single_size():
    assert accepted_inputs(nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.Unflatten(1, (3, 1, 1))), torch.zeros(1, 3, 4, 4)) == Inputs(
        (3, 4, 4)
    )


def test_sizes_that_would_be_cropped_are_not_accepted():
    # It runs at odd sizes, but loses a row.
    assert accepted_inputs(nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)), torch.zeros(1, 3, 8, 8)).step == 2
