"""Table II's counting rule on small networks, and the selectors."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gcc.losses.selectors import All, Named, Paper, Uniform, distillable, find_layers
from gcc.models.build import generator_on_meta
from gcc.models.gate import ChannelGate
from gcc.models.layers import PatchDiscriminator
from gcc.models.modules import on_meta
from gcc.models.pix2pix import Pix2Pix
from gcc.registry import no_gate

IMAGE = torch.zeros(1, 3, 8, 8)


def conv(before=3, width=3):
    return nn.Conv2d(before, width, 3, padding=1)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([conv(), nn.BatchNorm2d(3), nn.ReLU(), conv()], ["2", "3"]),
        ([conv(), nn.BatchNorm2d(3), conv(), nn.Tanh()], ["1", "3"]),
        ([conv(), conv(), nn.InstanceNorm2d(3)], ["0", "2"]),
        ([conv(), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.ReLU(), nn.Sigmoid(), conv()], ["3", "5"]),
        ([nn.ReLU(), conv(), nn.Identity(), nn.LeakyReLU(0.2), nn.BatchNorm2d(3), conv()], ["3", "5"]),
        ([nn.ConvTranspose2d(3, 3, 1), nn.GroupNorm(1, 3), nn.PReLU(), conv()], ["2", "3"]),
        ([nn.ReLU()], []),
    ],
    ids=["act", "norm", "bare", "dropout", "identity", "transposed", "none"],
)  # fmt: skip
def test_a_layer_is_the_activation_else_the_norm_else_the_convolution(layers, expected):
    network = nn.Sequential(*layers)
    assert find_layers(network, IMAGE) == expected


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([conv(), nn.ReflectionPad2d(1), nn.Conv2d(3, 3, 3)], ["0", "2"]),
        ([conv(), nn.BatchNorm2d(3), nn.AvgPool2d(2), conv()], ["1", "3"]),
        ([conv(), nn.BatchNorm2d(3), nn.Upsample(scale_factor=2), conv()], ["1", "3"]),
        ([conv(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 1)], ["1"]),
    ],
    ids=["padding", "pooling", "upsampling", "linear"],
)
def test_a_layer_that_is_no_activation_is_not_taken_for_one(layers, expected):
    assert find_layers(nn.Sequential(*layers), IMAGE) == expected


def test_spectral_norm_hides_no_convolution():
    network = nn.Sequential(spectral_norm(conv()), nn.ReLU(), spectral_norm(conv()), nn.ReLU(), spectral_norm(conv()))
    assert find_layers(network, IMAGE) == ["1", "3", "4"]


def test_finding_layers_leaves_the_network_as_it_was():
    network = nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for training in (True, False):
        network.train(training)
        find_layers(network, torch.randn(2, 3, 8, 8))
        assert network.training is training and network[1].training is training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(not module._forward_hooks for module in network.modules())


def unet_and_example():
    architecture = Pix2Pix(Pix2Pix.published())
    network = generator_on_meta(architecture, architecture.full_widths(64))
    return architecture, network, torch.empty(1, 3, 256, 256, device="meta")


def test_unet_counts_16_and_the_published_positions_are_2_4_12_14():
    architecture, network, example = unet_and_example()
    found = find_layers(network, example)
    assert len(found) == 16
    assert tuple(found[number - 1] for number in (2, 4, 12, 14)) == architecture.taps().generator


def test_patchgan_counts_5_and_the_published_positions_are_2_4():
    architecture = Pix2Pix(Pix2Pix.published())
    network = on_meta(architecture.build_discriminator)
    found = find_layers(network, torch.empty(1, 6, 256, 256, device="meta"))
    assert len(found) == 5
    assert tuple(found[number - 1] for number in (2, 4)) == architecture.taps().discriminator


def test_the_students_gates_do_not_move_the_layers():
    plain = PatchDiscriminator(6, 2, "batch", no_gate)
    gated = PatchDiscriminator(6, 2, "batch", lambda channels: ChannelGate(channels, 0.5))
    image = torch.zeros(1, 6, 32, 32)
    assert find_layers(gated, image) == find_layers(plain, image)


def test_tapped_features_have_the_shapes_of_table_ii():
    architecture, network, example = unet_and_example()
    shapes = {}
    for path in architecture.taps().generator:
        network.get_submodule(path).register_forward_hook(lambda m, i, o, path=path: shapes.update({path: tuple(o.shape[1:])}))
    network(example)
    assert list(shapes.values()) == [(128, 64, 64), (512, 16, 16), (1024, 16, 16), (256, 64, 64)]


def chain(count):
    return nn.Sequential(*(conv() for _ in range(count)))


@pytest.mark.parametrize(("convolutions", "published", "expected"), [
    (16, 4, [3, 7, 11, 15]),
    (5, 2, [2, 4]),
    (5, 4, [1, 2, 3, 4]),
    (3, 9, [1, 2]),
    (1, 2, []),
    (6, 0, []),
])  # fmt: skip
def test_uniform_spreads_over_all_convolutions_but_the_last(convolutions, published, expected):
    got = Uniform().select(chain(convolutions), IMAGE, ["x"] * published)
    assert [int(path) + 1 for path in got] == expected


def strided(*strides):
    return nn.Sequential(*(nn.Conv2d(3, 3, 3, stride, 1) for stride in strides))


@pytest.mark.parametrize(("strides", "published", "expected"), [
    ((2, 1, 1, 1, 2, 1), 2, [4, 5]),
    ((2, 1, 1, 1, 2, 1), 3, [2, 4, 5]),
    ((1, 1, 1, 1, 1, 2, 1, 2, 1, 1, 1), 5, [2, 5, 7, 8, 10]),
    ((2, 2, 2, 1), 2, [1, 3]),
    ((2, 2, 2, 1), 1, [3]),
    ((2, 2, 2, 1), 9, [1, 2, 3]),
], ids=["each run", "longest", "two each", "fewer runs", "one", "all"])  # fmt: skip
def test_uniform_spreads_over_resolutions(strides, published, expected):
    got = Uniform().select(strided(*strides), torch.zeros(1, 3, 64, 64), ["x"] * published)
    assert [int(path) + 1 for path in got] == expected


def test_layers_that_return_tokens_are_not_distilled():
    class Tokens(nn.Module):
        def forward(self, image):
            return image.flatten(2).mT

    class Images(nn.Module):
        def forward(self, tokens):
            return tokens.mT.unflatten(2, (8, 8))

    network = nn.Sequential(conv(), Tokens(), nn.GELU(), Images(), conv(), nn.ReLU(), conv(), nn.ReLU(), conv())
    assert find_layers(network, IMAGE) == ["0", "5", "7", "8"]
    assert list(Uniform().select(network, IMAGE, ["x"] * 4)) == ["0", "5", "7"]
    assert list(distillable(network, ["0", "2", "5"], IMAGE)) == ["0", "5"]


class Windows(nn.Module):
    """Weights of each pixel over all pixels of its row, which have four dimensions but belong to no image."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Softmax(-1)

    def forward(self, image):
        rows = image.transpose(1, 2)
        return (self.weights(rows.mT @ rows) @ rows.mT).permute(0, 3, 1, 2)


