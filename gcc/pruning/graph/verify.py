"""Checks that a cut is correct: the smaller network runs the same operators with the expected shapes and returns the same outputs.

Both networks run on random input, with the given parameters and with random ones: parameters such as a gain of zero hide what is behind
them. The full network runs with every removed channel set to zero after every operator. The outputs must be equal up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from gcc.errors import GccError
from gcc.models.calls import Arguments, copies, copy_of, tensors_in
from gcc.pruning.graph.aten_graph import Graph, arguments, describe_call, operator_name
from gcc.pruning.graph.graph_form import GROUPED, Sizes
from gcc.pruning.graph.groups import Selection
from gcc.pruning.graph.masked import Candidate, Reference, layouts_of, repeatable
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.graph.redraw import redrawn

TOLERANCE, TOLERANCES_IN_FLOAT64 = 1e-4, (1e-10, 1e-6)
"""Largest difference of an output, as a share of the largest output, that is attributed to the order of sums.

In float64 the second one is for code that computes some parts in float32. An output that meets the first one may depend on the removed
channels by less.
"""
VISIBLE = 10
"""The removed channels must make at least this many times the difference that is tolerated; else a comparison proves nothing."""
NUDGE, CHAOTIC = 1e-6, 0.1
"""A network is chaotic if inputs that differ by a share of `NUDGE` give outputs that differ by a share of `CHAOTIC` on average."""

NO_CONSTANTS = "write sizes as -1 or take them from shapes, not as constants, or name the layer in `leave`"


def require_same_graph(trace: ChannelTrace, selection: Selection, graph: Graph, full: Graph | None = None) -> None:
    """Refuse a smaller network that does not run the same operators with the selected sizes.

    Args:
        trace: the trace of the full network.
        selection: the positions that the smaller network has.
        graph: the graph of the smaller network.
        full: the graph of the full network in the same mode; None for evaluation mode.

    Raises:
        GccError: an operator or a size differs; the message names the layer and its line of code.
    """
    for node, other in zip_longest((full or trace.graph).steps(), graph.steps()):
        if node is None or other is None or node.target != other.target:
            raise GccError(f"{describe_call(node or other)}: with fewer channels the code runs other operators from here; {NO_CONSTANTS}")
        expected = [[selection.size(axis) for axis in layout] for layout in layouts_of(trace.nodes[node])]
        shapes = [list(tensor.shape) for tensor in tree_leaves(other.meta.get("val")) if isinstance(tensor, Tensor)]
        if shapes and expected != shapes:
            raise GccError(f"{describe_call(node)}: with fewer channels this returns {shapes}, expected {expected}; {NO_CONSTANTS}")
        if operator_name(node) in GROUPED:
            groups = GROUPED[operator_name(node)](Sizes(node, node, trace, selection))
            if not groups.items() <= arguments(other).items():
                raise GccError(f"{describe_call(node)}: with fewer channels this needs {groups}; {NO_CONSTANTS}")


def with_random_weights(candidate: Candidate) -> Candidate:
    """Return the candidate with random weights if outputs can be compared then, or else as it is.

    Random weights may let rounding errors grow until they change most of an output. Then nothing can be compared.
    """
    random = redrawn(candidate)
    samples = random_samples(candidate.inputs)
    nudged = tree_map_only(Tensor, lambda tensor: tensor * (1 + NUDGE) if tensor.is_floating_point() else tensor, samples)
    outputs, others = (outputs_of(random.network, one) for one in (samples, nudged))
    is_chaotic = any(
        float((one.double() - other.double()).abs().mean()) > CHAOTIC * float(one.double().abs().mean())
        for one, other in zip(outputs, others, strict=True)
        if one.numel() > 1
    )
    return candidate if is_chaotic else random


def require_equal(candidate: Candidate, comparable: Candidate) -> None:
    """Compare the smaller network, on random input, with the full network whose removed channels are set to zero.

    Args:
        candidate: both networks.
        comparable: the same with random weights, see `with_random_weights`.

    Raises:
        GccError: an output differs by more than rounding errors, or none depends on the removed channels.
    """
    reference, samples = candidate.reference, random_samples(candidate.inputs)
    pairs = {"": candidate} if comparable is candidate else {"": candidate, "with random weights, ": comparable}
    proofs = [compare(reference, one.network, one.smaller, samples, prefix) for prefix, one in pairs.items()]
    if not all(map(max, zip(*proofs, strict=True))):
        raise GccError(
            "the pruned generator cannot be proven: an output is not finite, or is the same with and without the removed channels, whether "
            "the weights are the given or random ones; expected an output that shows them: prune the generator without the last operators, "
            "such as a rounding or a clamp"
        )


def random_samples(inputs: Arguments, seed: int = 0) -> Arguments:
    """Return arguments with random numbers for those in floating-point tensors."""
    random = torch.Generator().manual_seed(seed)
    samples: Arguments = tree_map_only(
        Tensor, lambda tensor: torch.randn(tensor.shape, generator=random).to(tensor) if tensor.is_floating_point() else tensor, inputs
    )
    return samples


class Outcome(NamedTuple):
    """How one output of the smaller network compares with the reference.

    Attributes:
        difference: largest difference between the two.
        effect: largest difference that the removed channels make to the full network.
        scale: largest value of the reference.
        depends: whether the reference is computed from tensors with removed channels.
        tolerance: share of the scale that is attributed to rounding.
    """

    difference: float
    effect: float
    scale: float
    depends: bool
    tolerance: float

    @property
    def is_equal(self) -> bool:
        """Whether the outputs are equal up to rounding, as far as the reference is finite."""
        return not math.isfinite(self.scale) or self.difference <= self.tolerance * self.scale

    @property
    def is_proof(self) -> bool:
        """Whether a wrong cut would have made a difference."""
        return math.isfinite(self.scale) and (not self.depends or self.effect > VISIBLE * self.tolerance * self.scale)


def compare(reference: Reference, network: nn.Module, smaller: nn.Module, samples: Arguments, prefix: str = "") -> list[bool]:
    """Compare the outputs of a smaller network with the reference, in float64 if the parameters' precision is too coarse.

    Args:
        reference: what the smaller network must compute.
        network: the full network.
        smaller: the smaller network.
        samples: arguments of both.
        prefix: the start of the message of an error.

    Returns:
        For each output, whether the comparison proves anything: a wrong cut would have made a difference.

    Raises:
        GccError: an output differs by more than rounding errors.
    """
    outcomes = _outcomes(reference, network, smaller, samples, (TOLERANCE,))
    if not all(one.is_equal and one.is_proof for one in outcomes):
        # Code may name a precision itself and fail in another one.
        with suppress(Exception):
            outcomes = _outcomes_in_float64(reference, network, smaller, samples)
    for one in outcomes:
        if not one.is_equal:
            raise GccError(
                f"{prefix}the pruned generator differs by {one.difference:.2g} from the full one without these channels, whose outputs "
                f"reach {one.scale:.2g}: expected a generator that returns the same for the same input, and whose graph shows its channels"
            )
    return [one.is_proof for one in outcomes]


def _outcomes_in_float64(reference: Reference, network: nn.Module, smaller: nn.Module, samples: Arguments) -> list[Outcome]:
    """Compare in float64. Where the graph has float32 as a constant, the code may have it, too, or may take the precision of its input."""
    widened = float64_copy(network), float64_copy(smaller), float64_samples(samples)
    outcomes = _outcomes(reference, *widened, TOLERANCES_IN_FLOAT64)
    if all(one.is_equal for one in outcomes):
        return outcomes
    return _outcomes(replace(reference, widens_constants=True), *widened, TOLERANCES_IN_FLOAT64)


def _outcomes(
    reference: Reference, network: nn.Module, smaller: nn.Module, samples: Arguments, tolerances: Sequence[float]
) -> list[Outcome]:
    """Return how each output compares, with the first of the tolerances that it meets, or the last one."""
    expected, _ = reference.run(network, samples)
    full, outputs = (outputs_of(one, samples, training=reference.training) for one in (network, smaller))
    outcomes = []
    for one, output, unmasked, depends in zip(expected, outputs, full, reference.depends(), strict=True):
        difference, effect, scale = largest_difference(one, output), largest_difference(one, unmasked), float(one.double().abs().max())
        tolerance = next((share for share in tolerances if difference <= share * scale), tolerances[-1])
        outcomes.append(Outcome(difference, effect, scale, depends, tolerance))
    return outcomes


def outputs_of(network: nn.Module, samples: Arguments, *, training: bool = False, seed: int = 0) -> list[Tensor]:
    """Return the outputs of a copy of a network in evaluation or training mode, with the same random numbers for each seed."""
    with repeatable(seed):
        return tensors_in(copy_of(network).train(training)(*copies(samples)))


def largest_difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of two tensors; infinity if their shapes differ."""
    return float((one.double() - other.double()).abs().max()) if one.shape == other.shape else math.inf


def are_close(ones: Sequence[Tensor], others: Sequence[Tensor], rounding: float = 0.0) -> bool:
    """Return whether tensors are finite and equal up to rounding.

    Args:
        ones: some tensors.
        others: those that they are compared with.
        rounding: share of the largest value of all that a tensor of zeros may differ by.
    """
    sizes = [float(other.double().abs().max()) if other.numel() else 0.0 for other in others]
    noise = rounding * max(sizes, default=0.0)
    return len(ones) == len(others) and all(
        math.isfinite(size) and largest_difference(one, other) <= max(TOLERANCE * size, noise)
        for one, other, size in zip(ones, others, sizes, strict=True)
        if other.numel()
    )


def float64_copy(network: nn.Module) -> nn.Module:
    """Return a copy of a network in float64."""
    return copy_of(network).double()


def float64_samples(samples: Arguments) -> Arguments:
    """Return arguments in float64."""
    tensors: Arguments = tree_map_only(Tensor, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor, samples)
    return tensors
