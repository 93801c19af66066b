"""What a network does in training mode only: layers that evaluation does not run, such as auxiliary heads, and further outputs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_map_only

from gcc.errors import GccError
from gcc.models.calls import Arguments, copies, copy_of, located_errors, tensors_in
from gcc.pruning.graph.aten_graph import Graph, doubled
from gcc.pruning.graph.elsewhere import carried_over
from gcc.pruning.graph.masked import Candidate, Reference, repeatable, selected
from gcc.pruning.graph.propagate import first_names, named_tensors
from gcc.pruning.graph.redraw import POWER_ITERATION
from gcc.pruning.graph.verify import are_close, compare, float64_copy, float64_samples, random_samples

HINT = (
    "the layer runs, or reads other channels, in training mode alone, and cannot be followed: name the layers that it reads in `leave`, or "
    "prune the generator without it"
)


PREFIX = "in training mode, "
ROUNDING, ROUNDING_IN_FLOAT64 = 1e-6, 1e-14
"""Gradient of a parameter that should have none, as a share of the largest gradient, that is attributed to rounding."""


@dataclass(frozen=True)
class TrainingGraph:
    """The graph of a network in training mode.

    Attributes:
        graph: the graph.
        inputs: the arguments that it was exported for.
    """

    graph: Graph
    inputs: Arguments


def training_graph(network: nn.Module, graph: Graph, *inputs: Any) -> TrainingGraph | None:
    """Return the graph of a network in training mode.

    Args:
        network: the network.
        graph: its graph in evaluation mode.
        inputs: its arguments.

    Returns:
        The graph; None if the network has neither layers nor outputs that are for training alone, if it does not run in training mode, or
        if torch cannot export it. `require_same_training` then decides.
    """
    first = first_names(network)
    parameters = [(node, first[name]) for node, kind, name in graph.inputs() if kind is InputKind.PARAMETER and name]
    unread = {name for _, name in parameters} - {name for node, name in parameters if node.users}
    samples = _trainable_inputs(network, inputs)
    if samples is None:
        return None
    shapes = [_shapes(copy_of(network).train(training), inputs_of_mode) for training, inputs_of_mode in ((False, samples), (True, samples))]
    if not unread and shapes[0] == shapes[1]:
        return None
    try:
        return TrainingGraph(Graph(network, *samples, training=True), samples)
    except GccError:
        return None


def graph_for_training(network: nn.Module, graph: Graph, *inputs: Any) -> TrainingGraph | None:
    """Return the graph of a network in training mode if it runs there and has other operators or constants than in evaluation mode.

    Raises:
        GccError: it runs in training mode, but torch cannot export it.
    """
    samples = _trainable_inputs(network, inputs)
    if samples is None:
        return None
    training = Graph(network, *samples, training=True)
    return None if _constants(graph) == _constants(training) else TrainingGraph(training, samples)


def _constants(graph: Graph) -> list[tuple[Any, Any, Any]]:
    """Return every operator of a graph with its arguments, and the names of tensors."""
    return [(node.target, *tree_map_only(fx.Node, str, (node.args, node.kwargs))) for node in graph.steps()]


def require_same_steps(network: nn.Module, graph: nn.Module, inputs: Arguments) -> None:
    """Refuse the graph of a network that does not train like its code, in evaluation mode or in training mode.

    A graph has no backward functions of the user's own and no numbers that Python draws.

    Raises:
        GccError: outputs or gradients of one step with random input differ.
    """
    samples = random_samples(_trainable_inputs(network, inputs) or inputs)
    for training in (False, True):
        if not _trains_like(network, graph, samples, training):
            raise GccError(
                "its outputs or gradients are not those of the code, which computes with other gradients than torch, or with numbers that "
                "Python draws"
            )


class _Step(NamedTuple):
    """The outputs of a step, and the gradients, zero for a parameter without one."""

    outputs: list[Tensor]
    gradients: list[Tensor]

    def is_close(self, expected: _Step, rounding: float) -> bool:
        """Return whether the step is equal to another one, up to rounding; see `are_close`."""
        return are_close(self.outputs, expected.outputs) and are_close(self.gradients, expected.gradients, rounding)


def _trains_like(network: nn.Module, graph: nn.Module, samples: Arguments, training: bool) -> bool:
    """Return whether one step of both is equal, in the given precision or in float64.

    In the given precision, the gradient of a parameter that should have none is rounding, so float64 decides. A graph has a precision as a
    constant that code may take from its input; if one of them does not run in float64, rounding is tolerated.
    """
    expected, step = (_step(one, samples, training) for one in (network, graph))
    if expected is None:
        # A network that does not run in this mode cannot be compared.
        return True
    if step is not None and step.is_close(expected, rounding=0.0):
        return True
    widened, other = (_step(float64_copy(one), float64_samples(samples), training) for one in (network, graph))
    if widened is not None and other is not None:
        return other.is_close(widened, ROUNDING_IN_FLOAT64)
    return step is not None and step.is_close(expected, ROUNDING)


def _step(network: nn.Module, samples: Arguments, training: bool) -> _Step | None:
    """Return a step of a copy of a network; None if it does not run."""
    trial = copy_of(network).train(training)
    trial.zero_grad()
    with suppress(Exception), repeatable(), torch.enable_grad():
        outputs = [output for output in tensors_in(trial(*copies(samples))) if output.is_floating_point()]
        terms = [output.square().mean() for output in outputs if output.requires_grad]
        if terms:
            torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in trial.parameters()]
        return _Step([output.detach() for output in outputs], gradients)
    return None


def require_same_training(candidate: Candidate, comparable: Candidate) -> None:
    """Refuse a smaller network that does not train as the full one: one step, with random weights.

    A network that does not run in training mode is not checked. Under spectral norm, and with random numbers such as those of dropout,
    only shapes and gradients are.

    Args:
        candidate: both networks.
        comparable: the same with random weights, see `with_random_weights`.

    Raises:
        GccError: the smaller network fails, returns something else than the full one without the removed channels, has no gradient where
            the full network has one, or its norms collect other statistics.
    """
    examples = _trainable_inputs(candidate.network, candidate.inputs)
    if examples is None:
        return
    samples = random_samples(examples)
    full, small = comparable.network, comparable.smaller
    _require_same_step(full, small, samples)
    reference = _reference(replace(candidate.reference, training=True), candidate.network, candidate.smaller, full, samples)
    if reference is not None:
        compare(reference, full, small, samples, PREFIX)
        _require_same_statistics(reference, full, small, samples)


def _require_same_step(full: nn.Module, small: nn.Module, samples: Arguments) -> None:
    """Check that a step runs and returns the same shapes, and that a parameter has a finite gradient if the full network's has one."""
    (shapes, gradients), parameters = _step_of(copy_of(full), samples), dict(small.named_parameters())
    trial = copy_of(small)
    try:
        with located_errors(trial, HINT):
            small_shapes, small_gradients = _step_of(trial, samples)
    except GccError as error:
        raise GccError(f"{PREFIX}the pruned generator fails: {error}") from error
    if small_shapes != shapes:
        raise GccError(f"{PREFIX}the pruned generator returns shapes {small_shapes}, expected {shapes}: {HINT}")
    for name, expected in gradients.items():
        gradient = small_gradients.get(name)
        if gradient is None or gradient.shape != parameters[name].shape or (expected.isfinite().all() and not gradient.isfinite().all()):
            fault = "no gradient" if gradient is None else "a gradient of another shape, or one that is not finite"
            raise GccError(f"{PREFIX}{name} of the pruned generator has {fault}, expected one as in the full generator: {HINT}")


