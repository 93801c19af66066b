"""Human-readable summary of a run, printed before it starts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain

from torch import nn

from gcc.artifacts.run_folder import data_of
from gcc.losses.layers import DistillationLayers
from gcc.models.modules import Widths
from gcc.pruning.budget import LatencyBudget
from gcc.pruning.cost import generator_cost
from gcc.recipe import LENGTH_FIELDS, Recipe, differences, size_text
from gcc.training.best import EpochRule
from gcc.training.checkpoint import CheckpointState
from gcc.training.context import RunContext
from gcc.training.footprint import networks_on_meta
from gcc.training.retention import MAX_RATE, alpha_range, alpha_rate, sufficient_alpha_rate
from gcc.utils.units import counted


def facts(context: RunContext, stage_lengths: Sequence[str]) -> dict[str, str]:
    """Return what identifies a run, by title, without reading images or searching widths."""
    recipe = context.recipe
    return {
        "teacher": context.teacher.describe(recipe.ngf),
        "training": f"{_total(recipe, stage_lengths)} at {size_text(recipe)} pixels on {context.device}",
        "data": context.data_name,
    }


def training_plan(context: RunContext, stage_lengths: Sequence[str], rule: EpochRule, warnings: Sequence[str]) -> dict[str, str]:
    """Return the plan of any run, by title."""
    notes = [note for note in (context.architecture.note, context.teacher_note, _other_data(context), context.data.test.note) if note]
    recipe, epoch = context.recipe, context.loader.steps
    of_an_epoch = f", in epochs of {epoch}" if recipe.steps else f" of {counted(epoch, 'step')}"
    return {
        **context.data.summary(size_text(context.recipe)),
        **({"note": "; ".join(notes)} if notes else {}),
        "device": f"{context.device}, {str(context.execution.dtype).removeprefix('torch.')}"
        + (", compiled" if context.execution.compile else "")
        + (f", {context.ranks.world} processes" if context.ranks.is_distributed else ""),
        "training": f"{_total(recipe, stage_lengths)}{of_an_epoch}, {_batches(context)}",
        "result": str(rule),
        **({"warning": "; ".join(warnings)} if warnings else {}),
    }


def compression_plan(
    context: RunContext,
    widths: Mapping[str, Widths],
    expected: Mapping[str, Widths],
    layers: DistillationLayers,
    warnings: Sequence[str],
) -> dict[str, str]:
    """Return what the plan of a compression has beside that of any run, by title.

    Args:
        context: what the run works with.
        widths: the student's widths, by generator; empty if they are still to be searched.
        expected: about what the search will return, by generator.
        layers: the layers that are distilled.
        warnings: those of any run.
    """
    recipe, teacher = context.recipe, context.teacher_cost()
    ranked = "" if widths or recipe.train_teacher else _ranked(context)
    facts = {"teacher": f"{_width(context, recipe.ngf)}{teacher}{_frozen(context)}{ranked}"}
    if widths:
        costs = {name: generator_cost(context.architecture.for_network(name), chosen) for name, chosen in widths.items()}
        facts["widths"] = "; ".join(f"{name}: {cost}" for name, cost in costs.items())
        if context.config.student is not None:
            facts["student"] = f"{context.config.student}, trained further"
    else:
        full = context.architecture.full_widths(recipe.prune_width)
        facts["pruned from"] = f"{_width(context, recipe.prune_width)}{generator_cost(context.architecture, full)}"
        facts["budget"] = "; ".join(f"{name} {budget.plan(teacher, recipe.mac_counter)}" for name, budget in context.budgets().items())
        facts["channels"] = "; ".join([f"ranked by {recipe.metric}", *_removed(context, full, expected)])
        if recipe.start == "inherited":
            facts["student"] = "starts with the weights of the channels that are kept"
    facts["distillation"] = ": ".join(filter(None, (str(context.distillers), str(layers)))) or "none"
    if recipe.student_steps > 1:
        facts["student_steps"] = f"{recipe.student_steps} updates of the student for each of the teacher"
    rate = alpha_rate(context)
    if recipe.discriminator == "selective" and rate != recipe.lr_alpha:
        facts["lr_alpha"] = f"{rate:.2g} instead of {recipe.lr_alpha:.2g}, because the run is shorter than the published ones (alpha_reach)"
    if warnings := [*warnings, *_alpha_warning(context, rate), *_target_warning(recipe)]:
        facts["warning"] = "; ".join(warnings)
    return facts


def _removed(context: RunContext, full: Widths, expected: Mapping[str, Widths]) -> Iterator[str]:
    """Yield how many channels each generator will lose; a latency gives only an estimate, which is left out."""
    total = sum(full.values())
    for name, budget in context.budgets().items():
        if not isinstance(budget, LatencyBudget):
            yield f"{name}: about {1 - sum(expected[name].values()) / total:.0%} of {total} will be removed"


def _width(context: RunContext, base: int) -> str:
    """Return the width of a generator before its cost; nothing if it has only one."""
    return "" if context.architecture.has_one_width else f"width {base}: "


def longer_run(recipe: Recipe, roles: Collection[str], checkpoint: CheckpointState) -> str:
    """Describe how a run that resumes goes on for longer than it was started for. Empty if it does not.

    Args:
        recipe: the recipe of the longer run.
        roles: the roles in its result.
        checkpoint: where it resumes.
    """
    before, now = ({name: fields.get(name) for name in sorted(LENGTH_FIELDS)} for fields in (checkpoint["recipe"], recipe.to_dict()))
    schedules = "learning rates"
    if "student" in roles:
        raises_alpha_rate = recipe.discriminator == "selective" and recipe.alpha_reach
        schedules += " (also of the retention factors, by alpha_reach)" if raises_alpha_rate else ""
        schedules += " and beta = epoch / epochs (Eq. III)"
    longer = differences(before, now)
    return f"{longer}; from now on, {schedules} are those of a run of {recipe.epochs} epochs" if longer else ""


def teacher_lengths(recipe: Recipe, *, pretrains: bool) -> list[str]:
    """Return the lengths of the stages of a run that trains a teacher alone, in order.

    Args:
        recipe: the recipe.
        pretrains: whether the pair is pre-trained.
    """
    return [*_pretraining(recipe, recipe.pretrain_epochs if pretrains else 0), _length(recipe.epochs, recipe.steps)]


def compression_lengths(recipe: Recipe, epoch: int, *, searches: bool, pretrains_search: bool, pretrains: bool) -> list[str]:
    """Return the lengths of the stages of a compression, in order.

    Args:
        recipe: the recipe.
        epoch: the number of steps of an epoch.
        searches: whether the first step is still to come.
        pretrains_search: whether its pair is pre-trained.
        pretrains: whether one of the pairs of the second step is pre-trained.
    """
    before = _pretraining(recipe, recipe.search_pretrain_epochs if pretrains_search else 0)
    steps = None if recipe.search_steps is None else min(recipe.search_steps, recipe.search_epochs * epoch)
    search = [*before, _length(recipe.search_epochs, steps)] if searches else []
    return [*search, *teacher_lengths(recipe, pretrains=pretrains)]


def _pretraining(recipe: Recipe, epochs: int) -> list[str]:
    """Describe the stage before adversarial training, whose length is always in epochs, if there is one."""
    return [f"{counted(epochs, 'epoch') if recipe.steps else epochs} (pre-training)"] if epochs else []


def _length(epochs: int, steps: int | None) -> str:
    return str(epochs if steps is None else steps)


def _total(recipe: Recipe, lengths: Sequence[str]) -> str:
    """Return the lengths of all stages with their unit: epochs, or steps if these limit the run."""
    unit = "step" if recipe.steps else "epoch"
    return f"{' + '.join(lengths)} {unit if [*lengths] == ['1'] else f'{unit}s'}"


def _frozen(context: RunContext) -> str:
    """Return what follows if the teacher is not trained; empty if it is."""
    if context.recipe.train_teacher:
        return ""
    return "; stays as it is" + ("" if context.teacher.has_discriminators else ", and no loss reads its discriminator, which is not given")


def _ranked(context: RunContext) -> str:
    """Return what the first step trains while the teacher is not trained, of which the channels are ranked."""
    is_copy = context.recipe.prune_width == context.recipe.ngf or context.architecture.has_one_width
    trained = "a copy of it" if is_copy else f"another generator, of width {context.recipe.prune_width},"
    return f"; the first step trains {trained} to rank channels"


def _other_data(context: RunContext) -> str:
    """Return a note if a teacher of a user's data would train further on demo data. Empty if not, or if its data is unknown."""
    folder = context.teacher.folder
    known = data_of(folder) if folder and context.uses_demo_data else None
    return f"the teacher was trained on {known.folder}, and this run uses demo data: give `data`" if known and known.folder else ""


