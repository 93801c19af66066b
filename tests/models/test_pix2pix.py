"""Pix2Pix against Table I, and its U-Net against the original's nested one, written from scratch."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gcc.errors import RecipeError
from gcc.models.build import build_discriminators, build_generators, generator_on_meta
from gcc.models.modules import on_meta
from gcc.models.pix2pix import Pix2Pix


def make(**changes):
    return Pix2Pix(dataclasses.replace(Pix2Pix.published(), **changes))


class Block(nn.Module):
    """One level of the original U-Net: itself around the next one; its activations work in place, as the original's do."""

    def __init__(self, level, depth, widths, norm, dropout):
        super().__init__()
        self.level, self.depth, self.norm_kind = level, depth, norm
        biased = norm == "instance"
        outer, inner = (3 if level == 1 else widths[f"down{level - 1}"]), widths[f"down{level}"]
        given_up = 3 if level == 1 else widths[f"up{level}"]
        self.downconv = nn.Conv2d(outer, inner, kernel_size=4, stride=2, padding=1, bias=biased)
        self.downnorm = self.normalise(inner) if 1 < level < depth else None
        self.inner = Block(level + 1, depth, widths, norm, dropout) if level < depth else None
        before_up = inner + (widths[f"up{level + 1}"] if self.inner else 0)
        self.upconv = nn.ConvTranspose2d(before_up, given_up, kernel_size=4, stride=2, padding=1, bias=biased or level == 1)
        self.upnorm = self.normalise(given_up) if level > 1 else None

    def normalise(self, channels):
        return nn.BatchNorm2d(channels) if self.norm_kind == "batch" else nn.InstanceNorm2d(channels)

    def forward(self, x):
        # The outermost block has no activation before its convolution.
        y = x if self.level == 1 else nn.functional.leaky_relu_(x, 0.2)
        y = self.downconv(y)
        if self.downnorm is not None:
            y = self.downnorm(y)
        if self.inner is not None:
            y = self.inner(y)
        y = self.upconv(nn.functional.relu_(y))
        if self.level == 1:
            return torch.tanh(y)
        return torch.cat([x, self.upnorm(y)], 1)  # x as the in-place activation left it


def copy_weights(network, block):
    while block is not None:
        down, up = network.get_submodule(f"down{block.level}"), network.get_submodule(f"up{block.level}")
        pairs = [(block.downconv, down.conv), (block.upconv, up.conv), (block.downnorm, down.norm)]
        if block.level > 1:
            pairs.append((block.upnorm, up.norm))
        for mine, theirs in pairs:
            if mine is not None:
                mine.load_state_dict(theirs.state_dict(), strict=True)
        block = block.inner


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("size", [32, 64, 256])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_unet_is_the_original_function(norm, size, training):
    architecture = make(size=size, norm=norm, dropout=0.0)
    widths = architecture.full_widths(2)
    torch.manual_seed(0)
    network = architecture.build_generator(widths)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            # Weights far from their initial values, so that no layer is nearly an identity.
            value.copy_(torch.rand_like(value) + 0.5 if "norm" in name and "bias" not in name else 0.3 * torch.randn_like(value))
    nested = Block(1, architecture.depth, widths, norm, 0.0)
    copy_weights(network, nested)
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in nested.parameters())
    image = torch.rand(2, 3, size, size) * 2 - 1
    got, expected = network.train(training)(image.clone()), nested.train(training)(image.clone())
    assert got.shape == image.shape
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.01


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_every_size_builds_and_runs_down_to_one_pixel(size):
    architecture = make(size=size)
    network = architecture.build_generator(architecture.full_widths(1))
    seen = []
    network.get_submodule(f"down{architecture.depth}").register_forward_hook(lambda m, i, o: seen.append(o.shape[2:]))
    image = architecture.example_input()
    assert image.shape == (1, 3, size, size)
    assert network(image.repeat(2, 1, 1, 1)).shape == (2, 3, size, size)
    assert seen == [(1, 1)] and architecture.depth == int(math.log2(size))


@pytest.mark.parametrize(("size", "depth"), [(96, 5), (160, 5), (320, 6), (384, 7), (768, 8), (1024, 8), (2048, 8)])
def test_the_depth_follows_from_the_size(size, depth):
    assert make(size=size).depth == depth and make(size=size).size_multiple == 2**depth


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 9), st.integers(1, 4), st.integers(1, 4))
def test_a_depth_takes_every_multiple_and_nothing_else(depth, height, width):
    architecture = make(size=2**depth * height, depth=depth)
    assert architecture.depth == depth
    assert [name for name in architecture.widths(4) if name.startswith("down")] == [f"down{k}" for k in range(1, depth + 1)]
    with torch.device("meta"):
        image = torch.empty(1, 3, 2**depth * height, 2**depth * width)
        assert generator_on_meta(architecture, architecture.full_widths(2))(image).shape == image.shape
    with pytest.raises(RecipeError, match=f"U-Net of {depth} levels expects a multiple of {2**depth}"):
        make(size=2**depth * height + 2 ** (depth - 1), depth=depth)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([32, 64, 96, 128, 256]))
