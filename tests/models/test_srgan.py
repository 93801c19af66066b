"""SRGAN against independent calculations."""

import pytest
import torch

from gcc.errors import RecipeError
from gcc.models.srgan import SRGAN
from gcc.recipe import changed


def srgan(**settings):
    return SRGAN(changed(SRGAN.published(), {"size": 32, "ngf": 4, "ndf": 4, "perceptual": "pixel"} | settings))


class Doubling(torch.nn.Module):
    """Stands for a VGG."""

    def forward(self, image):
        return 2 * image[:, :1]


def mean_square(a, b):
    return sum((x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) / a.numel()


@pytest.fixture
def images():
    random = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 3, 8, 8, generator=random, dtype=torch.float64) * 2 - 1 for _ in range(2))


@pytest.mark.parametrize("perceptual", ["vgg19", "pixel", "none"])
def test_content_losses(perceptual, images):
    made, real = images
    architecture = srgan(perceptual=perceptual, lambda_perceptual=3.0, lambda_pixel=0.25)
    networks = {"vgg": Doubling()} if perceptual == "vgg19" else {}
    batch = architecture.prepare({"hr": real}, networks)
    losses = {name: float(loss) for name, loss in architecture.task_losses(networks, batch, {"sr": made}).items()}
    pixel = mean_square(made, real)
    expected = {
        "vgg19": {"perceptual": 3 * mean_square(2 * made[:, :1], 2 * real[:, :1]), "pixel": 0.25 * pixel},
        "pixel": {"pixel": 3.25 * pixel},
        "none": {"pixel": 0.25 * pixel},
    }[perceptual]
    assert losses == pytest.approx(expected, rel=1e-6)
    assert float(architecture.pretraining_losses(batch, {"sr": made})["pixel"]) == pytest.approx(pixel)


def test_features_of_real_images_are_computed_once():
    calls = []
    vgg = Doubling()
    vgg.register_forward_hook(lambda *args: calls.append(1))
    architecture = srgan(perceptual="vgg19")
    batch = architecture.prepare({"hr": torch.zeros(1, 3, 8, 8)}, {"vgg": vgg})
    for _ in range(2):
        architecture.task_losses({"vgg": vgg}, batch, {"sr": torch.zeros(1, 3, 8, 8)})
    assert len(calls) == 3


def test_what_stands_in_for_vgg19_is_said():
    assert srgan(perceptual="vgg19").note == ""
    assert "pixels" in srgan().note and "no content loss" in srgan(perceptual="none").note and "VGG16" in srgan(perceptual="vgg16").note


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_any_image_grows_by_the_scale(scale):
    architecture = srgan(scale=scale)
    network = architecture.build_generator(architecture.full_widths(4))
    assert network(torch.zeros(1, 3, 7, 10)).shape == (1, 3, 7 * scale, 10 * scale)
    assert architecture.build_discriminator()(torch.zeros(2, 3, 30, 22)).shape == (2, 1)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_nothing_beyond_the_reach_matters(scale):
    architecture = srgan(scale=scale)
    network = architecture.build_generator(architecture.full_widths(4)).double().eval()
    reach, wide = architecture.receptive_field_radius, 2 * architecture.receptive_field_radius + 1
    image = torch.rand(1, 3, 1, wide + 2, dtype=torch.float64, requires_grad=True)
    place = (reach + 1) * scale
    network(image)[..., place : place + scale].sum().backward()
    slopes = image.grad.abs().sum((0, 1, 2))
    assert slopes[0] == slopes[-1] == 0 and slopes[reach - 2 : reach + 4].min() > 0


def test_a_block_without_channels_is_the_identity():
    architecture = srgan()
    network = architecture.build_generator(architecture.full_widths(4) | {"block3": 0})
    features = torch.randn(1, 4, 5, 5)
    assert torch.equal(network.blocks[2](features), features) and not list(network.blocks[2].parameters())


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"size": 30}, "multiple of 4"), ({"scale": 3}, "one of 2, 4, 8"), ({"cost_size": 0}, "cost_size"), ({"lambda_pixel": -1.0}, "pixel")],
)
def test_bad_recipes_are_refused(settings, says):
    with pytest.raises(RecipeError, match=says):
        srgan(**settings)


@pytest.mark.parametrize(("blocks", "distilled"), [(1, (0,)), (2, (0, 1)), (6, (1, 2, 4, 5)), (16, (3, 7, 11, 15)), (23, (5, 11, 17, 22))])
def test_the_number_of_blocks_decides_which_are_distilled_and_how_far_a_pixel_reaches(blocks, distilled):
    architecture = srgan(n_blocks=blocks)
    network = architecture.build_generator(architecture.full_widths(4))
    assert len(network.blocks) == blocks and len(architecture.widths(4)) == 1 + blocks
    assert architecture.taps().generator == tuple(f"blocks.{number}" for number in distilled)
    assert architecture.receptive_field_radius - srgan(n_blocks=1).receptive_field_radius == 2 * (blocks - 1)
