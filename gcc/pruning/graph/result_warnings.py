"""Warnings about a pruned generator: what was kept, and what its code computes otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from gcc.errors import PruningWarning, abridged
from gcc.pruning.graph.aten_graph import describe_call
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.graph.reset import matrices, owners
from gcc.utils.user_warnings import warn_user


def warn_of_constants(layers: Sequence[str]) -> None:
    """Warn of layers whose number of channels the code contains as a constant."""
    _warn(
        [*map(repr, layers)],
        "the code contains the number of channels of these layers as a constant, so they keep all",
        "To prune them as well, write sizes as -1 or take them from shapes",
    )


def warn_of_walls(trace: ChannelTrace) -> None:
    """Warn of operators for which pruning has no rule."""
    _warn(
        [*dict.fromkeys(map(describe_call, trace.walls))],
        "channels that enter these operators are kept, because pruning has no rule for them",
        "To prune these channels as well, write the code with other operators",
    )


def warn_of_unused_layers(trace: ChannelTrace, leave: Collection[str]) -> None:
    """Warn of layers whose parameters `forward` does not use: other methods may apply them to channels that are removed."""
    network = trace.graph.network
    tensors = dict(network.named_parameters(remove_duplicate=False))
    used = {id(tensors[name]) for graph in trace.graphs for node, _, name in graph.inputs() if name in tensors and node.users}
    own = {path: {id(parameter) for parameter in module.parameters(recurse=False)} for path, module in network.named_modules() if path}
    unused = [path for path, parameters in own.items() if parameters and not parameters & used]
    _warn(
        [repr(layer) for layer in unused if not any(f"{layer}.".startswith(f"{path}.") for path in leave)],
        "the forward pass does not use these layers, so they stay as they are",
        "If another method applies them to features, name the layers that compute these features in `leave`; naming these layers too ends "
        "this warning",
    )


def warn_of_changed_numbers(lines: Sequence[str]) -> None:
    """Warn of numbers that the code derives from widths."""
    _warn(
        lines,
        "the pruned generator computes with other numbers, because its code derives them from widths",
        "It differs from the full one there even without the removed channels: train it, or name the layers in `leave`",
    )


def warn_of_kept_weights(network: nn.Module, kept: Sequence[str]) -> None:
    """Warn of weights that a pruned generator with fresh weights inherits, because no module draws them."""
    weights = matrices(network, kept)
    _warn(
        [*map(repr, weights)],
        "these weights are inherited, because their modules have no reset_parameters that draws them",
        f"To draw them anew, define reset_parameters in {' and '.join(owners(network, weights))}",
    )


def _warn(items: Sequence[str], fact: str, remedy: str) -> None:
    if items:
        warn_user(f"{fact}: {abridged(items, separator='; ')}. {remedy}", PruningWarning)
