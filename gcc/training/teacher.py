"""The teacher: an architecture, its recipe, and pretrained weights if it has any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcc.artifacts.model import read, resolve_location
from gcc.custom.bring import family_for, with_discriminator
from gcc.custom.gan import CustomGAN
from gcc.custom.own_code import draws_weights, generator_at
from gcc.custom.zoo import VALUE_RANGE, read_zoo_model
from gcc.errors import ArtifactError, RecipeError
from gcc.models.value_range import USUAL
from gcc.pruning.prune_width import width_for_budget
from gcc.recipe import Recipe, changed, renamed, require_one_length, with_size_fields, without_replaced_length
from gcc.registry import ARCHITECTURES, Architecture, Networks
from gcc.training.teacher_networks import New, Own, Saved, TeacherNetworks, Untrained
from gcc.utils.arguments import checked_arguments
from gcc.utils.notebook import html_table


@dataclass(frozen=True, repr=False)
class Teacher:
    """A teacher of one GAN family.

    Attributes:
        arch: name of the architecture, or of the task of networks that the user brings.
        settings: recipe fields that differ from the defaults.
        networks: what it starts with.
    """

    arch: str
    settings: Mapping[str, Any]
    networks: TeacherNetworks

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [], {name: [value] for name, value in self._facts().items()})

    def _facts(self) -> dict[str, str]:
        return {"arch": self.arch, "weights": self.networks.origin} | {name: str(value) for name, value in self.settings.items()}

    @classmethod
    @checked_arguments
    def create(cls, arch: str, **settings: Any) -> Teacher:
        """Return a teacher without pretrained weights.

        Args:
            arch: name of the architecture, such as "pix2pix".
            settings: recipe fields, such as `ngf=32`.

        Raises:
            PluginError: no such architecture is installed.
        """
        ARCHITECTURES.load(arch)
        return cls(arch, settings, Untrained(arch))

    @classmethod
    @checked_arguments
    def of(
        cls,
        generator: nn.Module,
        task: str,
        discriminator: nn.Module | None = None,
        *,
        example: Tensor | None = None,
        value_range: str | Sequence[float] = USUAL,
        losses: Callable[..., Any] | None = None,
        gates: Sequence[str] | None = None,
        file: str | Path | None = None,
        **settings: Any,
    ) -> Teacher:
        """Return a teacher that consists of your own networks; copies are taken.

        Args:
            generator: any generator, trained.
            task: what it does: "paired", "unpaired", "super-resolution" or "noise".
            discriminator: its discriminator, trained. None means a new one that suits the task.
            example: the generator's input for one sample, (1, ...), which sets the size of training and the resolution of costs.
                None means an image of the recipe's `size`, or `cost_size` for super-resolution; the task "noise" needs an example.
            value_range: the values that the generator uses for black and white, such as (0, 1) or "0..1".
            losses: returns the weighted losses by name, each a scalar, for the generator's output, (N, C, H, W) in [-1, 1], and the batch.
                None means the task's.
            gates: module paths of the discriminator whose outputs are gated in the student's copy. None means the norm after each
                convolution, or the convolution itself, except the last.
            file: where the generator's weights come from, for messages.
            settings: recipe fields.

        Raises:
            GccError: the task is unknown, or the generator does not fit it.
        """
        family, found = family_for(
            task,
            generator,
            discriminator,
            example=example,
            value_range=value_range,
            losses=losses,
            gates=gates,
            settings=settings,
        )
        networks = Own(family, None if file is None else Path(file))
        return cls(task, {**found, **networks.settings, **settings}, networks)

    @classmethod
    @checked_arguments
    def of_code(
        cls,
        path: str,
        task: str,
        file: str | Path | None = None,
        *,
        example: Tensor | None = None,
        value_range: str | Sequence[float] = USUAL,
        **settings: Any,
    ) -> Teacher:
        """Return a teacher whose generator the code at a path makes, such as `my_package.models:Generator`.

        Without a file, weights that the code draws are those of a new network, which trains along with the student, as a family's does.

        Args:
            path: module and name of the class or function; never one from a file.
            task: what the generator does, as for `of`.
            file: its trained weights.
            example: as for `of`.
            value_range: as for `of`.
            settings: recipe fields.

        Raises:
            GccError: the generator cannot be made, the weights do not fit it, or it does not fit the task.
        """
        file = None if file is None else Path(file)
        generator = generator_at(path, file)
        family, found = family_for(task, generator, example=example, value_range=value_range, path=path, settings=settings)
        networks = New(family) if file is None and draws_weights(path, generator) else Own(family, file)
        return cls(task, {**found, **networks.settings, **settings}, networks)

    @classmethod
    @checked_arguments
    def of_file(cls, file: str | Path, task: str = "super-resolution", key: str = "", **settings: Any) -> Teacher:
        """Return a teacher that is a restoration network of one of the architectures that spandrel knows (extra `zoo`).

        Args:
            file: its weights, as `.pth` or `.safetensors`; tensors alone are read.
            task: what it does: "super-resolution", or "paired" for a network that keeps the size.
            key: where the weights are in a checkpoint. Empty takes the averaged ones (`params_ema`), if there are several.
            settings: recipe fields.

        Raises:
            ArtifactError: the file cannot be read, or spandrel does not know the architecture.
            GccError: spandrel is not installed, or the network does not fit the task.
        """
        model = read_zoo_model(Path(file), key)
        example = torch.zeros(1, model.channels, model.size, model.size)
        family, found = family_for(task, model.network, example=example, value_range=VALUE_RANGE, zoo=model.description, settings=settings)
        networks = Own(family, Path(file))
        return cls(task, {**found, **networks.settings, **settings}, networks)

    @classmethod
    @checked_arguments
    def load(cls, folder: str | Path, factory: Callable[[], nn.Module] | None = None, discriminator: nn.Module | None = None) -> Teacher:
        """Return the teacher saved in `folder` by `gcc compress` or `gcc train`, with its weights and recipe.

        Args:
            folder: the teacher's folder, or that of its run; or `hf://user/name`, optionally with `@revision`, on the Hugging Face Hub.
            factory: returns the full generator, such as its class, if the generator is your own.
            discriminator: a module of the class of its discriminator, if that is your own. None leaves the saved one out.

        Raises:
            ArtifactError: the folder does not hold a whole, undamaged teacher.
        """
        folder = resolve_location(folder, "teacher")
        pretrained = read(folder, role="teacher", factory=factory)
        first = next(iter(pretrained.values()))
        missing = set(first.architecture.generators) - pretrained.keys()
        if missing:
            rest = ", ".join(sorted(missing))
            raise ArtifactError(f"{folder} lacks the generator {rest}: give the folder of the whole teacher, or import {rest} into it")
        if discriminator is not None:
            if not isinstance(first.family, type) or not issubclass(first.family, CustomGAN):
                raise ArtifactError(f"{folder} has the discriminators of {first.arch}, which are not your own: leave `discriminator` out")
            family = with_discriminator(first.family, discriminator)
            pretrained = {name: replace(artifact, family=family) for name, artifact in pretrained.items()}
        return cls(first.arch, {}, Saved(folder, pretrained))

    @property
    def family(self) -> type[Architecture[Any]]:
        """The family."""
        return self.networks.family

    @property
    def folder(self) -> Path | None:
        """Where its networks are saved, if they are."""
        return self.networks.folder

    @property
    def factory(self) -> Callable[[], nn.Module] | None:
        """What makes the full generator, for reading students, if it is one of the user's own code."""
        return self.networks.factory

    @property
    def is_trained(self) -> bool:
        """Whether its generators have trained weights."""
        return self.networks.is_trained

    @property
    def has_discriminators(self) -> bool:
        """Whether trained discriminators come with trained generators; true for a teacher that is not trained."""
        return self.networks.has_discriminators

    @property
    def digests(self) -> Mapping[str, str]:
        """Digests of the weights that were given: of every file of its folder, or of every network that the user brings."""
        return self.networks.digests

    def describe(self, width: int) -> str:
        """Describe the teacher, whose generator has a width, in a few words."""
        return self.networks.describe(self.arch, width)

    @property
    def note(self) -> str:
        """What a user should know about this teacher, as a sentence; empty if there is nothing to say."""
        name = self.folder or "the generator"
        return "" if self.has_discriminators else f"{name} has no discriminators, so new ones train with the teacher"

    def generators(self) -> dict[str, nn.Module]:
        """Return copies of its trained generators by name, on the CPU.

        Raises:
            ArtifactError: a file is damaged.
        """
        return self.networks.generators()

    def load_into(self, generators: Networks, discriminators: Networks) -> None:
        """Load the pretrained weights, if there are any, into networks of the same shapes.

        Raises:
            ArtifactError: the files are damaged, or the networks are of another shape.
        """
        self.networks.load_into(generators, discriminators)

    def architecture(self, settings: Mapping[str, Any]) -> Architecture[Any]:
        """Return the architecture bound to its published recipe, or to the recipe that a pretrained teacher was trained with.

        A budget in the settings counts MACs exactly, and the width that is pruned follows from it, unless the settings say otherwise. The
        recipe's counter and width belong to the recipe's own budget. A number of epochs in the settings replaces the recipe's `steps`.
        An `lr_alpha` in the settings is not raised in short runs.

        Args:
            settings: recipe fields that override the recipe.

        Raises:
            BudgetError: the budget cannot be read.
            RecipeError: a field is unknown or out of range, or both `epochs` and `steps` are given.
        """
        return self._bound(self.networks.published(), settings)

    def demo_architecture(self, settings: Mapping[str, Any]) -> Architecture[Any]:
        """Return the architecture as `architecture` does, from the recipe for demo data instead of the published one."""
        return self._bound(self.networks.demo(), settings)

    def architecture_for(self, data: object, settings: Mapping[str, Any]) -> Architecture[Any]:
        """Return the architecture that a run on `data` has: `demo_architecture` if it is None, and `architecture` otherwise."""
        return self.demo_architecture(settings) if data is None else self.architecture(settings)

    def _bound(self, recipe: Recipe, settings: Mapping[str, Any]) -> Architecture[Any]:
        settings = self._with_own(settings)
        _require_possible(self.arch, recipe, settings)
        has_other_size = changed(recipe, settings).size != recipe.size
        fixed = self.networks.fixed_at_another_size() if has_other_size else {}
        recipe = changed(recipe, {**fixed, **recipe.implied(settings), **settings})
        # An imported teacher may be narrower than the width that its recipe prunes.
        if (settings.keys() & {"budget", "ngf"} or recipe.prune_width > recipe.ngf) and "prune_width" not in settings:
            recipe = changed(recipe, {"prune_width": width_for_budget(self.family(recipe))})
        return self.family(recipe)

    def _with_own(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings, and the teacher's own ones that they do not replace. Any length or size replaces the teacher's."""
        own = without_replaced_length(with_size_fields(self.settings), settings)
        if "size" in settings:
            own.pop("image_width", None)
        return renamed(own | with_size_fields(settings))


def _require_possible(arch: str, recipe: Recipe, settings: Mapping[str, Any]) -> None:
    """Refuse settings that exclude each other, or that the family does not have.

    Raises:
        RecipeError: both lengths are given, or rectangles to a family that trains on squares.
    """
    require_one_length(settings)
    if "image_width" in settings and not hasattr(recipe, "image_width"):
        raise RecipeError(f"{arch} trains on squares: give `size=N` instead of a width and a height")
