"""Finds out whether a user's generator takes images of the size of training."""

from __future__ import annotations

from typing import Any

from gcc.custom.gan import CustomGAN
from gcc.deploy.inputs import accepted_inputs
from gcc.errors import GccError
from gcc.evaluation.split import eval_samples_on_meta
from gcc.models.build import generator_on_meta
from gcc.recipe import image_size, nearest_sizes, size_text, text_of_size
from gcc.registry import Architecture


def require_right_size(architecture: Architecture[Any]) -> None:
    """Refuse a size of training images that a user's generator does not take; computes shapes only.

    The generator has run on its example already, which may have another size.

    Args:
        architecture: the family.

    Raises:
        GccError: the generator does not run on images of the recipe's size, or returns images of another size than the real ones.
    """
    if isinstance(architecture, CustomGAN) and not _takes_its_size(architecture):
        raise GccError(
            f"size = {size_text(architecture.recipe)}: the generator does not take training images of this size: give a `size` such as "
            f"{_sizes_taken(architecture)}"
        )


def _takes_its_size(architecture: CustomGAN[Any]) -> bool:
    if image_size(architecture.recipe) == _size_of_example(architecture):
        return True
    try:
        samples = eval_samples_on_meta(architecture, architecture.example_batch())
    except GccError:
        return False
    return all(sample.fake.shape[2:] == sample.real.shape[2:] for sample in samples.values())


def _sizes_taken(architecture: CustomGAN[Any]) -> str:
    """Return the sizes of training images next to the recipe's that the generator takes, or that of its example if it takes no other."""
    example = architecture.example_input()
    inputs = accepted_inputs(generator_on_meta(architecture, architecture.full_widths(1)), example)
    if inputs.step is None:
        return text_of_size(*_size_of_example(architecture))
    scale = architecture.networks.output_shape[2] // example.shape[2]
    return nearest_sizes(architecture.recipe, scale * inputs.step, scale * inputs.min_size)


def _size_of_example(architecture: CustomGAN[Any]) -> tuple[int, int]:
    """Return the width and the height of the images that the generator returns for its example."""
    height, width = architecture.networks.output_shape[2:]
    return width, height