def _step_of(network: nn.Module, samples: Arguments) -> tuple[list[tuple[int, ...]], dict[str, Tensor]]:
    """Return the shapes of the outputs and the gradients by the names of the parameters; the network is changed by a training step.

    The gradients are empty if no output can be differentiated.
    """
    network.train().zero_grad()
    with repeatable(), torch.enable_grad():
        outputs = tensors_in(network(*copies(samples)))
        terms = [output.square().mean() for output in outputs if output.requires_grad]
        if terms:
            # What a network changes in place may be needed for its gradients.
            with suppress(RuntimeError):
                torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return [tuple(output.shape) for output in outputs], gradients


def _reference(reference: Reference, network: nn.Module, smaller: nn.Module, full: nn.Module, samples: Arguments) -> Reference | None:
    """Return what the smaller network must compute in training mode; None if that depends on random numbers or cannot be followed."""
    outputs, buffers = _pass(full, samples)
    if any(name.endswith(POWER_ITERATION) for name in named_tensors(full)) or not are_close(_pass(full, samples, seed=1).outputs, outputs):
        return None
    with suppress(GccError):
        results, tensors = reference.unmasked().run(full, samples)
        if are_close(results, outputs) and are_close([tensors[name] for name in buffers], [*buffers.values()]):
            return reference
    return carried_over(reference, network, smaller, samples, PREFIX, training=True)


