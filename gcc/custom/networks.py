"""The networks that a user brings, and how their generator is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from gcc.custom.zoo import ZooNetwork
from gcc.errors import ArtifactError, GccError, abridged
from gcc.models.calls import Arguments, copy_of, located_errors, shapes_of
from gcc.models.gate import load_ungated
from gcc.models.modules import evaluating
from gcc.models.value_range import USUAL, ValueRange
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.computed_weights import computed_weights
from gcc.pruning.graph.groups import Selection, with_named_parts
from gcc.pruning.graph.proven_cut import proven_cut
from gcc.pruning.graph.reset import matrices, owners, reset
from gcc.pruning.graph.ways import Followed, followed_code, followed_graph
from gcc.registry import Batch

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LEAST_SIZES = (40, 56)
"""About the least height and width that are tried, which reflection padding must be able to pad."""
Losses = Callable[[Tensor, Batch], Mapping[str, Tensor]]
"""Returns weighted scalar losses by name for the generator's output and the training batch."""


@dataclass(frozen=True, eq=False)
class CustomNetworks:
    """A generator that a user brings, and what belongs to it.

    Attributes:
        make: returns the generator, on the CPU, with images in [-1, 1]; None if only its description is known, as in a saved model.
        made_by: the class or function that makes the generator, for messages and `config.json`.
        input_shape: the shape of its input for one sample, (1, ...).
        output_shape: the shape of its output for that input, (1, C, H, W).
        value_range: the values that mean black and white to it.
        discriminator: the discriminator, on the CPU; None means the task's.
        gates: module paths of the discriminator whose outputs are gated; None finds them.
        losses: the task losses; None means the task's.
        zoo: how the generator is made, if it is one of spandrel's.
        known_channels: channels of every group, by name, if the generator is not there to be traced.
        known_multiple: `size_multiple` in the same case.
        made_discriminator: the class of the user's discriminator, for messages and `config.json`; empty if it is the task's.
        own: returns the generator as the user brought it, with images in its own range, to read students with.
    """

    make: Callable[[], nn.Module] | None
    made_by: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    value_range: ValueRange = USUAL
    discriminator: nn.Module | None = None
    gates: Sequence[str] | None = None
    losses: Losses | None = None
    zoo: ZooNetwork | None = None
    known_channels: Mapping[str, int] = field(default_factory=dict)
    known_multiple: int | None = None
    made_discriminator: str = ""
    own: Callable[[], nn.Module] | None = None

    @cached_property
    def generator(self) -> nn.Module:
        """The full generator.

        Raises:
            ArtifactError: only its description is known, or it cannot be made.
        """
        if self.make is None:
            raise ArtifactError(
                f"this generator was made by {self.made_by}, and code that a file names is not imported: give what makes the full "
                "generator, such as its class, as `factory`"
            )
        return self.make()

    @cached_property
    def channels(self) -> Mapping[str, int]:
        """The channels of every group by name."""
        return self.known_channels or {one.group.name: one.group.channels for one in self.followed.channels}

    @cached_property
    def size_multiple(self) -> int | None:
        """The number that heights and widths of images must be multiples of; None if smaller generators run on the example's size only."""
        if self.known_channels:
            return self.known_multiple
        with torch.device("meta"):
            return find_size_multiple(self.build(self.channels).eval(), self.input_shape, self.output_shape)

    @cached_property
    def followed(self) -> Followed:
        """The channels of the generator, and how it is cut: its code if all channels can be cut in it, else its graph if that can be cut.

        Raises:
            GccError: it cannot be cut; the message names the layer.
            ArtifactError: it is not the generator that the description is about.
        """
        inputs = (self._random_input(),)
        with torch.device("cpu"):
            generator = self.generator
            try:
                followed = _followed(generator, inputs)
            except GccError as error:
                if not self.known_channels:
                    raise
                remedy = f"if it is not {self.made_by}, which was saved, give what made that one as `factory`"
                raise ArtifactError(f"{error}; {remedy}") from error
        channels = {one.group.name: one.group.channels for one in followed.channels}
        if self.known_channels and channels != self.known_channels:
            missing = (f"{name!r} is missing" for name in self.known_channels if name not in channels)
            new = (f"{name!r} is new" for name in channels if name not in self.known_channels)
            counts = ((name, count, self.known_channels.get(name, count)) for name, count in channels.items())
            different = (f"{name!r} has {now} channels instead of {saved}" for name, now, saved in counts if now != saved)
            raise self._other_generator(abridged([*different, *missing, *new]))
        self._require_any_batch(followed.narrowed(self._shapes, channels))
        return followed

    def _other_generator(self, reason: str) -> ArtifactError:
        return ArtifactError(f"this is not {self.made_by}, which was saved: {reason}; give what made that one as `factory`")

    def _require_any_batch(self, network: nn.Module) -> None:
        """Refuse a generator, on the meta device, that runs on single samples only.

        Raises:
            GccError: it does not run on two.
        """
        two = torch.zeros(2, *self.input_shape[1:], device="meta")
        expected = "expected a generator that runs on any batch, with its size from `image.shape[0]`, not from `len(image)`"
        with torch.no_grad(), located_errors(network, expected):
            network(two)

    @cached_property
    def _shapes(self) -> nn.Module:
        return shapes_of(self.generator)

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """Return a new generator of these widths on the default device, with weights drawn by each module's `reset_parameters`.

        What no module draws, such as a learned constant, is that of the full generator; see `require_drawn_generator`.
        """
        if torch.get_default_device().type == "meta":
            return self.followed.narrowed(self._shapes, widths)
        network = self.followed.narrowed(self.generator, widths)
        reset(network)
        return network

    def require_drawn_generator(self) -> None:
        """Refuse students with new weights if no module draws some weights of the generator.

        Raises:
            GccError: such weights would be those of the given generator.
        """
        _require_drawn("generator", self.followed.narrowed(self.generator, self.channels))

    def require_drawn_discriminator(self) -> None:
        """Refuse a new discriminator if no module draws some weights of the user's.

        Raises:
            GccError: such weights would be those of the given discriminator.
        """
        if self.discriminator is not None:
            _require_drawn("discriminator", copy_of(self.discriminator))

    def load_into(self, generator: nn.Module, discriminator: nn.Module) -> None:
        """Load the weights of these networks into networks that were built from them; a new discriminator and gates keep their own."""
        generator.load_state_dict(self.generator.state_dict())
        if self.discriminator is not None:
            load_ungated(discriminator, self.discriminator.state_dict())

    def readable(self, generator: nn.Module) -> nn.Module:
        """Return a generator as metrics read it: parts of weights, and weights that code computes, have names."""
        return with_named_parts(generator, self.followed.channels, computed_weights(self.followed.trace.graph, generator))

    def inherit(self, generator: nn.Module, kept: Mapping[str, Sequence[int]]) -> nn.Module:
        """Return a generator with the weights of the kept channels of a trained one, on the CPU.

        Args:
            generator: the trained full generator.
            kept: indices of the channels that stay, by group name.

        Raises:
            GccError: the smaller generator does not compute what the full one does without these channels, it cannot be made again from
                its widths and its `state_dict`, or its output depends on random numbers or on earlier inputs.
        """
        full, inputs = self._with_weights_of(generator), (self._random_input(),)
        selection = Selection(self.followed.trace.atoms, self.followed.channels, kept)
        smaller = proven_cut(full, self.followed, selection, inputs, "inherited").network
        again = self.build({name: len(kept.get(name, range(channels))) for name, channels in self.channels.items()})
        again.load_state_dict(smaller.state_dict())
        with torch.no_grad(), evaluating(smaller), evaluating(again):
            expected, repeated = (copy_of(smaller)(*inputs) for _ in range(2))
            if not torch.equal(repeated, expected):
                raise GccError(
                    f'{self.made_by} draws random numbers in evaluation mode, so that its student cannot be proven: give `start="fresh"`'
                )
            smaller(*inputs)
            if not torch.equal(smaller(*inputs), expected):
                raise GccError(
                    f"{self.made_by} changes tensors of its own in evaluation mode, so that its output depends on earlier inputs: change "
                    "them only while `self.training` is true"
                )
            if not torch.equal(expected, again(*inputs)):
                raise GccError(
                    f"the pruned {self.made_by} depends on tensors that its state_dict lacks, so it could not be loaded: register them as "
                    'persistent buffers, or give `start="fresh"`'
                )
        return again

    def _with_weights_of(self, generator: nn.Module) -> nn.Module:
        """Return a copy of the full generator with the weights of one that was built from it."""
        full = copy_of(self.generator)
        full.load_state_dict(generator.state_dict())
        return full

    def _random_input(self) -> Tensor:
        return torch.randn(self.input_shape, generator=torch.Generator().manual_seed(0), device="cpu")


