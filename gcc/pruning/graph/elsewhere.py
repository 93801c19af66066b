"""Checks a smaller network where its graph was not followed: on inputs of other sizes and in batches of another size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map, tree_map_only

from gcc.errors import GccError
from gcc.models.calls import Arguments, copies, copy_of, describe_shapes, located_errors, tensors_in
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.graph_form import OtherSizesError, PrunedGraph
from gcc.pruning.graph.masked import CallArguments, Candidate, Reference, repeatable, takes_numbers
from gcc.pruning.graph.verify import (
    NO_CONSTANTS,
    TOLERANCE,
    TOLERANCES_IN_FLOAT64,
    are_close,
    compare,
    float64_copy,
    float64_samples,
    largest_difference,
    outputs_of,
    random_samples,
    require_same_graph,
)

STRETCHES = ((1.5, 1), (2, 1), (2, 2))
"""By how much the height and the width of the example grow; the first that the full network takes is compared."""


def require_equal_elsewhere(candidate: Candidate, comparable: Candidate) -> None:
    """Compare two networks, with random weights, on a larger batch and on inputs of another size, if the full network takes these.

    Args:
        candidate: both networks.
        comparable: the same with random weights, see `with_random_weights`.

    Raises:
        GccError: the smaller network fails there, or returns something else than the full one without the removed channels.
    """
    full, small = comparable.network, comparable.smaller
    _require_same_batches(full, small, candidate.inputs)
    for samples in _other_sizes(random_samples(candidate.inputs)):
        expected = _outputs_if_it_runs(full, samples)
        if expected is not None and _takes(small, samples):
            _require_equal_on(samples, expected, candidate, comparable)
            return


def _require_equal_on(samples: Arguments, expected: Sequence[Tensor], candidate: Candidate, comparable: Candidate) -> None:
    """Compare two networks on other arguments than the example.

    Args:
        samples: the arguments.
        expected: the outputs of the full network with comparable weights.
        candidate: both networks.
        comparable: the same with random weights, see `with_random_weights`.

    Raises:
        GccError: the smaller network fails, or returns something else than the full one without the removed channels.
    """
    full, small = comparable.network, comparable.smaller
    prefix = f"on inputs of {describe_shapes(samples)}, "
    outputs = _outputs_of_smaller(small, samples, prefix)
    if _shapes(outputs) != _shapes(expected):
        raise GccError(f"{prefix}the pruned generator returns {_shapes(outputs)}, expected {_shapes(expected)}: {NO_CONSTANTS}")
    if _agrees_on_example_graph(samples, expected, candidate.reference, comparable, prefix):
        return
    other = carried_over(candidate.reference, candidate.network, candidate.smaller, samples, prefix)
    if other is not None:
        compare(other, full, small, samples, prefix)


def _agrees_on_example_graph(
    samples: Arguments, expected: Sequence[Tensor], reference: Reference, comparable: Candidate, prefix: str
) -> bool:
    """Return whether the example's graph describes the full network for other arguments, too, and the smaller one agrees with it.

    If not, nothing is known yet: the graph may contain the example's sizes as constants.
    """
    # A graph that is run on other sizes can raise anything.
    with suppress(Exception):
        outputs, _ = reference.unmasked().run(comparable.network, samples)
        if are_close(outputs, expected):
            compare(reference, comparable.network, comparable.smaller, samples, prefix)
            return True
    return False


def carried_over(
    reference: Reference, network: nn.Module, smaller: nn.Module, samples: Arguments, prefix: str, *, training: bool = False
) -> Reference | None:
    """Return what the smaller network must compute for other arguments or in training mode.

    Args:
        reference: what it must compute for the example in evaluation mode.
        network: the full network.
        smaller: the smaller network.
        samples: the other arguments.
        prefix: the start of the message of an error.
        training: whether the networks are in training mode.

    Returns:
        The reference; None if torch cannot export the full network there, or if its channels cannot be followed.

    Raises:
        GccError: the full network runs other operators there, and the smaller one cannot do the same.
    """
    try:
        trace = reference.trace.continued(Graph(network, *samples, training=training))
    except GccError:
        return None
    selection = reference.selection.continued(trace.atoms)
    steps, others = reference.trace.graph.steps(), trace.graph.steps()
    if [node.target for node in steps] == [node.target for node in others]:
        elsewhere = dict(zip(steps, others, strict=True))
        with suppress(_Undecided):
            arguments = {other: _elsewhere(node, reference.counterparts[node], other) for node, other in elsewhere.items()}
            return (
                None
                if selection is None
                else Reference(trace, selection, arguments, {elsewhere[node] for node in reference.folded}, training)
            )
    if selection is None:
        raise GccError(f"{prefix}the pruned generator has no channels that belong together there: the full one runs other operators")
    try:
        graph = Graph(smaller, *samples, training=training)
        require_same_graph(trace, selection, graph)
    except GccError as error:
        raise GccError(f"{prefix}the pruned generator differs: {error}") from error
    return None if reference.folded else replace(Reference.of(trace, selection, graph), training=training)


class _Undecided(Exception):
    """A number depends on widths and sizes."""


def _elsewhere(node: fx.Node, counterpart: CallArguments, other: fx.Node) -> CallArguments:
    """Return the arguments that the smaller network's call has elsewhere: numbers depend on widths, or on sizes, but not on both."""
    if not takes_numbers(node):
        return CallArguments(other.args, dict(other.kwargs))
    return CallArguments(
        _number(node.args, counterpart.args, other.args), _number(dict(node.kwargs), counterpart.kwargs, dict(other.kwargs))
    )


