"""Measures what a run trained: sample grids while it trains, and the result at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from PIL.Image import Image
from torch import nn

from gcc.artifacts.config import GENERATED, WIDTHS_FROM, Role
from gcc.artifacts.model import environment
from gcc.artifacts.run_folder import BEST, LAST
from gcc.deploy.latency import Latency, measure_in_turns, measure_optimized_in_turns
from gcc.errors import TrainingError
from gcc.evaluation.grid import GRID_SAMPLES, sample_grid
from gcc.evaluation.split import SplitEvaluation, evaluating_generators, evenly_spaced, load_samples
from gcc.models.modules import Widths
from gcc.pruning.budget import LatencyBudget
from gcc.registry import MetricKey, Networks, Samples
from gcc.training.best import EpochRule, Snapshot, restored
from gcc.training.build_pairs import saved_student
from gcc.training.context import RunContext
from gcc.training.pair import GANPair
from gcc.training.result import Result
from gcc.training.trained_pair import BestAndLast, GeneratorReport, TrainedPair


class Timing(NamedTuple):
    """The latency of a generator, and the latency that the student may have with this generator's in the same runtime."""

    latency: Latency
    latency_budget: tuple[LatencyBudget, Latency] | None


class Evaluated(NamedTuple):
    """Generators of one role with their metrics.

    Attributes:
        generators: by name.
        metrics: by generator and key; empty without a test split.
        protocols: how each metric was computed, by generator and key.
        epoch: the epoch that the weights belong to; 0 if they were not trained in this run.
        epoch_note: which epoch that is, such as `last`. Empty if they were not trained in this run.
    """

    generators: Networks
    metrics: Mapping[str, Mapping[MetricKey, float]]
    protocols: Mapping[str, Mapping[MetricKey, str]]
    epoch: int = 0
    epoch_note: str = ""


@dataclass(frozen=True)
class Trained:
    """What a run has trained.

    Attributes:
        context: what the run works with.
        pairs: the pairs as they are now, by role.
        widths: the widths of the generators of every role in the result.
        epoch: the epoch that their weights belong to.
        rule: which epoch of each pair is the result.
        best: the best epochs so far, by role.
        given: generators as they were before the run trained them further, with their metrics, by role.
        history: lines of `metrics.jsonl`.
    """

    context: RunContext
    pairs: Mapping[str, GANPair]
    widths: Mapping[Role, Mapping[str, Widths]]
    epoch: int
    rule: EpochRule
    best: Mapping[str, Snapshot]
    given: Mapping[Role, Evaluated]
    history: Sequence[Mapping[str, Any]]


def progress_grid(context: RunContext, pairs: Mapping[str, GANPair]) -> Image:
    """Return a grid of held-out samples with every pair as it is now."""
    return held_out_grid(context, {role: pair.final_generators for role, pair in pairs.items()})


def held_out_grid(context: RunContext, generators: Mapping[str, Networks]) -> Image:
    """Return a grid of held-out samples with generators by the title of their column."""
    source = context.data.test
    indices = evenly_spaced(min(GRID_SAMPLES, len(source)), len(source))
    batch = load_samples(source, context.architecture.sample_z, indices, context.device)
    samples: dict[str, Samples] = {}
    for title, networks in generators.items():
        with evaluating_generators(networks), context.execution.autocast():
            samples[title] = context.architecture.generate(networks, batch)
    return sample_grid(context.architecture.visuals(batch, samples))


def evaluate_given(context: RunContext) -> dict[Role, Evaluated]:
    """Return the generators that a run trains further, as they were given, with their metrics on the test split, by role.

    There are none without evaluators. They are on the CPU afterwards.
    """
    if not context.evaluators.by_name:
        return {}
    return {role: _evaluated_as_given(context, generators) for role, generators in _trained_further(context).items()}


def _trained_further(context: RunContext) -> dict[Role, Networks]:
    """Return the trained generators that a run trains further, by role and name."""
    given: dict[Role, Networks] = {}
    if context.teacher.is_trained and context.recipe.train_teacher:
        given["teacher"] = context.teacher.generators()
    if context.config.student is not None:
        saved = saved_student(context, context.config.student)
        given["student"] = {name: artifact.network() for name, artifact in saved.items()}
    return given


def _evaluated_as_given(context: RunContext, generators: Networks) -> Evaluated:
    for network in generators.values():
        network.to(context.device).eval()
    evaluated = _evaluated(generators, context.test)
    for network in generators.values():
        network.cpu()
    return evaluated


def build_result(run: Trained) -> Result:
    """Return every trained pair in its best and last epoch, measured on the test split."""
    roles: dict[str, BestAndLast] = {}
    # Other processes that compute at the same time would slow the passes that are timed.
    timings = run.context.ranks.compute_on_main_process(partial(_timings_of_pairs, run))
    for role in run.widths:
        last = _last(run, role, timings[role], run.context.test)
        best = _best(run, role, timings[role], run.context.test)
        roles[role] = BestAndLast(best or last, last, BEST if run.rule.selects else LAST)
    results = {role: pair.result.networks() for role, pair in roles.items()}
    others = {role: results | {role: pair.other.networks()} for role, pair in roles.items() if pair.differs}
    grids = {role: held_out_grid(run.context, networks) for role, networks in others.items()}
    return Result(roles, held_out_grid(run.context, results), grids, _given(run, timings), tuple(run.history))