def test_attention_maps_do_not_stand_for_the_convolution_before_them():
    network = nn.Sequential(conv(), Windows(), conv(), nn.ReLU(), conv())
    assert find_layers(network, torch.zeros(1, 3, 6, 8)) == ["0", "3", "4"]


def test_an_activation_after_a_pixel_shuffle_stands_for_its_convolution():
    network = nn.Sequential(conv(), nn.ReLU(), conv(3, 12), nn.PixelShuffle(2), nn.PReLU(), conv())
    assert find_layers(network, torch.zeros(1, 3, 6, 8)) == ["1", "4", "5"]
    assert list(distillable(network, ["1", "4"], torch.zeros(1, 3, 6, 8)).values()) == [(6, 8), (12, 16)]


def test_of_an_activation_that_is_shared_the_last_call_counts():
    shared = nn.ReLU()
    network = nn.Sequential(conv(), shared, conv(), nn.BatchNorm2d(3), shared, conv(), shared, conv())
    assert find_layers(network, IMAGE) == ["0", "3", "1", "7"]
    assert Uniform().select(network, IMAGE, ["x"] * 3) == ["0", "3", "1"]


def test_layers_with_one_value_per_channel_come_last():
    attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Upsample(size=(8, 8)))
    network = nn.Sequential(conv(), nn.ReLU(), attention, conv(), nn.ReLU(), conv())
    assert find_layers(network, IMAGE) == ["1", "2.2", "4", "5"]
    assert Uniform().select(network, IMAGE, ["x"] * 3) == ["1", "4"]
    one = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    assert Uniform().select(one, torch.zeros(1, 3, 1, 1), ["x"]) == ["1"]


class Turning(nn.Module):
    """Turns half of its inputs in training, which a tensor without values cannot decide."""

    def forward(self, image):
        return image.flip(-1) if self.training and torch.rand(1) < 0.5 else image


class Auxiliary(nn.Module):
    """Returns a second output in training."""

    def __init__(self):
        super().__init__()
        self.layer = conv()

    def forward(self, image):
        image = self.layer(image)
        return (image, image) if self.training else image


class First(nn.Module):
    def forward(self, images):
        return images[0] if isinstance(images, tuple) else images


def test_networks_that_do_something_else_in_training():
    with torch.device("meta"):
        network = nn.Sequential(Turning(), conv(), nn.ReLU(), conv())
        assert Uniform().select(network, torch.zeros(1, 3, 8, 8), ["x"]) == ["2"]
    network = nn.Sequential(Auxiliary(), First(), conv(), nn.ReLU(), conv())
    assert list(distillable(network, ["0", "0.layer", "3"], IMAGE)) == ["0.layer", "3"]


def test_statistics_that_norms_share_stay():
    network = nn.Sequential(conv(), nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.ReLU(), conv())
    network[2].running_mean = network[1].running_mean
    distillable(network, ["3"], torch.ones(1, 3, 8, 8))
    assert not network[1].running_mean.any() and not network[1].num_batches_tracked


class Merged(nn.Module):
    """Two convolutions that a third one replaces for inference."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList([conv(), conv()])
        self.merged = conv()

    def forward(self, image):
        return sum(branch(image) for branch in self.branches) if self.training else self.merged(image)


def test_layers_that_are_called_only_for_inference_are_not_distilled():
    network = nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU(), Merged(), nn.ReLU(), Merged(), conv(), nn.ReLU(), conv())
    assert find_layers(network, IMAGE) == ["2", "4", "5.merged", "7", "8"]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert list(All().select(network, IMAGE, [])) == ["2", "4", "7"] == list(Uniform().select(network, IMAGE, ["x"] * 4))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items()) and network.training


def test_all_leaves_the_last_out_and_paper_takes_what_is_published():
    assert list(All().select(chain(4), IMAGE, ["x"])) == ["0", "1", "2"]
    assert list(Paper().select(chain(4), IMAGE, ["x", "y"])) == ["x", "y"]


def test_named_takes_what_the_network_has():
    assert list(Named(["2", "missing", "0"]).select(chain(3), IMAGE, ["x"])) == ["2", "0"]
