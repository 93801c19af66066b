"""Where the distillation taps, and the maps between the channels of both sides."""

import dataclasses

import pytest
import torch

from gcc.errors import GccError, RecipeError
from gcc.losses.layers import NO_LAYERS, DistillationLayers, build_projections, choose_selector, select_layers
from gcc.losses.selectors import All, Named, Paper, Uniform
from gcc.models.build import generator_on_meta
from gcc.models.modules import on_meta
from gcc.models.pix2pix import Pix2Pix


def at(selector, size=32, ngf=4):
    return Pix2Pix(dataclasses.replace(Pix2Pix.published(), size=size, ngf=ngf, ndf=4, selector=selector))


def networks(architecture, **widths):
    full = architecture.full_widths(architecture.recipe.ngf) | widths
    return {"G": generator_on_meta(architecture, full)}, {"D": on_meta(architecture.build_discriminator)}


@pytest.mark.parametrize(("name", "kind"), [("paper", Paper), ("uniform", Uniform), ("all", All), ("down1", Named), ("a, b", Named)])
def test_choose_selector(name, kind):
    selector = choose_selector(name)
    assert type(selector) is kind
    if name == "a, b":
        assert selector.paths == ("a", "b")


def test_paper_positions():
    architecture = at("paper", size=256)
    found = select_layers(architecture, *networks(architecture))
    assert found == DistillationLayers({"G": ("down2.act", "down4.act", "up4.act", "up2.act")}, {"D": ("conv2.3", "conv4.3")})


def test_uniform_positions_are_of_every_network():
    architecture = at("uniform", size=256)
    found = select_layers(architecture, *networks(architecture))
    # Without the innermost layer, which has one pixel, the U-Net has 13 levels, of which these are 3, 6, 9 and 13.
    assert found.generators["G"] == ("down3.act", "down6.act", "up5.act", "up1.act")
    # Convolutions 2 and 4 of 5, as in Table II.
    assert found.discriminators["D"] == ("conv2.3", "conv4.3")


def test_all_positions():
    architecture = at("all")
    found = select_layers(architecture, *networks(architecture))
    assert len(found.generators["G"]) == 9 and len(found.discriminators["D"]) == 4


def test_named_positions_go_to_the_network_that_has_them():
    architecture = at("conv3.3, down1.act ,up1")
    found = select_layers(architecture, *networks(architecture))
    assert found == DistillationLayers({"G": ("down1.act", "up1")}, {"D": ("conv3.3",)})


@pytest.mark.parametrize(
    ("selector", "bad", "near"),
    [("down1.act,down2.akt", "down2.akt", "down2.act"), ("unifrom", "unifrom", "uniform"), ("conv9.3", "conv9.3", "conv")],
)
def test_unknown_module_names_near_ones(selector, bad, near):
    architecture = at(selector)
    with pytest.raises(RecipeError) as caught:
        select_layers(architecture, *networks(architecture))
    assert repr(bad) in str(caught.value) and near in str(caught.value)


class Uncalled(torch.nn.Module):
    """A network with a layer that it does not call."""

    def __init__(self, network):
        super().__init__()
        self.network, self.unused = network, torch.nn.ReLU()

    def forward(self, image):
        return self.network(image)


@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_a_module_that_is_not_called_is_refused(side):
    architecture = at("unused")
    generators, discriminators = networks(architecture)
    wrapped = generators if side == "generator" else discriminators
    wrapped |= {name: Uncalled(network) for name, network in wrapped.items()}
    with pytest.raises(RecipeError, match=r"selector 'unused': expected a module that returns features \(N, C, H, W\)"):
        select_layers(architecture, generators, discriminators)


def test_some_modules_are_named_if_none_is_near():
    architecture = at("xyz")
    with pytest.raises(RecipeError, match=r"\(all, paper, uniform, or a module such as down1.* and \d+ more\)$") as caught:
        select_layers(architecture, *networks(architecture))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("selector", ["", ",", "down2.act,", " "])
def test_an_empty_name_is_refused_and_does_not_tap_the_whole_network(selector):
    architecture = at(selector)
    with pytest.raises(GccError):
        select_layers(architecture, *networks(architecture))


def test_projections_map_the_students_channels_to_the_teachers():
    architecture = at("paper", size=64, ngf=8)
    teachers, discriminators = networks(architecture)
    students, _ = networks(architecture, down2=5, down4=7, up5=3, up3=2)
    layers = select_layers(architecture, teachers, discriminators)
    built = build_projections(architecture, teachers, students, layers)
    # up levels are tapped with the skip half: channels of down{k} and up{k+1}.
    assert built["G"].paths == ("down2.act", "down4.act", "up4.act", "up2.act")
    shapes = [tuple(weight.shape) for weight in built["G"].parameters()]
    assert shapes == [(16, 5, 1, 1), (64, 7, 1, 1), (64 + 64, 7 + 3, 1, 1), (16 + 16, 5 + 2, 1, 1)]
    assert all(not parameter.is_meta for parameter in built["G"].parameters())


@pytest.mark.parametrize(("lost", "left"), [("down4", ("down2.act", "up2.act")), ("up3", ("down2.act", "up2.act")), ("down2", ())])
def test_a_student_whose_levels_vanished_is_compared_where_it_has_layers(lost, left):
    architecture = at("paper", size=64)
    teachers, discriminators = networks(architecture)
    students, _ = networks(architecture, **{lost: 0})
    layers = select_layers(architecture, teachers, discriminators)
    built = build_projections(architecture, teachers, students, layers)
    assert built["G"].paths == left
    features = {path: torch.randn(1, weight.shape[1], 2, 2) for path, weight in zip(left, built["G"].parameters(), strict=True)}
    assert set(built["G"](features)) == set(left)


def test_nowhere():
    architecture = at("paper")
    generators, _ = networks(architecture)
    assert build_projections(architecture, generators, generators, NO_LAYERS) == {}
