"""Finds the widths of the student's generators: by searching within the budget, or from a saved student."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, count, islice
from typing import NamedTuple

import torch
from torch import nn

from gcc.artifacts.config import Artifact
from gcc.errors import ArtifactError
from gcc.models.modules import Widths
from gcc.pruning.budget import LatencyBudget, Limit
from gcc.pruning.choice_warnings import warn_of_narrow_layers
from gcc.pruning.cost import Cost
from gcc.pruning.importance import ONCE, most_important, random_gradients
from gcc.pruning.search import ScoredGroups, estimate_limit_of_family, score_family, widths_of_family
from gcc.registry import ImportanceMetric, Networks
from gcc.training.build_pairs import saved_student, teacher_networks
from gcc.training.context import RunContext, Stream
from gcc.training.pair import GANPair
from gcc.utils.seeds import derive_seed
from gcc.utils.units import with_prefix


class Chosen(NamedTuple):
    """The channels that a student's generator has.

    Attributes:
        widths: their number, by width name.
        kept: their indices in the generator that was pruned, by width name; a width that the metric cannot rank keeps all.
    """

    widths: Widths
    kept: dict[str, list[int]]


def search_channels(context: RunContext, metric: ImportanceMetric, pair: GANPair) -> dict[str, Chosen]:
    """Return the most important channels of every generator of a trained pair within its budget (Algorithm 1, line 5)."""

    def gradients(network: nn.Module) -> Iterator[None]:
        """Leave the gradients of as many batches as the metric reads in the pair's generators, and so in `network`."""
        torch.manual_seed(derive_seed(context.recipe.seed, context.ranks.seed_name("gradients")))
        batches = chain.from_iterable(context.batches(Stream.IMPORTANCE, epoch) for epoch in count(1))
        yield from pair.gradients(islice(batches, metric.gradient_batches))
        context.loader.close(Stream.IMPORTANCE)

    scored = _scored(context, metric, pair.generators, gradients)
    channels = context.ranks.compute_on_main_process(lambda: _chosen(context, scored, _limits(context)))
    if context.ranks.is_main_process:
        full = context.architecture.full_widths(context.recipe.prune_width)
        for name, chosen in channels.items():
            warn_of_narrow_layers(full, chosen.widths, f"generator {name}")
    return channels


def reachable_channels(context: RunContext, metric: ImportanceMetric) -> dict[str, Chosen]:
    """Return the channels that untrained generators would keep within the budget.

    If that is a latency, the widths are an estimate, for which the smallest and the full generator are timed, and all ranks must call this.

    Raises:
        GccError: the budget is out of reach, or the metric does not fit the family.
    """
    generators, _ = teacher_networks(context, context.recipe.prune_width, "search")
    scored = _scored(context, metric, generators, random_gradients)
    if not _has_latency_budget(context):
        return _chosen(context, scored, _limits(context))
    return context.ranks.compute_on_main_process(lambda: _chosen(context, scored, _estimated_limits(context, scored)))


def saved_widths(context: RunContext) -> dict[str, Widths]:
    """Return the widths of the saved student whose widths the run takes, by generator. Empty if the run searches them.

    Raises:
        ArtifactError: the folder contains no student of this family with these levels, or a student that is to be trained further
            translates in the other direction.
    """
    folder = context.config.student or context.config.widths
    if folder is None:
        return {}
    artifacts = saved_student(context, folder)
    if context.config.student is not None:
        _require_same_direction(context, artifacts)
    return {name: artifact.widths for name, artifact in artifacts.items()}


def _require_same_direction(context: RunContext, artifacts: Mapping[str, Artifact]) -> None:
    direction = context.recipe.to_dict().get("direction")
    for artifact in artifacts.values():
        trained = artifact.recipe.to_dict().get("direction")
        if trained != direction:
            raise ArtifactError(
                f"the student in {artifact.folder} was trained in direction {trained}, and this run trains in direction {direction}: "
                f'give `direction="{trained}"`'
            )


def _print_time(name: str, cost: Cost, milliseconds: float) -> None:
    print(f"  {name}: {with_prefix(cost.macs)} MACs, {milliseconds:.4g} ms", file=sys.stderr, flush=True)


def _has_latency_budget(context: RunContext) -> bool:
    return any(isinstance(budget, LatencyBudget) for budget in context.budgets().values())


def _scored(
    context: RunContext, metric: ImportanceMetric, generators: Networks, gradients: Callable[[nn.Module], Iterable[None]]
) -> dict[str, ScoredGroups]:
    """Return the scores of the channels of every generator.

    All ranks score, because their gradients are averaged. The main process alone then searches the widths, so that rounding differences
    between ranks cannot give different widths, and a latency is measured while the others wait.
    """
    recipe = context.recipe
    return {
        name: score_family(
            context.architecture,
            network,
            recipe.prune_width,
            metric,
            recipe.min_keep_ratio,
            gradients(network) if metric.gradient_batches else ONCE,
        )
        for name, network in generators.items()
    }


def _limits(context: RunContext) -> dict[str, Limit | LatencyBudget]:
    """Return the most that each generator of the student may cost."""
    teacher = context.teacher_cost()
    return {name: budget.resolve(teacher, context.recipe.mac_counter) for name, budget in context.budgets().items()}


def _estimated_limits(context: RunContext, scored: Mapping[str, ScoredGroups]) -> dict[str, Limit | LatencyBudget]:
    """Return the limits with an estimate in MACs for every latency, for which the smallest and the full generator are timed."""
    print(f"timing the smallest and the full generator for the budget {context.recipe.budget}:", file=sys.stderr, flush=True)
    return {
        name: estimate_limit_of_family(
            context.architecture.for_network(name), scored[name], limit, context.recipe.round_to, partial(_print_time, name)
        )
        if isinstance(limit, LatencyBudget)
        else limit
        for name, limit in _limits(context).items()
    }


def _chosen(context: RunContext, scored: Mapping[str, ScoredGroups], limits: Mapping[str, Limit | LatencyBudget]) -> dict[str, Chosen]:
    """Return the most important channels of every generator within its limit."""
    if any(isinstance(limit, LatencyBudget) for limit in limits.values()):
        print(f"timing generators until one meets the budget {context.recipe.budget} twice:", file=sys.stderr, flush=True)
    widths = {
        name: widths_of_family(
            context.architecture.for_network(name), one, limits[name], context.recipe.round_to, partial(_print_time, name)
        )
        for name, one in scored.items()
    }
    return {name: Chosen(widths[name], most_important(one.scores, widths[name])) for name, one in scored.items()}