def test_output_shape_does_not_depend_on_widths(data, size):
    architecture = make(size=size)
    widths = {name: data.draw(st.integers(w.minimum, 9), label=name) for name, w in architecture.widths(8).items()}
    network = generator_on_meta(architecture, widths)
    with torch.device("meta"):
        assert network(torch.empty(2, 3, size, size)).shape == (2, 3, size, size)
    assert all(parameter.numel() for parameter in network.parameters())


def test_widths_are_those_of_the_original():
    assert {name: w.channels for name, w in make().widths(64).items()} == {
        "down1": 64, "down2": 128, "down3": 256, "down4": 512, "down5": 512, "down6": 512, "down7": 512, "down8": 512,
        "up8": 512, "up7": 512, "up6": 512, "up5": 512, "up4": 256, "up3": 128, "up2": 64,
    }  # fmt: skip
    minima = {name: w.minimum for name, w in make().widths(64).items()}
    assert minima.pop("down1") == 1 and set(minima.values()) == {0}


def test_parameters_of_the_published_networks():
    # The counts that the original prints: 54.414 M for unet_256, 2.769 M for the PatchGAN of ndf 64.
    architecture = make(ndf=64)
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    assert count(generator_on_meta(architecture, architecture.full_widths(64))) == 54_413_955
    assert count(on_meta(architecture.build_discriminator)) == 2_768_705


@pytest.mark.parametrize("lost", ["down2", "up2", "down3", "up3", "down4", "up5", "down6", "up6"])
def test_a_level_without_channels_vanishes_with_all_inside_it(lost):
    architecture = make(size=64)
    widths = architecture.full_widths(2) | {lost: 0}
    network = architecture.build_generator(widths)
    level = int(lost[-1])
    kept = {name for name, _ in network.named_children()}
    expected = {f"{way}{k}" for way in ("down", "up") for k in range(1, level)} | {"tanh"}
    assert kept == expected
    innermost = widths[f"down{level - 1}"]
    assert network.get_submodule(f"up{level - 1}").conv.in_channels == innermost
    image = torch.randn(2, 3, 64, 64)
    assert network(image).shape == image.shape
    network(image).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_vanished_unet_is_the_function_of_its_outer_levels():
    # Equal to the nested one of the levels that are left, but for the norm that the once inner level keeps.
    architecture = make(size=64, dropout=0.0)
    widths = architecture.full_widths(2) | {"up4": 0}
    network = architecture.build_generator(widths).eval()
    nested = Block(1, 3, widths, "batch", 0.0)
    nested.inner.inner.downnorm = nn.BatchNorm2d(widths["down3"])
    copy_weights(network, nested)
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network(image.clone()), nested.eval()(image.clone()))


@pytest.mark.parametrize(("size", "levels"), [(32, set()), (64, {5}), (128, {5, 6}), (256, {5, 6, 7})])
def test_dropout_is_in_the_inner_up_levels(size, levels):
    network = on_meta(lambda: make(size=size).build_generator(make(size=size).full_widths(8)))
    found = {path: module for path, module in network.named_modules() if isinstance(module, nn.Dropout)}
    assert set(found) == {f"up{k}.dropout" for k in levels}
    assert all(module.p == 0.5 for module in found.values())
    for k in levels:
        assert [name for name, _ in network.get_submodule(f"up{k}").named_children()] == ["act", "conv", "norm", "dropout"]


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d)])
def test_norms_are_everywhere_but_outermost_and_at_the_bottom(norm, kind):
    network = on_meta(lambda: make(norm=norm).build_generator(make().full_widths(8)))
    found = {path for path, module in network.named_modules() if isinstance(module, kind)}
    assert found == {f"down{k}.norm" for k in range(2, 8)} | {f"up{k}.norm" for k in range(2, 9)}


def test_leaky_slope_is_that_of_the_original():
    network = on_meta(lambda: make().build_generator(make().full_widths(8)))
    assert {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 80, 255])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(RecipeError, match="size"):
        make(size=size)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5])
def test_impossible_dropout_is_refused(dropout):
    with pytest.raises(RecipeError, match="dropout"):
        make(dropout=dropout)


