"""Measures what a run trained: sample grids while it trains, and the result at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from PIL.Image import Image
from torch import nn

from gcc.artifacts.config import GENERATED, Role
from gcc.artifacts.model import environment
from gcc.artifacts.run_folder import BEST, LAST
from gcc.errors import TrainingError
from gcc.evaluation.grid import sample_grid
from gcc.evaluation.split import SplitEvaluation, evaluating_generators, evenly_spaced, load_samples
from gcc.registry import Networks, Samples
from gcc.training.best import restored
from gcc.training.context import RunContext
from gcc.training.result import BestAndLast, GeneratorReport, Result, TrainedPair

if TYPE_CHECKING:
    from gcc.training.loop import TrainingLoop

GRID_SAMPLES = 6
"""Held-out samples in a sample grid."""


def progress_grid(run: TrainingLoop) -> Image:
    """Return a grid of held-out samples with every pair as it is now."""
    return held_out_grid(run.context, {role: pair.generators for role, pair in run.pairs.items()})


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


def measure_given_teacher(run: TrainingLoop) -> TrainedPair | None:
    """Return the pretrained teacher as it was given, measured on the test split. None if it does not train further, or without evaluators.

    Its generators are on the CPU afterwards.
    """
    context = run.context
    if not (context.teacher.pretrained and context.recipe.train_teacher and context.evaluators.by_name):
        return None
    generators = {name: artifact.network().to(context.device) for name, artifact in context.teacher.pretrained.items()}
    pair = _measured(run, "teacher", generators, {}, 0, "", context.test)
    for network in pair.networks().values():
        network.cpu()
    return pair


def build_result(run: TrainingLoop) -> Result:
    """Return every trained pair in its best and last epoch, measured on the test split."""
    roles: dict[str, BestAndLast] = {}
    for role in run.result_widths:
        last = _last(run, role, run.context.test)
        roles[role] = BestAndLast(_best(run, role, run.context.test) or last, last, BEST if run.epoch_rule.selects else LAST)
    results = {role: pair.result.networks() for role, pair in roles.items()}
    others = {role: results | {role: pair.other.networks()} for role, pair in roles.items() if pair.differs}
    grids = {role: held_out_grid(run.context, networks) for role, networks in others.items()}
    return Result(roles, held_out_grid(run.context, results), grids, run.given_teacher, tuple(run.history.lines))


def partial_result(run: TrainingLoop, error: Exception) -> Result | None:
    """Return the partial result of a run that failed, without test metrics: each pair as it is, or in its best epoch.

    The best epoch is saved if it would have been the result, or if training collapsed.

    Args:
        run: the run that failed.
        error: why it failed. After a collapse, the current epoch is not saved.
    """
    best = run.best.best if run.best else {}
    training = {role for role, pair in run.pairs.items() if pair.trains}
    has_result = run.pairs.keys() >= set(run.result_widths)
    if not has_result or (isinstance(error, TrainingError) and not best.keys() >= training):
        return None
    takes_best = run.epoch_rule.selects or isinstance(error, TrainingError)
    pairs = {role: (_best(run, role, None) if takes_best else None) or _last(run, role, None) for role in run.result_widths}
    roles: dict[str, BestAndLast] = {role: BestAndLast(pair, pair) for role, pair in pairs.items()}
    return Result(roles, held_out_grid(run.context, {role: pair.networks() for role, pair in pairs.items()}), given=run.given_teacher)


def _last(run: TrainingLoop, role: Role, test: SplitEvaluation | None) -> TrainedPair:
    pair = run.pairs[role]
    if not pair.trains:
        return _measured(run, role, pair.generators, pair.discriminators, 0, "", test)
    best = run.best.best.get(role) if run.best else None
    is_best = run.epoch_rule.selects and best and best.epoch == run.epoch_of_weights
    note = f"last, best by {run.epoch_rule.metric}" if is_best else LAST
    return _measured(run, role, pair.generators, pair.discriminators, run.epoch_of_weights, note, test)


def _best(run: TrainingLoop, role: Role, test: SplitEvaluation | None) -> TrainedPair | None:
    """Return a pair as it was in its best epoch. None if that is the current epoch, or is not known."""
    pair = run.pairs[role]
    best = run.best.best.get(role) if run.best else None
    if best is None or best.epoch == run.epoch_of_weights:
        return None
    generators, discriminators = restored(pair.generators, best.generators), restored(pair.discriminators, best.discriminators)
    return _measured(run, role, generators, discriminators, best.epoch, f"{BEST} by {run.epoch_rule.metric}", test)


def _measured(
    run: TrainingLoop,
    role: Role,
    generators: Networks,
    discriminators: Networks,
    epoch: int,
    epoch_note: str,
    test: SplitEvaluation | None,
) -> TrainedPair:
    context, widths, budgets = run.context, run.result_widths[role], run.context.budgets()
    # The memory layout in which they are read back from disk.
    generators = {name: network.to(memory_format=torch.contiguous_format) for name, network in generators.items()}
    metrics = test.evaluate(generators) if test else {}
    protocols = test.protocols if test else {}
    reports = {
        name: GeneratorReport.measure(
            context.architecture,
            network,
            widths[name],
            context.device,
            metrics=metrics.get(name, {}),
            protocols=protocols.get(name, {}),
            epoch=epoch,
            epoch_note=epoch_note,
            budget=budgets[name],
        )
        for name, network in generators.items()
    }
    trained: dict[str, nn.Module] = {name: network.eval() for name, network in discriminators.items()} if role == "teacher" else {}
    generated = {GENERATED: context.config.dataset or context.architecture.demo_source} if context.uses_demo_data else {}
    return TrainedPair(role, context.arch, context.architecture, reports, trained, environment(context.device) | generated)
