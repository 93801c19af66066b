"""Batch norm over several ranks, against batch norm of the joint batch."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from gcc.errors import GccError
from gcc.models.gate import ChannelGate, gates
from gcc.models.gate_insertion import with_gates
from gcc.training.sync_batchnorm import JointBatchNorm2d, synchronised
from gcc.utils.distributed import SINGLE_PROCESS
from tests.helpers.processes import together


@pytest.mark.slow
def test_two_ranks_normalise_like_one_with_the_joint_batch_also_in_the_gradients_of_a_gradient_penalty(tmp_path):
    shares = [load_file(folder / "norm.safetensors") for folder in together(2, "norms", tmp_path)]
    images, weights = torch.rand(2, 8, 4, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    norm = nn.BatchNorm2d(4, momentum=0.3).double()
    for _ in range(2):
        images = images.detach().requires_grad_()
        output = norm(images)
        score = (output * weights).square().mean()
        (gradient,) = torch.autograd.grad(score, images, create_graph=True)
        norm.zero_grad()
        (score + gradient.square().sum()).backward()
    expected = {name: parameter.grad for name, parameter in norm.named_parameters()} | dict(norm.named_buffers())
    for name, value in expected.items():
        assert torch.equal(shares[0][name], shares[1][name])
        assert torch.allclose(shares[0][name], value, rtol=1e-10), name
    assert torch.allclose(torch.cat([share["output"] for share in shares]), output, rtol=1e-10)
    assert torch.allclose(torch.cat([share["images"] for share in shares]), images.grad, rtol=1e-9, atol=1e-15)


def test_a_network_keeps_its_parameters_and_evaluates_as_before():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4, affine=False)))
    names, parameters, image = list(network.state_dict()), list(network.parameters()), torch.randn(2, 3, 8, 8)
    before = network.eval()(image)
    assert synchronised(network, SINGLE_PROCESS) is network
    assert list(network.state_dict()) == names and all(new is old for new, old in zip(network.parameters(), parameters, strict=True))
    assert isinstance(network[1], JointBatchNorm2d) and isinstance(network[2][0], nn.BatchNorm2d) and not network[1].training
    assert torch.equal(network(image), before)


def test_other_batch_norms_are_refused():
    with pytest.raises(GccError, match="BatchNorm1d cannot be shared by several processes: expected BatchNorm2d"):
        synchronised(nn.Sequential(nn.BatchNorm1d(3)), SINGLE_PROCESS)


def test_a_gate_that_a_norm_calls_stays():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3))
    images = torch.randn(2, 3, 8, 8)
    gated = with_gates(network, images[:1], lambda channels: ChannelGate(channels, 0.5)).eval()
    with torch.no_grad():
        gates(gated)["1.gate"].alpha[:2] = 0
        expected = copy.deepcopy(gated)(images)
        joint = synchronised(gated, SINGLE_PROCESS)
        assert gates(joint).keys() == {"1.gate"}
        torch.testing.assert_close(joint(images), expected)
