"""What a network does in training mode only: layers that evaluation does not run, such as auxiliary heads, and further outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_map_only

from gcc.errors import GccError
from gcc.models.calls import Arguments, copies, copy_of, located_errors, tensors_in
from gcc.pruning.graph.aten_graph import Graph

HINT = (
    "the layer runs, or reads other channels, in training mode alone, and cannot be followed: name the layers that it reads in `leave`, or "
    "prune the generator without it"
)


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
    tensors = {name: bool(node.users) for node, kind, name in graph.inputs() if kind is InputKind.PARAMETER and name}
    samples = _trainable_inputs(network, inputs)
    if samples is None:
        return None
    shapes = [_shapes(copy_of(network).train(training), inputs_of_mode) for training, inputs_of_mode in ((False, samples), (True, samples))]
    if all(tensors.values()) and shapes[0] == shapes[1]:
        return None
    try:
        return TrainingGraph(Graph(network, *samples, training=True), samples)
    except GccError:
        return None


def require_same_training(network: nn.Module, smaller: nn.Module, *inputs: Any) -> None:
    """Refuse a smaller network that fails in training mode, or returns tensors of other shapes there, if the full network does not.

    Raises:
        GccError: it does; the message names the layer.
    """
    samples = _trainable_inputs(network, inputs)
    if samples is None:
        return
    expected = _shapes(copy_of(network).train(), samples)
    trial = copy_of(smaller).train()
    try:
        with located_errors(trial, HINT):
            shapes = _shapes(trial, samples)
    except GccError as error:
        raise GccError(f"in training mode the pruned generator fails: {error}") from error
    if shapes != expected:
        raise GccError(f"in training mode the pruned generator returns shapes {shapes}, expected {expected}: {HINT}")


def _trainable_inputs(network: nn.Module, inputs: Arguments) -> Arguments | None:
    """Return arguments on which a network runs in training mode, with two samples if it does not run with one; None if there are none."""
    for samples in (inputs, tree_map_only(Tensor, _doubled, inputs)):
        try:
            _shapes(copy_of(network).train(), samples)
        except Exception:  # A user's module can raise anything.
            continue
        return tuple(samples)
    return None


def _doubled(tensor: Tensor) -> Tensor:
    return torch.cat([tensor, tensor]) if tensor.ndim else tensor


def _shapes(network: nn.Module, inputs: Arguments) -> list[tuple[int, ...]]:
    with torch.no_grad(), torch.random.fork_rng():
        return [tuple(tensor.shape) for tensor in tensors_in(network(*copies(inputs)))]
