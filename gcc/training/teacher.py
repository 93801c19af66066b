"""The teacher: an architecture, its recipe, and the trained weights where it brings some along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gcc.artifacts.config import Artifact
from gcc.artifacts.model import fill, has_discriminators, located, read, read_discriminators
from gcc.errors import ArtifactError
from gcc.recipe import Recipe, changed
from gcc.registry import ARCHITECTURES, Architecture, Networks


@dataclass(frozen=True)
class Teacher:
    """A teacher of one GAN family.

    Attributes:
        arch: name of the architecture.
        settings: recipe fields that differ from the defaults.
        brought: the saved teacher by generator, where its weights are brought along.
        folder: where it is saved.
    """

    arch: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    pretrained: Mapping[str, Artifact] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def create(cls, arch: str, **settings: Any) -> Teacher:
        """Return a teacher that training will start afresh.

        Args:
            arch: name of the architecture, such as "pix2pix".
            settings: recipe fields, such as `ngf=32`.

        Raises:
            PluginError: no such architecture is installed.
        """
        ARCHITECTURES.load(arch)
        return cls(arch, settings)

    @classmethod
    def load(cls, folder: str | Path) -> Teacher:
        """Return a teacher with the weights and the recipe in `folder`, as `gcc compress` and `gcc train` save them.

        Args:
            folder: of the teacher's side; or `hf://user/name`, with `@revision` where it matters, on the Hugging Face Hub.

        Raises:
            ArtifactError: the folder holds no undamaged teacher.
        """
        folder = located(folder)
        pretrained = read(folder, role="teacher")
        arch = next(iter(pretrained.values())).arch
        missing = set(ARCHITECTURES.load(arch).generators) - pretrained.keys()
        if missing:
            rest = ", ".join(sorted(missing))
            raise ArtifactError(f"{folder} lacks the generator {rest}: give the folder of the whole teacher, or import {rest} into it")
        return cls(arch, pretrained=pretrained, folder=folder)

    @property
    def has_discriminators(self) -> bool:
        """Whether trained discriminators are brought along wherever a trained generator is."""
        return self.folder is None or has_discriminators(self.folder)

    @property
    def note(self) -> str:
        """What a user must know of this teacher, as a sentence; empty where there is nothing to say."""
        return "" if self.has_discriminators else f"{self.folder} has no discriminators, so fresh ones train with the teacher"

    def load_into(self, generators: Networks, discriminators: Networks) -> None:
        """Put the weights that are brought along, if any, into networks of the same shapes.

        Raises:
            ArtifactError: the files are damaged, or the networks are of another shape.
        """
        if self.folder is None:
            return
        saved = {name: artifact.network() for name, artifact in self.pretrained.items()}
        judges = read_discriminators(self.folder, next(iter(self.pretrained.values())).architecture)
        for networks, given in ((generators, saved), (discriminators, judges)):
            for name, network in given.items():
                fill(networks[name], network, self.folder)

    def architecture(self, *, demo: bool, settings: Mapping[str, Any]) -> Architecture[Any]:
        """Return the architecture bound to its recipe.

        Args:
            demo: whether the recipe starts from the demo's instead of the published one; a brought teacher starts from its own.
            settings: recipe fields that override everything else.

        Raises:
            RecipeError: a field is unknown or out of range.
        """
        family = ARCHITECTURES.load(self.arch)
        recipe: Recipe = family.demo() if demo else family.published()
        for artifact in self.pretrained.values():
            recipe = artifact.recipe
        return family(changed(recipe, {**self.settings, **settings}))
