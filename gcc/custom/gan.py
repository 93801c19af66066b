"""A GAN family made of a task and the networks that a user brings."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from gcc.custom.description import describe, parse
from gcc.custom.networks import CustomNetworks
from gcc.errors import GccError
from gcc.losses.selectors import spread
from gcc.models.build import generator_on_meta
from gcc.models.calls import located_errors
from gcc.models.gate_insertion import with_gates
from gcc.models.modules import on_meta
from gcc.models.value_range import USUAL, InRange, ValueRange
from gcc.pruning.graph.reset import reset
from gcc.recipe import Recipe
from gcc.registry import Architecture, Batch, Gate, Group, Networks, Samples, Taps, Width, no_gate
from gcc.utils.arguments import shown

R = TypeVar("R", bound=Recipe)
TAKEN_NAMES = {"G", "distill_G", "distill_D", "imbalance", "arch", "D_real", "D_fake", "D_penalty"}
ARRANGING = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Permute", "Transpose", "T", "Clone", "Cat", "Mean")
"""The beginnings of the names of autograd's nodes that arrange or average values."""
GENERATOR_TAPS, DISCRIMINATOR_TAPS = 4, 2
"""Numbers of distilled layers, as in most rows of Table II."""


class CustomGAN(Architecture[R], abc.ABC, Generic[R]):
    """The networks that a user brings, as a family; a subclass adds the task and its default discriminator.

    `CustomGAN.of(networks)` returns a class whose instances, like those of any family, contain only their recipe.
    """

    networks: ClassVar[CustomNetworks]

    @classmethod
    def of(cls, networks: CustomNetworks) -> type[Self]:
        """Return the family of these networks."""
        task = next(base for base in cls.__mro__ if "networks" not in vars(base))
        return type(cls.__name__, (task,), {"networks": networks, "__module__": cls.__module__, "__doc__": cls.__doc__})

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a process that reads data have the family without its networks: their code may not be picklable."""
        task = type(self).__mro__[1]
        return _unpickled, (task, describe(self.networks), self.recipe)

    @classmethod
    def demo(cls) -> R:
        return cls.published()

    @classmethod
    @abc.abstractmethod
    def settings_of(cls, input_shape: Sequence[int], output_shape: Sequence[int]) -> dict[str, Any]:
        """Return the recipe fields that follow from the shapes of a generator's input and output, such as a scale.

        Raises:
            GccError: the shapes do not fit the task.
        """

    @classmethod
    @abc.abstractmethod
    def input_shape_of(cls, recipe: R) -> tuple[int, ...]:
        """Return the shape of a generator's input for one sample, if the user gives no example.

        Raises:
            GccError: the task needs an example.
        """

    @classmethod
    def in_range(cls, generator: nn.Module, value_range: ValueRange) -> nn.Module:
        """Return a generator whose images have a given range as one with images in [-1, 1]."""
        return generator if value_range == USUAL else InRange(generator, value_range)

    @abc.abstractmethod
    def default_discriminator(self, gate: Gate) -> nn.Module:
        """Build the discriminator of the task, with gates, if the user brings none."""

    @abc.abstractmethod
    def example_samples(self, batch: Batch) -> Samples:
        """Return real images of a batch as if the generator had returned them."""

    def describe_networks(self) -> dict[str, Any]:
        return describe(self.networks)

    @classmethod
    def described(cls, networks: Mapping[str, Any], factory: Callable[[], nn.Module] | None) -> type[Self]:
        return cls.of(parse(networks, factory, cls.in_range))

    def example_input(self) -> Tensor:
        return torch.zeros(self.networks.input_shape)

    def task_losses(self, networks: Networks, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        if self.networks.losses is None:
            return super().task_losses(networks, batch, samples)
        (fake,) = samples.values()
        return checked_losses(self.networks.losses(fake, batch))

    @property
    def size_multiple(self) -> int | None:
        return self.networks.size_multiple

    def widths(self, base: int) -> dict[str, Width]:
        return {name: Width(channels) for name, channels in self.networks.channels.items()}

    def groups(self, base: int) -> Sequence[Group]:
        return [one.group for one in self.networks.followed.channels]

    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        return self.networks.build(widths)

    def readable(self, generator: nn.Module) -> nn.Module:
        return self.networks.readable(generator)

    def inherit(self, generator: nn.Module, kept: Mapping[str, Sequence[int]]) -> nn.Module:
        return self.networks.inherit(generator, kept)

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        given = self.networks.discriminator
        if given is None:
            return self.default_discriminator(gate)
        remedy = f"{self.how_to_wrap}; if it takes images of another size, give that as `size`"
        network = with_gates(given, self._discriminated(), gate, self.networks.gates, remedy)
        if torch.get_default_device().type != "meta":
            reset(network)
        return network

    def taps(self) -> Taps:
        return self._taps

    @cached_property
    def _taps(self) -> Taps:
        """A few activations of each network, spread over its resolutions."""
        with torch.device("meta"):
            full = generator_on_meta(self, self.full_widths(1))
            generator = spread(full, self.example_input(), GENERATOR_TAPS)
            network, images = on_meta(self.build_discriminator), self._discriminated()
            self._require_logits_of(network, images)
            discriminator = spread(network, images, DISCRIMINATOR_TAPS)
        return Taps(tuple(generator), tuple(discriminator))

    def _require_logits_of(self, network: nn.Module, images: Tensor) -> None:
        """Refuse a discriminator that does not return logits, in evaluation mode or for a batch in training mode.

        Args:
            network: the discriminator, which ends in evaluation mode.
            images: its input for one sample.

        Raises:
            GccError: it does not run, or returns something else.
        """
        batch = images.expand(self.recipe.batch_size, *images.shape[1:])
        takes = f"expected a discriminator that takes {tuple(images.shape)}: give another one as `discriminator`, or a larger `size`"
        trains = f"expected a discriminator that trains on batches {tuple(batch.shape)}"
        for training, inputs, expected in ((False, images, takes), (True, batch, trains)):
            with located_errors(network, expected):
                logits = network.train(training)(inputs)
            _require_logits(logits, self.recipe.gan_mode)
        network.eval()

    @property
    def how_to_wrap(self) -> str:
        """What to do about a discriminator that does not take the input that the task gives it."""
        return "wrap it in a module whose forward takes this one tensor"

    def _discriminated(self) -> Tensor:
        """Return zeros of the shape that the discriminator gets, for one sample."""
        batch = self.example_batch()
        return self.pairs(batch, self.example_samples(batch))["D"].real


def _require_logits(logits: Any, gan_mode: str) -> None:
    """Refuse what a discriminator returned if the losses of `gan_mode` cannot read it.

    Raises:
        GccError: it is not a tensor, or it contains probabilities.
    """
    if not isinstance(logits, Tensor):
        raise GccError(
            f"the discriminator returns {type(logits).__name__}: expected its logits as one tensor; of several scales, join the "
            "flattened logits by torch.cat"
        )
    if gan_mode != "lsgan" and _are_probabilities(logits):
        raise GccError(f"the discriminator ends with a sigmoid, and the {gan_mode} loss expects logits: leave the sigmoid out")


def _are_probabilities(logits: Tensor) -> bool:
    """Return whether a tensor with a graph is the output of a sigmoid, or of several, in whatever arrangement."""
    nodes = [logits.grad_fn]
    while nodes:
        node = nodes.pop()
        name = "" if node is None else node.name().removesuffix("Backward0").removesuffix("Backward1")
        if name == "Sigmoid":
            return True
        if node is not None and name in ARRANGING:
            nodes += [following for following, _ in node.next_functions]
    return False


def _unpickled(task: type[CustomGAN[Any]], description: Mapping[str, Any], recipe: Recipe) -> CustomGAN[Any]:
    return task.described(description, None)(recipe)


def checked_losses(losses: Any) -> dict[str, Tensor]:
    """Return the losses that a user's function returned.

    Raises:
        GccError: they are not scalars by names of their own.
    """
    if not isinstance(losses, Mapping) or not all(isinstance(loss, Tensor) and loss.ndim == 0 for loss in losses.values()):
        raise GccError(f"losses returned {shown(losses)}: expected scalar tensors by name, such as {{'l1': 10 * loss}}")
    if taken := TAKEN_NAMES & losses.keys():
        raise GccError(f"losses returned {', '.join(sorted(taken))}: these are names of the method's own losses; rename them")
    return dict(losses)