def partial_result(run: Trained, error: Exception) -> Result | None:
    """Return the partial result of a run that failed, without test metrics: each pair as it is, or in its best epoch.

    The best epoch is saved if it would have been the result, or if training collapsed.

    Args:
        run: the run that failed.
        error: why it failed. After a collapse, the current epoch is not saved.
    """
    training = {role for role, pair in run.pairs.items() if pair.trains}
    has_result = run.pairs.keys() >= set(run.widths)
    if not has_result or (isinstance(error, TrainingError) and not run.best.keys() >= training):
        return None
    timings = _timings_of_pairs(run)
    takes_best = run.rule.selects or isinstance(error, TrainingError)
    pairs = {
        role: (_best(run, role, timings[role], None) if takes_best else None) or _last(run, role, timings[role], None)
        for role in run.widths
    }
    roles: dict[str, BestAndLast] = {role: BestAndLast(pair, pair) for role, pair in pairs.items()}
    grid = held_out_grid(run.context, {role: pair.networks() for role, pair in pairs.items()})
    return Result(roles, grid, given=_given(run, timings))


def _timings_of_pairs(run: Trained) -> dict[str, dict[str, Timing]]:
    """Return the timings of the generators of every role in the result, in turns."""
    return _timings(run, {role: run.pairs[role].final_generators for role in run.widths})


def _timings(run: Trained, roles: Mapping[str, Networks]) -> dict[str, dict[str, Timing]]:
    """Return the timings of generators by role and name; those of one name in turns.

    An epoch changes the weights of a generator and not its latency, so each role is timed once.
    """
    architecture, budgets = run.context.architecture, run.context.budgets()
    timings: dict[str, dict[str, Timing]] = {role: {} for role in roles}
    for name, budget in budgets.items():
        example = architecture.for_network(name).example_input()
        networks = [_as_read_from_disk(generators[name]).eval() for generators in roles.values()]
        ready: list[tuple[LatencyBudget, Latency] | None] = [None] * len(networks)
        if isinstance(budget, LatencyBudget):
            ready = [(budget, latency) for latency in measure_optimized_in_turns(networks, example, budget.runtime)]
        latencies = measure_in_turns(networks, example.to(run.context.device))
        for role, latency, latency_budget in zip(roles, latencies, ready, strict=True):
            timings[role][name] = Timing(latency, latency_budget)
    return timings


def _as_read_from_disk(network: nn.Module) -> nn.Module:
    """Return the network itself in the memory layout in which it is read back from disk."""
    return network.to(memory_format=torch.contiguous_format)


def _given(run: Trained, timings: Mapping[str, Mapping[str, Timing]]) -> dict[Role, TrainedPair]:
    """Return generators as they were given, by role, with the latency of the trained ones: the same networks, timed in turns."""
    return {role: _trained_pair(run, role, evaluated, timings[role]) for role, evaluated in run.given.items()}


def _last(run: Trained, role: Role, timings: Mapping[str, Timing], test: SplitEvaluation | None) -> TrainedPair:
    pair = run.pairs[role]
    if not pair.trains:
        return _trained_pair(run, role, _evaluated(pair.generators, test), timings, pair.final_discriminators)
    best = run.best.get(role)
    is_best = run.rule.selects and best and best.epoch == run.epoch
    note = f"last, best by {run.rule.metric}" if is_best else LAST
    evaluated = _evaluated(pair.final_generators, test, epoch=run.epoch, epoch_note=note)
    return _trained_pair(run, role, evaluated, timings, pair.final_discriminators)


def _best(run: Trained, role: Role, timings: Mapping[str, Timing], test: SplitEvaluation | None) -> TrainedPair | None:
    """Return a pair as it was in its best epoch. None if that is the current epoch, or is not known."""
    pair = run.pairs[role]
    best = run.best.get(role)
    if best is None or best.epoch == run.epoch:
        return None
    generators, discriminators = restored(pair.final_generators, best.generators), restored(pair.final_discriminators, best.discriminators)
    evaluated = _evaluated(generators, test, epoch=best.epoch, epoch_note=f"{BEST} by {run.rule.metric}")
    return _trained_pair(run, role, evaluated, timings, discriminators)


def _evaluated(generators: Networks, test: SplitEvaluation | None, *, epoch: int = 0, epoch_note: str = "") -> Evaluated:
    """Return generators in the memory layout in which they are read back from disk, with their metrics on the test split."""
    generators = {name: _as_read_from_disk(network) for name, network in generators.items()}
    metrics = test.evaluate(generators) if test else {}
    return Evaluated(generators, metrics, test.protocols if test else {}, epoch, epoch_note)


def _trained_pair(
    run: Trained,
    role: Role,
    evaluated: Evaluated,
    timings: Mapping[str, Timing],
    discriminators: Networks = MappingProxyType({}),
) -> TrainedPair:
    context, widths = run.context, run.widths[role]
    reports = {
        name: GeneratorReport.of(
            context.architecture.for_network(name),
            network,
            widths[name],
            timings[name].latency,
            metrics=evaluated.metrics.get(name, {}),
            protocols=evaluated.protocols.get(name, {}),
            epoch=evaluated.epoch,
            epoch_note=evaluated.epoch_note,
            latency_budget=timings[name].latency_budget,
        )
        for name, network in evaluated.generators.items()
    }
    trained: dict[str, nn.Module] = {name: network.eval() for name, network in discriminators.items()} if role == "teacher" else {}
    return TrainedPair(role, context.arch, context.architecture, reports, trained, environment(context.device) | _origins(context, role))


def _origins(context: RunContext, role: Role) -> dict[str, str]:
    """Return where data and widths come from, if not from the user's folder and a search; entries of the environment."""
    origins = {}
    if context.uses_demo_data:
        origins[GENERATED] = context.config.dataset or context.architecture.demo_source
    if role == "student" and (folder := context.config.student or context.config.widths):
        origins[WIDTHS_FROM] = str(folder)
    return origins
