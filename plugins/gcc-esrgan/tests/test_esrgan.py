"""Both families fulfil their contract, have the published networks and losses, and are compressed from end to end."""

import pytest
import torch
from gcc_esrgan import ESRGAN, Compact, Dense, RealESRGAN, growing
from gcc_esrgan.features import STAGE_WEIGHTS, StageFeatures

from gcc import Compressor, Teacher, load
from gcc.errors import RecipeError
from gcc.models.vgg import DEPTHS, VGGFeatures
from gcc.pruning.cost import generator_cost
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.groups import find_channels
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.groups import find_groups
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES, DATASETS
from gcc.registry.presets import preset
from gcc.testing import check_architecture, check_family

SMALL = {"size": 32, "ngf": 8, "prune_width": 8, "ndf": 4, "blocks": 1}


def small(**settings):
    return ESRGAN(changed(ESRGAN.demo(), SMALL | settings))


@pytest.mark.parametrize("arch", ["esrgan", "real-esrgan"])
def test_contract(arch, tmp_path):
    check_architecture(arch, tmp_path)


@pytest.mark.parametrize(
    "settings", [{"generator": "compact", "convolutions": 3}, {"image_range": "0..1", "discriminator_network": "unet"}]
)
def test_contract_with_the_other_networks(settings, tmp_path):
    check_family("esrgan", small(**settings), tmp_path)


@pytest.mark.parametrize("scale", [2, 8])
def test_contract_at_other_scales(scale, tmp_path):
    check_family("esrgan", small(scale=scale), tmp_path, seed=1)


def test_contract_with_pixels_as_channels(tmp_path):
    check_family("esrgan", small(scale=2, unshuffle=2), tmp_path)


def test_the_published_generator_has_the_papers_parameters():
    # 23 blocks of width 64 and growth 32: 16,697,987 parameters, as the authors' own model has.
    family = ESRGAN(ESRGAN.published())
    with torch.device("meta"):
        network = family.build_generator(family.full_widths(64))
    assert sum(parameter.numel() for parameter in network.parameters()) == 16_697_987


