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
from gcc.pruning.budget import LatencyBudget
from gcc.pruning.choice_warnings import warn_of_narrow_layers
from gcc.pruning.cost import Cost
from gcc.pruning.importance import ONCE, most_important, random_gradients
from gcc.pruning.latency_search import LatencySearch, estimate_widths, search_latency
from gcc.pruning.search import score_family, widths_of_family
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

    channels = context.ranks.compute_on_main_process(_search_within_budget(context, metric, pair.generators, gradients, search_latency))
    if context.ranks.is_main_process:
        full = context.architecture.full_widths(context.recipe.prune_width)
        for name, chosen in channels.items():
            warn_of_narrow_layers(full, chosen.widths, f"generator {name}")
    return channels


def reachable_channels(context: RunContext, metric: ImportanceMetric) -> dict[str, Chosen]:
    """Return the channels that untrained generators would keep within the budget.

    If that is a latency, the widths are an estimate for which two generators are timed, and all ranks must call this.

    Raises:
        GccError: the budget is out of reach, or the metric does not fit the family.
    """
    generators, _ = teacher_networks(context, context.recipe.prune_width, "search")
    search = _search_within_budget(context, metric, generators, random_gradients, estimate_widths)
    return context.ranks.compute_on_main_process(search) if _has_latency_budget(context) else search()


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


def _search_within_budget(
    context: RunContext,
    metric: ImportanceMetric,
    generators: Networks,
    gradients: Callable[[nn.Module], Iterable[None]],
    by_clock: LatencySearch,
) -> Callable[[], dict[str, Chosen]]:
    """Score the channels, and return a function that searches those of every generator within its budget.

    All ranks score, because their gradients are averaged. The main process alone searches, so that one rank's last digits decide, and a
    latency is measured while the others wait.
    """
    recipe, architecture, teacher, budgets = context.recipe, context.architecture, context.teacher_cost(), context.budgets()
    scored = {
        name: score_family(
            architecture,
            network,
            recipe.prune_width,
            metric,
            recipe.min_keep_ratio,
            gradients(network) if metric.gradient_batches else ONCE,
        )
        for name, network in generators.items()
    }

    def search() -> dict[str, Chosen]:
        if _has_latency_budget(context):
            print(f"timing generators for the budget {recipe.budget}:", file=sys.stderr, flush=True)
        limits = {name: budgets[name].resolve(teacher, recipe.mac_counter) for name in scored}
        widths = {
            name: widths_of_family(architecture.for_network(name), one, limits[name], recipe.round_to, partial(_print_time, name), by_clock)
            for name, one in scored.items()
        }
        return {name: Chosen(widths[name], most_important(one.scores, widths[name])) for name, one in scored.items()}

    return search