class _Pass(NamedTuple):
    """The outputs of a forward pass in training mode, and the floating-point buffers that it changes."""

    outputs: list[Tensor]
    buffers: dict[str, Tensor]


def _pass(network: nn.Module, samples: Arguments, seed: int = 0) -> _Pass:
    """Return a forward pass of a copy of a network in training mode."""
    trial = copy_of(network).train()
    with repeatable(seed):
        outputs = tensors_in(trial(*copies(samples)))
    before = dict(network.named_buffers())
    changed = {
        name: after
        for name, after in trial.named_buffers()
        if after.is_floating_point() and not torch.equal(after.nan_to_num(), before[name].nan_to_num())
    }
    return _Pass(outputs, changed)


def _require_same_statistics(reference: Reference, full: nn.Module, small: nn.Module, samples: Arguments) -> None:
    """Check that buffers such as running statistics become those of the full network's channels that are kept.

    Statistics that differ in the given precision are compared in float64, if the graph shows how the full network collects them.
    """
    # The graph may lack what code does in training mode, and then raise anything.
    with suppress(Exception):
        if all(are_close([value], [expected]) for _, value, expected in _statistics(reference, full, copy_of(small), samples)):
            return
    statistics: list[tuple[str, Tensor, Tensor]] = []
    # Code may name a precision itself and fail in another one.
    with suppress(Exception):
        if not _shows_statistics(reference, float64_copy(full), float64_samples(samples)):
            return
        statistics = _statistics(reference, float64_copy(full), float64_copy(small), float64_samples(samples))
    for name, value, expected in statistics:
        if not are_close([value], [expected]):
            raise GccError(f"{PREFIX}{name} of the pruned generator changes differently than in the full generator: {HINT}")


def _shows_statistics(reference: Reference, full: nn.Module, samples: Arguments) -> bool:
    """Return whether the graph changes the full network's buffers as its code does; a momentum may depend on the number of passes."""
    buffers, tensors = _pass(full, samples).buffers, reference.unmasked().run(full, samples)[1]
    return are_close([tensors[name] for name in buffers], [*buffers.values()])


def _statistics(reference: Reference, full: nn.Module, small: nn.Module, samples: Arguments) -> list[tuple[str, Tensor, Tensor]]:
    """Return the buffers after a forward pass: name, value in the smaller network, value in the full one for the kept channels."""
    with repeatable():
        small.train()(*copies(samples))
    tensors, buffers = reference.run(full, samples)[1], dict(small.named_buffers())
    of_channels = [tensor for tensor in reference.trace.tensors if tensor.name in buffers and buffers[tensor.name].is_floating_point()]
    return [
        (tensor.name, buffers[tensor.name], selected(tensors[tensor.name], tensor.layout, reference.selection)) for tensor in of_channels
    ]


def _trainable_inputs(network: nn.Module, inputs: Arguments) -> Arguments | None:
    """Return arguments on which a network runs in training mode, with two samples if it does not run with one; None if there are none."""
    for samples in (inputs, tree_map_only(Tensor, doubled, inputs)):
        try:
            _shapes(copy_of(network).train(), samples)
        except Exception:  # A user's module can raise anything.
            continue
        return tuple(samples)
    return None


def _shapes(network: nn.Module, inputs: Arguments) -> list[tuple[int, ...]]:
    with torch.no_grad(), torch.random.fork_rng():
        return [tuple(tensor.shape) for tensor in tensors_in(network(*copies(inputs)))]
