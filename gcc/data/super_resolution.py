"""What every data set for super-resolution shares: images at two resolutions."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

from gcc.data.images import resized, to_tensor
from gcc.errors import RecipeError
from gcc.recipe import Recipe


@runtime_checkable
class Scaled(Protocol):
    """A recipe that enlarges images."""

    @property
    def scale(self) -> int:
        """Height and width of a large image over those of the small one."""


def scale_of(recipe: Recipe) -> int:
    """Return the scale of a recipe for super-resolution.

    Raises:
        RecipeError: the recipe has no scale, or its size is no multiple of it.
    """
    if not isinstance(recipe, Scaled):
        raise RecipeError(f"{type(recipe).__name__} has no scale: a family for super-resolution needs a recipe with the field 'scale'")
    if recipe.size % recipe.scale:
        raise RecipeError(f"size={recipe.size} is no multiple of scale={recipe.scale}: expected one, for small images have whole pixels")
    return recipe.scale


def both_resolutions(image: Image.Image, scale: int) -> dict[str, Tensor]:
    """Return an image (H, W) as `hr`, (3, H, W), and shrunk by the anti-aliased bicubic filter as `lr`, (3, H / scale, W / scale)."""
    return {"hr": to_tensor(image), "lr": to_tensor(resized(image, image.width // scale, image.height // scale))}