def find_size_multiple(network: nn.Module, input_shape: Sequence[int], output_shape: Sequence[int]) -> int | None:
    """Return the smallest power of two of which the heights and widths that a network runs on must be multiples; None if there is none.

    Args:
        network: the network, on the meta device.
        input_shape: the shape of its example, (1, C, H, W).
        output_shape: the shape of its output for the example.
    """
    if len(input_shape) != 4:
        return None
    scale = output_shape[2] // input_shape[2]
    for multiple in MULTIPLES:
        # Odd multiples are not multiples of twice the number.
        height, width = (multiple * (2 * (least // (2 * multiple)) + 1) for least in LEAST_SIZES)
        # A generator that takes one size only must not pass.
        width += 2 * multiple * (width == height)
        with suppress(Exception), torch.no_grad():  # A user's code can raise anything.
            fake = network(torch.zeros(1, input_shape[1], height, width, device="meta"))
            if tuple(fake.shape) == (1, output_shape[1], scale * height, scale * width):
                return multiple
    return None


def _require_drawn(role: str, network: nn.Module) -> None:
    """Refuse a network some of whose weights no module draws; biases and scales of channels may stay as they are.

    Args:
        role: what the network is.
        network: a copy, whose weights are drawn anew.

    Raises:
        GccError: a weight with more than one dimension stays as it is.
    """
    if weights := matrices(network, reset(network)):
        raise GccError(
            f'start = "fresh": nothing draws {abridged(map(repr, weights))} of the {role} anew, so the student would start with the given '
            f'weights: give `start="inherited"`, or define reset_parameters in {" and ".join(owners(network, weights))}'
        )


def _followed(generator: nn.Module, inputs: Arguments) -> Followed:
    graph = Graph(generator, *inputs)
    try:
        followed = followed_code(generator, graph, inputs, ())
    except GccError:
        return followed_graph(generator, graph, inputs, ())
    if followed.constant:
        with suppress(Exception):  # torch.export and a user's module can raise anything.
            return followed_graph(generator, graph, inputs, ())
    return followed
