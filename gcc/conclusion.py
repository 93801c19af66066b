"""What a run has to show: pictures while it goes on, and its sides, measured, in the end."""

from __future__ import annotations

from collections.abc import Mapping

from PIL.Image import Image

from gcc.artifact import Role, environment
from gcc.evaluation.held_out import sampling, shown, spread
from gcc.networks import Widths
from gcc.registry import Networks, Samples
from gcc.report.grid import sample_grid
from gcc.result import Measured, Outcome, Result, Side
from gcc.run import SHOWN, Run
from gcc.selection import restored


def preview(run: Run) -> Image:
    """Return a grid of held-out samples with every side trained so far."""
    return picture(run, {role: player.generators for role, player in run.sides.items()})


def picture(run: Run, sides: Mapping[str, Networks]) -> Image:
    """Return a grid of held-out samples of the run's data with the generators of every side, by its title."""
    source = run.material.test
    batch = shown(source, spread(min(SHOWN, len(source)), len(source)), run.device)
    made: dict[str, Samples] = {}
    for title, generators in sides.items():
        with sampling(generators), run.precision.autocast():
            made[title] = run.architecture.generate(generators, batch)
    return sample_grid(run.architecture.show(batch, made))


def conclude(run: Run, widths: Mapping[Role, Mapping[str, Widths]]) -> Result:
    """Return every side, whose generators have these widths, measured on the held-out data."""
    outcomes: dict[str, Outcome] = {role: _outcome(run, role, chosen) for role, chosen in widths.items()}
    networks = {role: {name: each.network for name, each in outcome.best.generators.items()} for role, outcome in outcomes.items()}
    return Result(outcomes, picture(run, networks))


def _outcome(run: Run, role: Role, widths: Mapping[str, Widths]) -> Outcome:
    """Return one side with its costs, latency and held-out quality: in its best epoch, and in the last."""
    player = run.sides[role]
    last = _measured(run, role, widths, player.generators, player.discriminators, run.recipe.epochs)
    best = run.selection.best.get(role) if run.selection else None
    if best is None or best.epoch == run.recipe.epochs:
        return Outcome(last, last)
    generators = restored(player.generators, best.generators)
    discriminators = restored(player.discriminators, best.discriminators)
    return Outcome(_measured(run, role, widths, generators, discriminators, best.epoch), last)


def _measured(run: Run, role: Role, widths: Mapping[str, Widths], generators: Networks, discriminators: Networks, epoch: int) -> Side:
    figures, device = run.test.figures(generators), run.device
    measured = {
        name: Measured.take(run.architecture, network, widths[name], figures[name], device, epoch, run.test.protocols.get(name, {}))
        for name, network in generators.items()
    }
    judges = {name: network.eval() for name, network in discriminators.items()} if role == "teacher" else {}
    return Side(role, run.arch, run.architecture, measured, judges, environment(device))
