"""Prunes a teacher that consists of a user's networks, without training: `gcc prune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gcc.artifacts.model import environment
from gcc.deploy.latency import measure_in_turns
from gcc.errors import GccError, PluginError
from gcc.pruning.budget import Budget
from gcc.pruning.choice_warnings import warn_of_narrow_layers
from gcc.pruning.cost import generator_cost
from gcc.pruning.importance import most_important
from gcc.pruning.search import score_family, widths_of_family
from gcc.registry import METRICS
from gcc.training.save_result import PairToSave, save_pair
from gcc.training.teacher import Teacher
from gcc.training.teacher_networks import Own
from gcc.training.trained_pair import GeneratorReport, TrainedPair
from gcc.utils.files import require_empty


def prune_teacher(teacher: Teacher, out: Path, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Write a student with the weights of a teacher's most important channels to `out`, and return the measurements of both.

    Args:
        teacher: the teacher, which consists of a user's networks.
        out: the student's folder, empty or new.
        settings: recipe fields, such as `budget`, `metric` and `round_to`.

    Raises:
        GccError: the generator is not trained, a field is invalid, the metric needs training, the budget is out of reach, or the student is
            not proven.
        OutputError: the folder contains something, or cannot be written.
    """
    if not isinstance(teacher.networks, Own):
        raise GccError(f"{teacher.arch} is a family, whose students do not inherit weights: use `gcc compress`")
    if not teacher.is_trained:
        raise GccError("the generator's weights are new, and the student would inherit them: give the file of its trained weights")
    require_empty(out)
    architecture = teacher.architecture(settings)
    recipe = architecture.recipe
    metric = METRICS.load(recipe.metric)()
    if metric.gradient_batches:
        raise PluginError(f"metric {recipe.metric!r} needs gradients from training: expected a metric that reads only weights, such as l1")
    full_widths = architecture.full_widths(recipe.ngf)
    cost = generator_cost(architecture, full_widths)
    (network,) = teacher.generators().values()
    scored = score_family(architecture, network, recipe.ngf, metric, recipe.min_keep_ratio)
    (budget,) = Budget.parse_each(recipe.budget, architecture.generators).values()
    widths = widths_of_family(architecture, scored, budget.resolve(cost, recipe.mac_counter), recipe.round_to)
    warn_of_narrow_layers(full_widths, widths, "the generator")
    smaller = architecture.inherit(network, most_important(scored.scores, widths))
    latencies = measure_in_turns([network.eval(), smaller.eval()], architecture.example_input())
    full, student = (
        GeneratorReport.of(architecture, one, chosen, latency)
        for one, chosen, latency in zip((network, smaller), (full_widths, widths), latencies, strict=True)
    )
    measurements = {"teacher": full.measurements(), "student": student.measurements()}
    pair = TrainedPair("student", teacher.arch, architecture, {"G": student}, {}, environment(torch.device("cpu")))
    save_pair(PairToSave(pair, out, {"G": measurements}))
    return measurements
