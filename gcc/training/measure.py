"""What a run has to show: pictures while it goes on, and its sides, measured, in the end."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from PIL.Image import Image
from torch import nn

from gcc.artifacts.config import Role
from gcc.artifacts.model import environment
from gcc.errors import TrainingError
from gcc.evaluation.grid import sample_grid
from gcc.evaluation.split import SplitEvaluation, evaluating_generators, evenly_spaced, load_samples
from gcc.pruning.budget import Budget
from gcc.registry import Networks, Samples
from gcc.training.best import restored
from gcc.training.result import BestAndLast, GeneratorReport, Result, TrainedPair
from gcc.training.run import SHOWN, Run


def progress_grid(run: Run) -> Image:
    """Return a grid of held-out samples with every side trained so far."""
    return held_out_grid(run, {role: player.generators for role, player in run.sides.items()})


def held_out_grid(run: Run, sides: Mapping[str, Networks]) -> Image:
    """Return a grid of held-out samples of the run's data with the generators of every side, by its title."""
    source = run.data.test
    batch = load_samples(source, evenly_spaced(min(SHOWN, len(source)), len(source)), run.device)
    fake: dict[str, Samples] = {}
    for title, generators in sides.items():
        with evaluating_generators(generators), run.execution.autocast():
            fake[title] = run.architecture.generate(generators, batch)
    return sample_grid(run.architecture.visuals(batch, fake))


def build_result(run: Run) -> Result:
    """Return every side of a run, measured on the held-out data."""
    roles: dict[str, BestAndLast] = {role: _outcome(run, role) for role in run.trained_widths}
    best = {role: _networks(outcome.best) for role, outcome in roles.items()}
    grids = {role: held_out_grid(run, best | {role: _networks(outcome.last)}) for role, outcome in roles.items() if outcome.differs}
    return Result(roles, held_out_grid(run, best), grids)


def salvage(run: Run, error: Exception) -> Result | None:
    """Return what is worth keeping of a run that went wrong, unjudged by test images: the best epoch of each side, else the present.

    Args:
        run: what went wrong.
        error: how; after a collapse the present is worth nothing.
    """
    kept = run.best_checkpoint.best if run.best_checkpoint else {}
    moving = [role for role, player in run.sides.items() if player.trains]
    if not run.sides or (isinstance(error, TrainingError) and not kept.keys() >= set(moving)):
        return None
    sides = {role: _best(run, role, None) or _present(run, role, None) for role in run.trained_widths}
    roles: dict[str, BestAndLast] = {role: BestAndLast(side, side) for role, side in sides.items()}
    return Result(roles, held_out_grid(run, {role: _networks(side) for role, side in sides.items()}))


def _outcome(run: Run, role: Role) -> BestAndLast:
    """Return one side with its costs, latency and held-out quality: in its best epoch, and in the last."""
    last = _present(run, role, run.test)
    return BestAndLast(_best(run, role, run.test) or last, last)


def _present(run: Run, role: Role, test: SplitEvaluation | None) -> TrainedPair:
    player = run.sides[role]
    return _measured(run, role, player.generators, player.discriminators, run.epoch if player.trains else 0, test)


def _best(run: Run, role: Role, test: SplitEvaluation | None) -> TrainedPair | None:
    """Return one side as it was in its best epoch; none where that is the present, or not known."""
    player = run.sides[role]
    best = run.best_checkpoint.best.get(role) if run.best_checkpoint else None
    if best is None or best.epoch == run.epoch:
        return None
    generators = restored(player.generators, best.generators)
    discriminators = restored(player.discriminators, best.discriminators)
    return _measured(run, role, generators, discriminators, best.epoch, test)


def _measured(
    run: Run, role: Role, generators: Networks, discriminators: Networks, epoch: int, test: SplitEvaluation | None
) -> TrainedPair:
    # In the layout in which they come back from disk.
    generators = {name: network.to(memory_format=torch.contiguous_format) for name, network in generators.items()}
    metrics = test.evaluate(generators) if test else {}
    protocols = test.protocols if test else {}
    widths = run.trained_widths[role]
    budgets = Budget.parse_each(run.recipe.budget, run.architecture.generators)
    measured = {
        name: GeneratorReport.measure(
            run.architecture, network, widths[name], metrics.get(name, {}), run.device, epoch, protocols.get(name, {}), budgets[name]
        )
        for name, network in generators.items()
    }
    judges = {name: network.eval() for name, network in discriminators.items()} if role == "teacher" else {}
    return TrainedPair(role, run.arch, run.architecture, measured, judges, environment(run.device))


def _networks(side: TrainedPair) -> dict[str, nn.Module]:
    return {name: measured.network for name, measured in side.generators.items()}
