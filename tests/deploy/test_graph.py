"""Torch's graph of a generator whose code writes weights."""

import warnings

import pytest
import torch
from torch import nn

from gcc.deploy.formats.graph import export_graph
from gcc.deploy.formats.onnx import ONNX
from gcc.deploy.inputs import accepted_inputs


class Merging(nn.Module):
    """Two convolutions, which each pass in evaluation mode merges into one, as SPAN's layers do."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 3, 3, padding=1, bias=False)
        self.merged = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.kept = None

    def forward(self, images):
        self.kept = torch.einsum("ochw,ci->oihw", self.second.weight.data, self.first.weight.data[:, :, 0, 0])
        self.merged.weight.data = self.kept.contiguous()
        return self.merged(images)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Merging().eval()


def test_weights_that_each_pass_writes_are_written_once(network):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = export_graph(network, accepted_inputs(network, torch.randn(1, 3, 8, 8)))
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert [call for call in calls if "conv2d" in call] == ["aten.conv2d.default"]
    assert not any("copy_" in call for call in calls)
    images = torch.randn(2, 3, 9, 11)
    expected = network.second(network.first(images))
    torch.testing.assert_close(program.module()(images), expected, rtol=1e-4, atol=1e-5)


def test_a_file_has_merged_weights_alone(network, tmp_path):
    import onnx

    ONNX().write(network, accepted_inputs(network, torch.randn(1, 3, 8, 8)), tmp_path / "out.onnx", {})
    graph = onnx.load(tmp_path / "out.onnx").graph
    assert [node.op_type for node in graph.node] == ["Conv"]
    assert [tuple(tensor.dims) for tensor in graph.initializer] == [(3, 3, 3, 3)]
    images = torch.randn(2, 3, 9, 11)
    expected = network.second(network.first(images))
    torch.testing.assert_close(ONNX().read(tmp_path / "out.onnx", network)(images), expected, rtol=1e-4, atol=1e-5)
