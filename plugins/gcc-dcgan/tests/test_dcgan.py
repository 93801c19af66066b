"""DCGAN fulfils its contract, is the paper's network, and is compressed from end to end."""

import pytest
import torch
from gcc_dcgan import DCGAN
from torch import nn

from gcc import Compressor, Teacher, load
from gcc.errors import RecipeError
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.groups import find_channels
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.groups import find_groups
from gcc.recipe import changed
from gcc.testing import check_architecture

TINY = {"size": 32, "ngf": 8, "prune_width": 8, "ndf": 4, "epochs": 1, "batch_size": 200, "budget": "40%"}


def test_contract(tmp_path):
    check_architecture("dcgan", tmp_path)


def test_the_generator_is_figure_1():
    family = DCGAN(DCGAN.published())
    assert list(family.full_widths(128).values()) == [1024, 512, 256, 128]
    with torch.device("meta"):
        image, z, shapes = family.build_generator(family.full_widths(128)), family.example_input(), []
        for layer in image.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
        image(z)
    assert shapes == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]


def test_weights_are_drawn_as_in_the_paper():
    family = DCGAN(DCGAN.demo())
    for network in (family.build_generator(family.full_widths(32)), family.build_discriminator()):
        family.initialise(network)
        weights = torch.cat([module.weight.flatten() for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)])
        assert weights.std().item() == pytest.approx(0.02, rel=0.02) and abs(weights.mean().item()) < 1e-3


@pytest.mark.parametrize("size", [16, 48, 1024])
def test_other_sizes_are_refused(size):
    with pytest.raises(RecipeError, match=f"{size}: DCGAN expects a power of two"):
        DCGAN(changed(DCGAN.published(), {"size": size}))


def test_the_generator_alone_has_the_same_groups():
    family = DCGAN(DCGAN.demo())
    network = family.build_generator(family.full_widths(8))
    found = [one.group for one in find_channels(ChannelTrace(Graph(network, family.example_input())))]
    wanted = find_groups(family, 8)
    assert [(g.channels, g.producers, g.scales) for g in found] == [(g.channels, g.producers, g.scales) for g in wanted]


def test_compress(tmp_path):
    result = Compressor(Teacher.create("dcgan"), **TINY).run()
    figures = result.measurements()["G"]
    assert figures["student"]["exact_macs"] <= 0.4 * figures["teacher"]["exact_macs"]
    result.save(tmp_path)
    with torch.no_grad():
        image = load(tmp_path / "student")(torch.randn(2, 100))
    assert image.shape == (2, 3, 32, 32) and image.isfinite().all()
