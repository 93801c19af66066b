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
from gcc.evaluation.split import HeldOut, sampling, shown, spread
from gcc.pruning.budget import Budget
from gcc.registry import Networks, Samples
from gcc.training.best import restored
from gcc.training.result import Measured, Outcome, Result, Side
from gcc.training.run import SHOWN, Run


def preview(run: Run) -> Image:
    """Return a grid of held-out samples with every side trained so far."""
    return picture(run, {role: player.generators for role, player in run.sides.items()})


def picture(run: Run, sides: Mapping[str, Networks]) -> Image:
    """Return a grid of held-out samples of the run's data with the generators of every side, by its title."""
    source = run.material.test
    batch = shown(source, spread(min(SHOWN, len(source)), len(source)), run.device)
    made: dict[str, Samples] = {}
    for title, generators in sides.items():
        with sampling(generators), run.execution.autocast():
            made[title] = run.architecture.generate(generators, batch)
    return sample_grid(run.architecture.show(batch, made))


def conclude(run: Run) -> Result:
    """Return every side of a run, measured on the held-out data."""
    outcomes: dict[str, Outcome] = {role: _outcome(run, role) for role in run.trained_widths}
    best = {role: _networks(outcome.best) for role, outcome in outcomes.items()}
    grids = {role: picture(run, best | {role: _networks(outcome.last)}) for role, outcome in outcomes.items() if outcome.differs}
    return Result(outcomes, picture(run, best), grids)


def rescue(run: Run, error: Exception) -> Result | None:
    """Return what is worth keeping of a run that went wrong, unjudged by test images: the best epoch of each side, else the present.

    Args:
        run: what went wrong.
        error: how; after a collapse the present is worth nothing.
    """
    kept = run.selection.best if run.selection else {}
    moving = [role for role, player in run.sides.items() if player.moves]
    if not run.sides or (isinstance(error, TrainingError) and not kept.keys() >= set(moving)):
        return None
    sides = {role: _best(run, role, None) or _present(run, role, None) for role in run.trained_widths}
    outcomes: dict[str, Outcome] = {role: Outcome(side, side) for role, side in sides.items()}
    return Result(outcomes, picture(run, {role: _networks(side) for role, side in sides.items()}))


def _outcome(run: Run, role: Role) -> Outcome:
    """Return one side with its costs, latency and held-out quality: in its best epoch, and in the last."""
    last = _present(run, role, run.test)
    return Outcome(_best(run, role, run.test) or last, last)


def _present(run: Run, role: Role, test: HeldOut | None) -> Side:
    player = run.sides[role]
    return _measured(run, role, player.generators, player.discriminators, run.epoch if player.moves else 0, test)


def _best(run: Run, role: Role, test: HeldOut | None) -> Side | None:
    """Return one side as it was in its best epoch; none where that is the present, or not known."""
    player = run.sides[role]
    best = run.selection.best.get(role) if run.selection else None
    if best is None or best.epoch == run.epoch:
        return None
    generators = restored(player.generators, best.generators)
    discriminators = restored(player.discriminators, best.discriminators)
    return _measured(run, role, generators, discriminators, best.epoch, test)


def _measured(run: Run, role: Role, generators: Networks, discriminators: Networks, epoch: int, test: HeldOut | None) -> Side:
    # In the layout in which they come back from disk.
    generators = {name: network.to(memory_format=torch.contiguous_format) for name, network in generators.items()}
    figures = test.figures(generators) if test else {}
    protocols = test.protocols if test else {}
    widths = run.trained_widths[role]
    budgets = Budget.parse_each(run.recipe.budget, run.architecture.generators)
    measured = {
        name: Measured.take(
            run.architecture, network, widths[name], figures.get(name, {}), run.device, epoch, protocols.get(name, {}), budgets[name]
        )
        for name, network in generators.items()
    }
    judges = {name: network.eval() for name, network in discriminators.items()} if role == "teacher" else {}
    return Side(role, run.arch, run.architecture, measured, judges, environment(run.device))


def _networks(side: Side) -> dict[str, nn.Module]:
    return {name: measured.network for name, measured in side.generators.items()}