def batch():
    random = torch.Generator().manual_seed(0)
    return {key: torch.rand(2, 3, 32, 32, generator=random) * 2 - 1 for key in ("A", "B")}


@pytest.mark.parametrize(("direction", "source", "target"), [("AtoB", "A", "B"), ("BtoA", "B", "A")])
def test_direction_pairs_and_task_loss(direction, source, target):
    architecture, data = make(size=32, direction=direction, lambda_L1=30.0), batch()
    asked = []
    generator = lambda image: asked.append(image) or image * 0.5  # noqa: E731
    samples = architecture.generate({"G": generator}, data)
    assert len(asked) == 1 and asked[0] is data[source]
    assert torch.equal(samples["fake"], data[source] * 0.5)
    ((name, pair),) = architecture.pairs(data, samples).items()
    assert name == "D"
    assert torch.equal(pair.real[:, :3], data[source]) and torch.equal(pair.real[:, 3:], data[target])
    assert torch.equal(pair.fake[:, :3], data[source]) and torch.equal(pair.fake[:, 3:], samples["fake"])
    ((name, loss),) = architecture.task_losses({}, data, samples).items()
    distances = [abs(a - b) for a, b in zip(samples["fake"].flatten().tolist(), data[target].flatten().tolist(), strict=True)]
    assert name == "L1" and loss.item() == pytest.approx(30.0 * sum(distances) / len(distances), rel=1e-5)
    judged = architecture.eval_samples(data, samples)["G"]
    made = judged.made
    assert made is samples["fake"] and judged.real is data[target] and judged.source == source
    shown = architecture.visuals(data, {"teacher": samples, "student": {"fake": made + 1}})
    assert list(shown) == ["input", "teacher", "student", "real"]
    assert shown["input"] is data[source] and shown["real"] is data[target]
    assert shown["teacher"] is samples["fake"] and torch.equal(shown["student"], made + 1)


def test_gradient_of_pairs_leads_to_the_generator():
    architecture, data = make(size=32), batch()
    fake = torch.zeros(2, 3, 32, 32, requires_grad=True)
    pair = architecture.pairs(data, {"fake": fake})["D"]
    pair.fake.sum().backward()
    assert torch.equal(fake.grad, torch.ones_like(fake)) and not pair.real.requires_grad


def test_fresh_networks_are_drawn_as_in_the_original():
    architecture = make(size=64, ndf=32)
    networks = [
        build_generators(architecture, {"G": architecture.full_widths(32)}, "teacher")["G"],
        build_discriminators(architecture, "teacher")["D"],
    ]
    for network in networks:
        for path, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                size = module.weight.numel()
                assert module.weight.std().item() == pytest.approx(0.02, rel=4 / math.sqrt(size)), path
                assert abs(module.weight.mean().item()) < 4 * 0.02 / math.sqrt(size), path
            if isinstance(module, nn.BatchNorm2d):
                assert abs(module.weight.mean().item() - 1) < 4 * 0.02 / math.sqrt(module.num_features), path
                assert module.weight.std().item() == pytest.approx(0.02, rel=4 / math.sqrt(module.num_features)), path
                assert not module.running_mean.any() and torch.equal(module.running_var, torch.ones_like(module.running_var))
            if getattr(module, "bias", None) is not None:
                assert not module.bias.any(), path


def test_published_recipe_is_table_i():
    recipe = Pix2Pix.published()
    expected = dict(
        size=256, epochs=250, schedule="linear", batch_size=1, gamma_m=50, gamma_t=1e4, gan_mode="hinge",
        ngf=64, prune_width=32, ndf=128, tau=0.5, lr_g=2e-4, lr_d=2e-4, beta1=0.5, beta2=0.999, metric="slimming", mac_counter="paper",
        lr_alpha=1e-4, alpha_decay_epochs=100, lambda_d=0.5, lambda_L1=100, norm="batch", dropout=0.5, direction="AtoB", update_order="GD",
        selector="paper", sparsity=None, seed=0, train_teacher=True,
    )  # fmt: skip
    assert {name: getattr(recipe, name) for name in expected} == expected
    # 3.0 G of 18.15 G.
    assert float(recipe.budget.rstrip("%")) == pytest.approx(100 * 3.0 / 18.15, abs=0.02)
    # 100 epochs at the full rate and 150 of decay; a tenth of them before pruning.
    assert (recipe.epochs - recipe.decay_epochs, recipe.decay_epochs, recipe.search_epochs) == (100, 150, 25)


def test_demo_recipe_is_valid_and_small():
    recipe = Pix2Pix.demo()
    assert recipe.size <= 64 and recipe.epochs <= 20
    assert Pix2Pix(recipe).depth >= 5