def _number(full: Any, small: Any, elsewhere: Any) -> Any:
    if isinstance(full, fx.Node):
        return elsewhere
    if isinstance(full, dict):
        return {name: _number(value, small[name], elsewhere[name]) for name, value in full.items()}
    if isinstance(full, list | tuple) and len(full) == len(small) == len(elsewhere):
        return type(full)(_number(*values) for values in zip(full, small, elsewhere, strict=True))
    if full == small:
        return elsewhere
    if full == elsewhere:
        return small
    raise _Undecided


def _require_same_batches(full: nn.Module, small: nn.Module, inputs: Arguments) -> None:
    """Check that the smaller network treats each sample of a batch by itself if the full one does.

    Raises:
        GccError: it does not.
    """
    halves = [random_samples(inputs, seed) for seed in range(2)]
    batch = tree_map(lambda *items: torch.cat(items) if isinstance(items[0], Tensor) and items[0].ndim else items[0], *halves)
    expected = _outputs_if_it_runs(full, batch)
    if expected is None or not _takes(small, batch):
        return
    prefix = f"on inputs of {describe_shapes(batch)}, "
    outputs = _outputs_of_smaller(small, batch, prefix)
    if _keeps_samples_apart(full, expected, batch, halves) and not _keeps_samples_apart(small, outputs, batch, halves):
        raise GccError(f"{prefix}the pruned generator mixes samples, which the full one does not: {NO_CONSTANTS}")


def _keeps_samples_apart(network: nn.Module, outputs: Sequence[Tensor], batch: Arguments, halves: Sequence[Arguments]) -> bool:
    """Return whether a network's outputs for a batch are those for its halves, in float64 if the parameters' precision is too coarse."""
    if _are_joined(outputs, network, halves, TOLERANCE):
        return True
    # Code may name a precision itself and fail in another one.
    with suppress(Exception):
        widened = float64_copy(network)
        outputs = outputs_of(widened, float64_samples(batch))
        return _are_joined(outputs, widened, [float64_samples(half) for half in halves], TOLERANCES_IN_FLOAT64[-1])
    return False


def _are_joined(outputs: Sequence[Tensor], network: nn.Module, halves: Sequence[Arguments], tolerance: float) -> bool:
    parts = [torch.cat(pair) for pair in zip(*(outputs_of(network, half) for half in halves), strict=True) if pair[0].ndim]
    return len(parts) == len(outputs) and all(
        largest_difference(one, part) <= tolerance * float(part.double().abs().max()) for one, part in zip(outputs, parts, strict=True)
    )


def _other_sizes(samples: Arguments) -> Iterator[Arguments]:
    """Yield arguments with larger images, volumes or sequences; images become rectangular first."""
    if any(tensor.ndim > 2 for tensor in tensors_in(samples)):
        for stretch in STRETCHES:
            yield tree_map_only(Tensor, partial(_stretched, stretch=stretch), samples)


def _stretched(tensor: Tensor, stretch: tuple[float, float]) -> Tensor:
    """Return a tensor (N, C, H, W, ...) or (N, C, L) with its content repeated up to a larger size."""
    first = 2 if tensor.ndim > 3 else max(tensor.ndim - 1, 0)
    for dim, factor in zip(range(first, tensor.ndim), stretch, strict=False):
        size = round(tensor.shape[dim] * factor) if tensor.ndim > 2 else tensor.shape[dim]
        tensor = torch.cat([tensor, tensor.flip(dim)], dim).narrow(dim, 0, size)
    return tensor.contiguous()


def _outputs_if_it_runs(network: nn.Module, samples: Arguments) -> list[Tensor] | None:
    # A user's module can raise anything.
    with suppress(Exception):
        return outputs_of(network, samples)
    return None


def _takes(smaller: nn.Module, samples: Arguments) -> bool:
    """Return whether a smaller network takes inputs of these sizes; one that runs its graph says if it does not."""
    if isinstance(smaller, PrunedGraph):
        try:
            outputs_of(smaller, samples)
        except OtherSizesError:
            return False
    return True


def _outputs_of_smaller(smaller: nn.Module, samples: Arguments, prefix: str) -> list[Tensor]:
    trial = copy_of(smaller).eval()
    try:
        with located_errors(trial, NO_CONSTANTS), repeatable():
            return tensors_in(trial(*copies(samples)))
    except GccError as error:
        raise GccError(f"{prefix}the pruned generator fails: {error}") from error


def _shapes(outputs: Sequence[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(output.shape) for output in outputs]
