"""The networks that a teacher starts with: none, those that a run saved, or those that a user brings."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from gcc.artifacts.config import Artifact
from gcc.artifacts.model import has_discriminators, load_matching_weights, read_discriminators
from gcc.custom.gan import CustomGAN
from gcc.models.calls import copy_of
from gcc.recipe import Recipe
from gcc.registry import ARCHITECTURES, Architecture, Networks
from gcc.utils.weights import digest_of_tensors, short_sha256

FROZEN: Mapping[str, Any] = {"train_teacher": False, "lambda_distill_d": 0.0, "lambda_global": 0.0}
"""The recipe of a trained teacher without a discriminator: it stays as it is, and no loss reads its discriminator. Trained on against a new
one, a good teacher becomes worse before the two are in balance."""


class TeacherNetworks(abc.ABC):
    """The networks that a teacher starts with."""

    @property
    def folder(self) -> Path | None:
        """Where they are saved, if they are."""
        return None

    @property
    @abc.abstractmethod
    def origin(self) -> str:
        """Where they come from, as a phrase."""

    @property
    @abc.abstractmethod
    def family(self) -> type[Architecture[Any]]:
        """The family."""

    @property
    def is_trained(self) -> bool:
        """Whether the generators have trained weights."""
        return True

    @property
    @abc.abstractmethod
    def has_discriminators(self) -> bool:
        """Whether trained discriminators come with trained generators; true if no network is trained."""

    @property
    def factory(self) -> Callable[[], nn.Module] | None:
        """What makes the full generator, for reading students, if it is one of the user's own code."""
        networks = getattr(self.family, "networks", None)
        return networks.own if networks is not None and networks.zoo is None else None

    @property
    @abc.abstractmethod
    def digests(self) -> Mapping[str, str]:
        """Digests of the weights, by file or network."""

    def source_of(self, name: str) -> str:
        """Return where the weights come from that have a digest of this name, for messages."""
        return name

    def published(self) -> Recipe:
        """Return the recipe that settings change."""
        recipe: Recipe = self.family.published()
        return recipe

    def demo(self) -> Recipe:
        """Return the recipe for demo data that settings change."""
        recipe: Recipe = self.family.demo()
        return recipe

    def fixed_at_another_size(self) -> Mapping[str, Any]:
        """Return the recipe fields that the weights fix although they would follow from another size."""
        return {}

    @abc.abstractmethod
    def describe(self, arch: str, width: int) -> str:
        """Describe the teacher of an architecture, whose generator has a width, in a few words."""

    @abc.abstractmethod
    def generators(self) -> dict[str, nn.Module]:
        """Return copies of the trained generators by name, on the CPU.

        Raises:
            ArtifactError: a file is damaged.
        """

    @abc.abstractmethod
    def load_into(self, generators: Networks, discriminators: Networks) -> None:
        """Load the trained weights into networks of the same shapes.

        Raises:
            ArtifactError: the files are damaged, or the networks are of another shape.
        """


class NewWeights(TeacherNetworks):
    """Networks that nobody has trained: they train along with the student."""

    @property
    def origin(self) -> str:
        return "not pretrained"

    @property
    def is_trained(self) -> bool:
        return False

    @property
    def has_discriminators(self) -> bool:
        return True


@dataclass(frozen=True)
class Untrained(NewWeights):
    """No networks: those of an installed family, with new weights.

    Attributes:
        arch: name of the architecture.
    """

    arch: str

    @property
    def family(self) -> type[Architecture[Any]]:
        return ARCHITECTURES.load(self.arch)

    @property
    def digests(self) -> Mapping[str, str]:
        return {}

    def describe(self, arch: str, width: int) -> str:
        return f"{arch} of width {width}, {self.origin}"

    def generators(self) -> dict[str, nn.Module]:
        return {}

    def load_into(self, generators: Networks, discriminators: Networks) -> None:
        """Leave the new weights as they are."""


@dataclass(frozen=True)
class Saved(TeacherNetworks):
    """Networks that a run or an import saved.

    Attributes:
        path: the folder.
        artifacts: the generators by name.
    """

    path: Path
    artifacts: Mapping[str, Artifact]

    @property
    def folder(self) -> Path:
        return self.path

    @property
    def _first(self) -> Artifact:
        # All generators of a teacher have the same recipe.
        return next(iter(self.artifacts.values()))

    @property
    def origin(self) -> str:
        return f"pretrained in {self.folder}"

    @property
    def family(self) -> type[Architecture[Any]]:
        return self._first.family or ARCHITECTURES.load(self._first.arch)

    @property
    def has_discriminators(self) -> bool:
        networks = getattr(self.family, "networks", None)
        is_code_missing = networks is not None and networks.made_discriminator and networks.discriminator is None
        return not is_code_missing and has_discriminators(self.folder)

    @cached_property
    def digests(self) -> Mapping[str, str]:
        return {str(path.relative_to(self.folder)): short_sha256(path) for path in sorted(self.folder.glob("**/*.safetensors"))}

    def source_of(self, name: str) -> str:
        return str(self.folder / name)

    def published(self) -> Recipe:
        return self._first.recipe

    def demo(self) -> Recipe:
        return self._first.recipe

    def fixed_at_another_size(self) -> Mapping[str, Any]:
        return self._first.architecture.fixed_by_weights()

    def describe(self, arch: str, width: int) -> str:
        return f"{arch} of width {width}, pretrained"

    def generators(self) -> dict[str, nn.Module]:
        return {name: artifact.network() for name, artifact in self.artifacts.items()}

    def load_into(self, generators: Networks, discriminators: Networks) -> None:
        saved = read_discriminators(self.folder, self._first.architecture) if self.has_discriminators else {}
        for networks, trained in ((generators, self.generators()), (discriminators, saved)):
            for name, network in trained.items():
                load_matching_weights(networks[name], network, self.folder, "teacher")


@dataclass(frozen=True)
class Own(TeacherNetworks):
    """Networks that the user brings.

    Attributes:
        own: the family of these networks.
        file: where the generator's weights come from, if that is known.
    """

    own: type[CustomGAN[Any]]
    file: Path | None = None

    @property
    def origin(self) -> str:
        return "as given"

    @property
    def family(self) -> type[CustomGAN[Any]]:
        return self.own

    @property
    def has_discriminators(self) -> bool:
        return self.family.networks.discriminator is not None

    @cached_property
    def digests(self) -> Mapping[str, str]:
        networks = {"generator": self.family.networks.generator, "discriminator": self.family.networks.discriminator}
        return {name: digest_of_tensors(network.state_dict()) for name, network in networks.items() if network is not None}

    def source_of(self, name: str) -> str:
        return str(self.file) if self.file and name == "generator" else name

    @property
    def settings(self) -> Mapping[str, Any]:
        """The recipe fields that follow from what the user brings."""
        return {} if self.has_discriminators else FROZEN

    def describe(self, arch: str, width: int) -> str:
        return f"{self.family.networks.made_by}, {arch}"

    def generators(self) -> dict[str, nn.Module]:
        return {"G": copy_of(self.family.networks.generator)}

    def load_into(self, generators: Networks, discriminators: Networks) -> None:
        self.family.networks.load_into(generators["G"], discriminators["D"])


class New(NewWeights, Own):
    """Networks that a user's code makes with weights that it draws."""