def _batches(context: RunContext) -> str:
    """Return the size of the batches; a dataset that is smaller than a batch is one batch."""
    size, samples = context.recipe.batch_size, len(context.data.train)
    smaller = f"batches of {samples} instead of {size}, because there are only {samples} training samples"
    return (smaller if samples < size else f"batches of {size}") + _micro_batches(context)


def _micro_batches(context: RunContext) -> str:
    size = context.execution.micro_batch
    if size is None:
        return ""
    modules = chain.from_iterable(network.modules() for network in networks_on_meta(context))
    mixes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
    return f" in micro-batches of {size}" + (", which batch norm normalises separately" if mixes else "")


def _alpha_warning(context: RunContext, rate: float) -> Iterator[str]:
    """Yield a warning if retention factors cannot fall to tau with their learning rate."""
    recipe, distance = context.recipe, alpha_range(context, rate)
    if recipe.discriminator == "selective" and distance < 1 - recipe.tau:
        sufficient = sufficient_alpha_rate(context)
        enough = math.ceil((1 - recipe.tau) / rate) if rate else math.inf
        # Later, the rate falls.
        longer = f"give at least {enough} `steps`" if enough <= recipe.alpha_decay_epochs * context.loader.steps else "train longer"
        yield (
            "no channel of the student's discriminator will switch off: retention factors start at 1, can fall by "
            f"{distance:.2g} and must fall below tau = {recipe.tau}; {longer}"
            + ("" if sufficient > MAX_RATE else f", or `lr_alpha={sufficient:.2g}`")
        )


def _target_warning(recipe: Recipe) -> Iterator[str]:
    """Yield a warning if steps end a run in its first epoch, in which the target of Eq. 7 never changes."""
    if recipe.steps and recipe.epochs == 1 and recipe.lambda_global and recipe.discriminator != "none":
        yield "the run ends in its first epoch, so L_target (Eq. II) keeps its first value (beta = 1); give more `steps`"
