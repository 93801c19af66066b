"""The contract of a distiller: a term of the student's loss that compares student and teacher."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcc.recipe import Recipe
from gcc.registry.types import Batch, Networks

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gcc.utils.weights import Weights


@dataclass(frozen=True)
class GeneratorView:
    """What distillers see of the student's or the teacher's generators, for one batch.

    Attributes:
        fake: the generated images by generator, (N, C, H, W) in [-1, 1].
        features: the features of each generator's distillation layers by module path, (N, C, H, W); empty unless `reads_generators`.
            The student's have the teacher's channels, by the maps f_l of Eq. 9, and lack the layers that the student lacks.
        discriminated: the features of the teacher's discriminators for `fake`, by discriminator and module path; empty unless
            `reads_discriminators`.
    """

    fake: Mapping[str, Tensor]
    features: Mapping[str, Mapping[str, Tensor]]
    discriminated: Mapping[str, Mapping[str, Tensor]]


class Distiller(abc.ABC):
    """Compares what the student's generators return with what the teacher's return.

    A distiller is created for every recipe that names it, and holds no state.

    Args:
        recipe: the recipe of the run.

    Raises:
        RecipeError: the distiller does not fit the recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @property
    def reads_generators(self) -> bool:
        """Whether it reads features of the generators."""
        return False

    @property
    def reads_discriminators(self) -> bool:
        """Whether it reads features of the teacher's discriminators, which then discriminate the student's images, too."""
        return False

    def build_auxiliary(self, weights: Weights) -> dict[str, nn.Module]:
        """Build the frozen networks that `losses` reads, such as a classifier whose features are compared; none by default.

        Args:
            weights: finds their trained weights.

        Raises:
            GccError: the weights are missing or do not fit.
        """
        return {}

    @abc.abstractmethod
    def losses(self, batch: Batch, student: GeneratorView, teacher: GeneratorView, auxiliary: Networks) -> Mapping[str, Tensor]:
        """Return the weighted losses by name, each a scalar.

        Autocast may be on: a sum that needs float32 must be computed in `without_autocast`. A CUDA graph may replay the losses, so nothing
        may depend on the values of tensors, or wait for the device.

        Args:
            batch: the batch that the generators got.
            student: the student's part. Its gradient reaches the student's generators.
            teacher: the teacher's part, without gradient.
            auxiliary: the networks of `build_auxiliary`, on the device. Only call them: they may be wrappers that run micro-batches.
        """
