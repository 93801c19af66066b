"""The ways to follow and cut the channels of a generator: its own code runs with fewer channels, or its graph does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from operator import itemgetter

from torch import nn

from gcc.errors import GccError
from gcc.models.calls import Arguments, located_errors, shapes_of
from gcc.pruning.cost import cost_of_shapes
from gcc.pruning.graph.aten_graph import Graph, calls_before_error, describe_call, operator_name
from gcc.pruning.graph.call import Rule
from gcc.pruning.graph.graph_form import graph_forms
from gcc.pruning.graph.groups import Channels, Selection, find_channels
from gcc.pruning.graph.propagate import RANGES, ChannelTrace
from gcc.pruning.graph.rules import RULES, SEPARATE_RANGES, TRUNK_SIZED_HEADS
from gcc.pruning.graph.slice import cut
from gcc.pruning.graph.training import graph_for_training, require_same_steps, training_graph
from gcc.pruning.graph.verify import NO_CONSTANTS, require_same_graph


@dataclass(frozen=True)
class Followed:
    """The channels of a generator, and how it is cut.

    Attributes:
        trace: the trace of its graph.
        channels: its channel groups.
        cut: returns a copy of the generator, or of a copy on another device, that has only the selected positions.
        constant: layers whose number of channels the code contains as a constant, so that they keep all.
    """

    trace: ChannelTrace
    channels: list[Channels]
    cut: Callable[[nn.Module, Selection], nn.Module]
    constant: tuple[str, ...] = ()

    @property
    def layers(self) -> list[str]:
        """The layers that can lose channels."""
        return [producer.parameter.rpartition(".")[0] for one in self.channels for producer in one.group.producers]

    def narrowed(self, network: nn.Module, widths: Mapping[str, int]) -> nn.Module:
        """Return a copy of the generator, or of a copy on another device, with the first channels of every group."""
        return self.cut(network, Selection(self.trace.atoms, self.channels, {name: range(width) for name, width in widths.items()}))


def followed_code(generator: nn.Module, graph: Graph, inputs: Arguments, leave: Collection[str]) -> Followed:
    """Return the way to follow the channels of a generator for which its own code runs with fewer channels in most layers.

    Raises:
        GccError: no way does; the error is that of the cut that came furthest in the generator's code.
    """
    training = training_graph(generator, graph, *inputs)
    errors: list[tuple[int, GccError]] = []
    ways: list[Followed] = []
    prunable: dict[str, None] = {}
    for follow_attributes, rules in product((False, True), (*_rules_for_ranges(graph), TRUNK_SIZED_HEADS)):
        trace = ChannelTrace(graph, leave, rules, training.graph if training else None, follow_attributes)
        try:
            followed = Followed(trace, _found_channels(trace), partial(cut, trace))
        except GccError as error:
            errors.append((0, error))
            continue
        prunable |= dict.fromkeys(followed.layers)
        smaller, selection = _trial(generator, followed)
        try:
            _require_same_code(smaller, inputs, trace, selection)
            if trace.stored_sizes:
                _require_independent(generator, inputs, trace, followed.channels)
            if training is not None:
                _require_same_code(smaller, training.inputs, trace, selection, training.graph)
        except GccError as error:
            errors.append((calls_before_error(smaller, *inputs), error))
        else:
            ways.append(followed)
            if prunable.keys() <= set(followed.layers):
                break
    if not ways:
        raise max(errors, key=itemgetter(0))[1]
    followed = max(ways, key=lambda way: len(set(way.layers)))
    return replace(followed, constant=tuple(layer for layer in prunable if layer not in followed.layers))


def _rules_for_ranges(graph: Graph) -> tuple[Mapping[str, Rule], ...]:
    """Return the rules to follow ranges of channels with, the most general first."""
    has_ranges = any(operator_name(node) in RANGES for node in graph.calls)
    return (SEPARATE_RANGES, RULES) if has_ranges else (RULES,)


def followed_graph(generator: nn.Module, graph: Graph, inputs: Arguments, leave: Collection[str]) -> Followed:
    """Return the most general way to cut the graph of a generator, with other constants, for which a trial cut succeeds.

    Raises:
        GccError: no way does; the error is that of the last one.
    """
    training = graph_for_training(generator, graph, *inputs)
    failure = GccError("torch cannot export it in this form")
    for rules in _rules_for_ranges(graph):
        trace = ChannelTrace(graph, leave, rules, training.graph if training else None)
        channels = _found_channels(trace)
        for form in graph_forms(trace):
            followed = Followed(trace, channels, form.cut)
            smaller, selection = _trial(generator, followed)
            try:
                _require_same_code(smaller, inputs, trace, selection)
                if training is not None:
                    _require_same_code(smaller, training.inputs, trace, selection, training.graph)
                require_same_steps(generator, form.cut(generator, Selection(trace.atoms, channels, {})), inputs)
            except GccError as error:
                failure = error
            else:
                return followed
    raise failure


def _found_channels(trace: ChannelTrace) -> list[Channels]:
    channels = find_channels(trace)
    if not channels:
        lines = [describe_call(node) for node in trace.walls[:1]]
        reason = f"pruning has no rule for {lines[0]}" if lines else "expected a convolution or linear layer between two others"
        raise GccError(f"no channel of this generator can be pruned: {reason}")
    return channels


def _trial(generator: nn.Module, followed: Followed) -> tuple[nn.Module, Selection]:
    """Return the generator without the first and the last channels of every group, and its selection.

    Fewer channels go from the front than from the end, and other numbers from neighbouring groups, so that code that halves a size fails
    if the halves do not lose the same channels.
    """
    kept = {
        one.group.name: range(one.group.channels > 2, one.group.channels - _from_the_end(number, one.group.channels))
        for number, one in enumerate(followed.channels)
    }
    selection = Selection(followed.trace.atoms, followed.channels, kept)
    return followed.cut(generator, selection), selection


def _from_the_end(number: int, channels: int) -> int:
    """Return how many of its last channels a trial removes from group `number`: two to five, if at least one more is left."""
    return max(1, min(2 + number % 4, channels - 2))


def _require_independent(generator: nn.Module, inputs: Arguments, trace: ChannelTrace, channels: Collection[Channels]) -> None:
    """Check that the code runs if some groups lose a channel and others do not: sizes that are equal by chance then differ.

    In each trial, those groups lose a channel whose number has a certain binary digit. So any two groups differ in one of the trials.

    Raises:
        GccError: it does not.
    """
    shapes = shapes_of(generator)
    for digit in range(len(channels).bit_length()):
        narrower = [one.group for number, one in enumerate(channels, start=1) if number >> digit & 1]
        smaller = cut(trace, shapes, Selection(trace.atoms, channels, {group.name: range(group.channels - 1) for group in narrower}))
        with located_errors(smaller, NO_CONSTANTS):
            cost_of_shapes(smaller, *inputs)


def _require_same_code(
    smaller: nn.Module, inputs: Arguments, trace: ChannelTrace, selection: Selection, training: Graph | None = None
) -> None:
    """Check that the code runs the same operators with fewer channels in every group; this finds sizes that are constants.

    In training mode the expected operators are those of `training`.

    Raises:
        GccError: it does not.
    """
    mode = "" if training is None else " in training mode"
    try:
        graph = Graph(smaller, *inputs, training=training is not None)
    except GccError as error:
        raise GccError(f"with fewer channels{mode}, {error}; {NO_CONSTANTS}") from error
    require_same_graph(trace, selection, graph, training)
