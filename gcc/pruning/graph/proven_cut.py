"""A generator without some of its channels that is proven to equal the full one with zeros in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import fx, nn

from gcc.models.calls import Arguments
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.elsewhere import require_equal_elsewhere
from gcc.pruning.graph.gains import fold_gains
from gcc.pruning.graph.groups import Selection
from gcc.pruning.graph.masked import Candidate
from gcc.pruning.graph.training import require_same_training
from gcc.pruning.graph.verify import require_equal, require_same_graph, with_random_weights
from gcc.pruning.graph.ways import Followed

WeightSource = Literal["inherited", "fresh"]


@dataclass(frozen=True)
class ProvenCut:
    """A smaller generator, with the full one's weights.

    Attributes:
        network: the generator.
        graph: its graph.
        folded: calls of the full graph whose numbers its weights contain.
    """

    network: nn.Module
    graph: Graph
    folded: set[fx.Node]


def proven_cut(generator: nn.Module, followed: Followed, selection: Selection, inputs: Arguments, weights: WeightSource) -> ProvenCut:
    """Return a generator without the removed channels, after the proof.

    Args:
        generator: the full generator; it is not changed.
        followed: how it is cut.
        selection: the channels that are kept.
        inputs: its arguments.
        weights: what becomes of the weights; those that are inherited absorb gains that code computes from a width.

    Raises:
        GccError: the smaller generator computes something else.
    """
    smaller = followed.cut(generator, selection)
    graph = Graph(smaller, *inputs)
    require_same_graph(followed.trace, selection, graph)
    folded = fold_gains(smaller, followed.trace.graph, graph) if weights == "inherited" else set()
    candidate = Candidate(generator, smaller, followed.trace, selection, graph, inputs, folded)
    comparable = with_random_weights(candidate)
    for require in (require_equal, require_equal_elsewhere, require_same_training):
        require(candidate, comparable)
    return ProvenCut(smaller, graph, folded)
