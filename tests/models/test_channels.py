"""Networks with other channels than RGB, and how their images are shown."""

import pytest
import torch

from gcc.errors import RecipeError
from gcc.models.channels import as_rgb
from gcc.registry import ARCHITECTURES
from gcc.testing import check_step, check_widths
from tests.helpers.channels import recipe_of


@pytest.mark.parametrize("channels", range(1, 6))
def test_images_are_shown_as_rgb(channels):
    image = torch.rand(2, channels, 4, 5)
    shown = as_rgb(image)
    assert shown.shape == (2, 3, 4, 5) and torch.equal(as_rgb(image[0]), shown[0])
    assert torch.equal(shown[:, : min(channels, 3)], image[:, :3])
    assert (shown is image) == (channels == 3)
    if channels < 3:
        assert torch.equal(shown[:, 2], image[:, 0] if channels == 1 else torch.full((2, 4, 5), -1.0))


@pytest.mark.parametrize(
    ("arch", "settings"),
    [
        ("pix2pix", {"input_nc": 1, "output_nc": 4}),
        ("pix2pix", {"input_nc": 2, "output_nc": 1, "direction": "BtoA", "generator": "mobile", "n_blocks": 2}),
        ("cyclegan", {"input_nc": 1, "output_nc": 1}),
        ("cyclegan", {"input_nc": 2, "output_nc": 5, "lambda_identity": 0.0}),
        ("sagan", {"output_nc": 1}),
        ("srgan", {"output_nc": 4, "perceptual": "pixel"}),
    ],
)
def test_a_step_works_with_any_channels(arch, settings):
    family = ARCHITECTURES.load(arch)(recipe_of(arch, **settings))
    check_step(family)
    for name in family.generators:
        own = family.for_network(name)
        check_widths(own, own.full_widths(4))
        assert own.build_generator(own.full_widths(4)).eval()(own.example_input()).shape[1] == own.recipe.output_nc


def test_vgg_compares_rgb_or_grey_images():
    family = ARCHITECTURES.load("srgan")
    assert family(recipe_of("srgan", output_nc=1)).recipe.output_nc == 1
    with pytest.raises(RecipeError, match='output_nc = 4: vgg19 compares RGB images, or grey ones; `perceptual="pixel"`'):
        family(recipe_of("srgan", output_nc=4))


def test_channels_go_from_1_to_64():
    with pytest.raises(RecipeError, match="input_nc = 0: expected a value from 1 to 64"):
        recipe_of("pix2pix", input_nc=0)
