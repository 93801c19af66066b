import pytest
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from gcc.errors import PluginError
from gcc.models.pix2pix import Pix2Pix, Pix2PixRecipe
from gcc.pruning.groups import find_groups
from tests.helpers.pruning_toys import TOYS, Toy

# By hand: for each width, its producers as (weight, output dimension, ratio) and its scales.
EXPECTED = {
    "chain": {"a": ({("0.weight", 0, 1)}, {"1.weight"}), "b": ({("3.weight", 0, 1)}, set())},
    "transposed": {"a": ({("0.weight", 1, 1)}, {"1.weight"})},
    "separable": {"a": ({("0.weight", 0, 1)}, {"2.weight"}), "b": ({("3.weight", 0, 1)}, set())},
    "shuffled": {"a": ({("0.weight", 0, 4)}, set())},
    "linear": {"a": ({("1.weight", 0, 4)}, {"3.weight"})},
    "grouped": {"a": ({("1.weight", 0, 1)}, {"2.weight"})},
    "skip": {"a": ({("a.weight", 0, 1)}, set()), "b": ({("b.weight", 0, 1)}, set())},
    "residual": {
        "trunk": (
            {("head.weight", 0, 1), ("blocks.0.3.weight", 0, 1), ("blocks.1.3.weight", 0, 1)},
            {"blocks.0.4.weight", "blocks.1.4.weight"},
        ),
        "inner0": ({("blocks.0.0.weight", 0, 1)}, {"blocks.0.1.weight"}),
        "inner1": ({("blocks.1.0.weight", 0, 1)}, {"blocks.1.1.weight"}),
    },
    "attention": {"c": ({(f"{name}.parametrizations.weight.original", 0, 1) for name in ("head", "value")}, set())},
}


@pytest.mark.parametrize("name", TOYS)
def test_groups_are_those_counted_by_hand(name):
    toy = TOYS[name]
    found = {
        group.name: ({(p.parameter, p.dim, p.ratio) for p in group.producers}, set(group.scales)) for group in find_groups(toy, base=16)
    }
    assert found == EXPECTED[name]


def test_groups_keep_the_order_and_the_minimum_of_the_widths():
    pix2pix = Pix2Pix(Pix2PixRecipe())
    groups = find_groups(pix2pix, 64)
    assert {group.name: (group.channels, group.minimum) for group in groups} == {
        name: (width.channels, width.minimum) for name, width in pix2pix.widths(64).items()
    }
    assert [group.name for group in groups] == list(pix2pix.widths(64))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_each_unet_width_has_one_producer(norm):
    for group in find_groups(Pix2Pix(Pix2PixRecipe(norm=norm)), 32):
        (producer,) = group.producers
        assert producer.parameter == f"{group.name}.conv.weight"
        assert producer.dim == (1 if group.name.startswith("up") else 0)
        normed = norm == "batch" and group.name not in ("down1", "down8")
        assert group.scales == ((f"{group.name}.norm.weight",) if normed else ())


def test_weight_norm_yields_its_direction():
    toy = Toy(lambda w: nn.Sequential(weight_norm(nn.Conv2d(3, w["a"], 3)), nn.Conv2d(w["a"], 3, 3)), a=16)
    (group,) = find_groups(toy, 16)
    assert [producer.parameter for producer in group.producers] == ["0.parametrizations.weight.original1"]


def test_a_width_that_the_builder_ignores_is_named():
    toy = Toy(lambda w: nn.Conv2d(3, w["a"], 3), a=16, ghost=16)
    with pytest.raises(PluginError, match="ghost"):
        find_groups(toy, 16)


def test_channels_made_together_with_others_have_no_producer():
    class Split(nn.Module):
        def __init__(self, w):
            super().__init__()
            self.both = nn.Conv2d(3, w["a"] + 16, 3)

    with pytest.raises(PluginError, match="'a'"):
        find_groups(Toy(Split, a=16), 16)