@pytest.mark.parametrize(("convolutions", "parameters"), [(32, 1_213_296), (16, 621_424)])
def test_the_compact_generator_has_the_published_parameters(convolutions, parameters):
    family = ESRGAN(changed(ESRGAN.published(), {"generator": "compact", "convolutions": convolutions}))
    with torch.device("meta"):
        network = family.build_generator(family.full_widths(64))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_the_compact_generator_adds_pixels_to_the_enlarged_image():
    torch.manual_seed(0)
    network, image = Compact({"conv1": 4, "conv2": 3}, scale=2), torch.rand(1, 3, 5, 4)
    with torch.no_grad():
        output, pixels = network(image), network.head(network.layers(image))
    for channel, row, column in [(0, 0, 0), (1, 7, 3), (2, 9, 6)]:
        added = pixels[0, 4 * channel + 2 * (row % 2) + column % 2, row // 2, column // 2]
        torch.testing.assert_close(output[0, channel, row, column], image[0, channel, row // 2, column // 2] + added)


def test_black_and_white_inside_the_generator_are_those_of_the_image_range():
    family = small(image_range="0..1")
    network, image = family.build_generator(family.full_widths(8)), torch.rand(1, 3, 6, 5)
    torch.testing.assert_close(network(2 * image - 1), 2 * network.network(image) - 1)


def test_the_content_loss_weighs_the_features_of_each_stage():
    torch.manual_seed(0)
    vgg, images = VGGFeatures(DEPTHS["vgg19"]), [torch.rand(2, 3, 16, 16) * 2 - 1 for _ in range(2)]
    expected, features = 0.0, [((image + 1) / 2 - vgg.mean) / vgg.deviation for image in images]
    with torch.no_grad():
        for index, layer in enumerate(vgg.features):
            features = [layer(one) for one in features]
            if index in (2, 7, 16, 25, 34):  # conv1_2, conv2_2, conv3_4, conv4_4 and conv5_4 of torchvision
                expected += STAGE_WEIGHTS[(2, 7, 16, 25, 34).index(index)] * (features[0] - features[1]).abs().mean()
        joined = [StageFeatures(vgg)(image) for image in images]
    torch.testing.assert_close((joined[0] - joined[1]).abs().mean(), expected)


def test_presets_cost_what_the_published_networks_cost():
    pixels = 960 * 540
    recipe = RealESRGAN.published()
    compact = {name: changed(recipe, {"generator": "compact", "convolutions": number}) for name, number in (("compact", 32), ("tiny", 16))}
    full, *others = (
        generator_cost(RealESRGAN(one), RealESRGAN(one).full_widths(64)).macs * pixels / one.cost_size**2
        for one in (recipe, *compact.values())
    )
    budgets = {name: preset(name, RealESRGAN.presets).settings["budget"] for name in RealESRGAN.presets}
    shares = {name: float(budget.removesuffix("%")) / 100 for name, budget in budgets.items()}
    assert shares["aim2025"] * full == pytest.approx(2000e9, rel=2e-3) and shares["aim2025"] * full <= 2000e9
    assert [shares[name] * full for name in compact] == pytest.approx(others, rel=2e-2)


def test_the_published_real_esrgan_has_the_papers_losses():
    recipe = RealESRGAN.published()
    assert (recipe.lambda_pixel, recipe.lambda_perceptual, recipe.lambda_gan) == (1.0, 1.0, 0.1)
    assert (recipe.size, recipe.batch_size, recipe.lr_g, recipe.beta1, recipe.beta2) == (256, 48, 1e-4, 0.9, 0.99)


def test_a_dense_block_is_the_papers_by_hand():
    torch.manual_seed(0)
    block, x = Dense(4, [2, 3, 2, 3]), torch.randn(1, 4, 5, 5)
    made = [x]
    for layer in block.grow.values():
        made.append(torch.nn.functional.leaky_relu(layer[0](torch.cat(made, 1)), 0.2))
    torch.testing.assert_close(block(x), x + 0.2 * block.join(torch.cat(made, 1)))


def test_a_convolution_of_no_channels_is_as_if_its_channels_were_zero():
    torch.manual_seed(0)
    x, whole, without = torch.randn(1, 4, 5, 5), Dense(4, [2, 3, 2, 3]), Dense(4, [2, 0, 2, 3])
    kept = torch.tensor([*range(6), *range(9, 14)])  # the trunk and the first convolution; not the second; the rest
    with torch.no_grad():
        for parameter in whole.grow["conv2"].parameters():
            parameter.zero_()
        for name, layer in without.grow.items():
            reads = kept[kept < whole.grow[name][0].in_channels]
            layer[0].weight.copy_(whole.grow[name][0].weight[:, reads])
            layer[0].bias.copy_(whole.grow[name][0].bias)
        without.join.weight.copy_(whole.join.weight[:, kept])
        without.join.bias.copy_(whole.join.bias)
    torch.testing.assert_close(without(x), whole(x))


def test_groups_behind_concatenations():
    groups = {group.name: group for group in find_groups(small(), 8)}
    trunk = {producer.parameter for producer in groups["trunk"].producers}
    assert trunk == {"stem.weight", "joint.weight", *(f"blocks.0.{dense}.join.weight" for dense in range(3))}
    for dense in range(1, 4):
        for number, name in enumerate(growing(1, dense), start=1):
            (producer,) = groups[name].producers
            assert producer.parameter == f"blocks.0.{dense - 1}.grow.conv{number}.0.weight"
            assert (groups[name].channels, groups[name].minimum) == (4, 0)
    assert {groups[name].producers[0].parameter for name in ("up1", "up2", "last")} == {"ups.0.0.weight", "ups.1.0.weight", "last.0.weight"}


def test_the_generator_alone_has_the_same_groups():
    family = small()
    network = family.build_generator(family.full_widths(8))
    found = [one.group for one in find_channels(ChannelTrace(Graph(network, family.example_input())))]
    assert {(group.channels, frozenset(group.producers)) for group in found} == {
        (group.channels, frozenset(group.producers)) for group in find_groups(family, 8)
    }


def test_residuals_start_small():
    family = small()
    network = family.build_generator(family.full_widths(8))
    family.initialise(network)
    assert all(layer.bias.any() for layer in (network.stem, network.joint, network.head))  # as torch draws them
    for path in ("blocks.0.0.join", "blocks.0.2.grow.conv4.0"):
        layer = network.get_submodule(path)
        expected = 0.1 * (2 / (layer.in_channels * 9)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.15) and not layer.bias.any()


def test_other_sizes_are_refused():
    with pytest.raises(RecipeError, match="size = 30: expected a multiple of 4"):
        small(size=30)


@pytest.mark.parametrize("arch", ["esrgan", "real-esrgan"])
def test_compress(arch, tmp_path, monkeypatch):
    monkeypatch.setattr(DATASETS.load(ARCHITECTURES.load(arch).demo_source), "sizes", {"train": 20, "val": 4, "test": 4})
    settings = SMALL | {"pretrain_epochs": 1, "epochs": 1, "batch_size": 10, "budget": "40%"}
    result = Compressor(Teacher.create(arch), **settings).run()
    measurements = result.measurements()["G"]
    assert measurements["student"]["exact_macs"] <= 0.4 * measurements["teacher"]["exact_macs"]
    result.save(tmp_path)
    with torch.no_grad():
        assert load(tmp_path / "student")(torch.zeros(1, 3, 9, 7)).shape == (1, 3, 36, 28)


def test_other_channels_are_refused():
    with pytest.raises(RecipeError, match="output_nc = 1: ESRGAN's networks and degradations are for RGB images: expected 3"):
        small(output_nc=1)
