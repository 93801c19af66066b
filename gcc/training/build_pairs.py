"""Builds the pairs of a run: the teacher, the student, and the pair that the first step prunes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from gcc.artifacts.config import Artifact
from gcc.artifacts.model import load_matching_weights, read
from gcc.custom.gan import CustomGAN
from gcc.errors import ArtifactError, RecipeError
from gcc.losses.distillation import Projections
from gcc.losses.layers import NO_LAYERS, DistillationLayers, build_projections, select_layers
from gcc.models.build import build_discriminators, build_generators, generators_on_meta
from gcc.models.gate import load_ungated
from gcc.models.modules import Widths, on_meta
from gcc.pruning.groups import find_groups
from gcc.pruning.sparsity import L1Subgradient
from gcc.registry import Architecture, ImportanceMetric, Networks
from gcc.training.context import RunContext
from gcc.training.pair import NO_NETWORKS, FrozenPair, GANPair
from gcc.training.retention import alpha_rate
from gcc.training.size_check import require_right_size
from gcc.training.student import STUDENTS, Distillation, StudentPair
from gcc.utils.seeds import seeded


def teacher_networks(context: RunContext, base: int, use: str) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Return generators of width `base` and discriminators, with the pretrained weights if they have that width.

    Args:
        context: the run's context.
        base: the generators' width.
        use: names the random numbers of new weights, such as "teacher".
    """
    generators = build_generators(context.architecture, context.full_widths(base), use)
    discriminators = build_discriminators(context.architecture, use)
    if base == context.recipe.ngf or context.architecture.has_one_width:
        context.teacher.load_into(generators, discriminators)
    return generators, discriminators


def teacher_pair(context: RunContext, layers: DistillationLayers = NO_LAYERS) -> GANPair:
    """Return the teacher pair at its start: pretrained or new."""
    generators, discriminators = teacher_networks(context, context.recipe.ngf, "teacher")
    if context.recipe.train_teacher:
        return GANPair(context.architecture, generators, discriminators, context.execution, context.auxiliary, layers)
    trained = discriminators if context.teacher.has_discriminators else {}
    return FrozenPair(context.architecture, generators, trained, context.execution, context.auxiliary, layers)


def sparse_pair(context: RunContext, metric: ImportanceMetric) -> GANPair:
    """Return the pair of the first step, whose generators train with the L1 subgradient on what the metric reads (lines 2 to 4)."""
    recipe = context.recipe
    generators, discriminators = teacher_networks(context, recipe.prune_width, "search")
    groups = find_groups(context.architecture, recipe.prune_width)
    strength = metric.l1_strength if recipe.sparsity is None else recipe.sparsity
    penalise = L1Subgradient(generators.values(), groups, metric, strength, context.architecture.readable)
    return GANPair(context.architecture, generators, discriminators, context.execution, context.auxiliary, penalise=penalise)


def saved_student(context: RunContext, folder: Path) -> dict[str, Artifact]:
    """Return the generators of a saved student, by name.

    Raises:
        ArtifactError: the folder contains no student of this family with these levels.
    """
    saved = read(folder, role="student", factory=context.teacher.factory)
    names = context.architecture.widths(context.recipe.ngf).keys()
    for generator in context.architecture.generators:
        if generator not in saved or saved[generator].arch != context.arch or saved[generator].widths.keys() != names:
            raise ArtifactError(f"{folder} contains no widths for this {context.arch}'s generator {generator}: expected {', '.join(names)}")
    return {generator: saved[generator] for generator in context.architecture.generators}


def require_heirs(context: RunContext) -> None:
    """Refuse students that start with inherited weights if the family, or the run, has none for them.

    Raises:
        RecipeError: it has none.
    """
    if type(context.architecture).inherit is Architecture.inherit:
        raise RecipeError(
            f'start = "inherited": students of {context.arch} start with fresh weights, as in Algorithm 1: leave it out, or give the '
            "generator as your own (`generator` and `task`)"
        )
    if context.config.widths is not None:
        raise RecipeError(
            'start = "inherited": a student inherits the channels that its own run keeps: leave out `widths`, or give `start="fresh"`'
        )


def require_new_weights(context: RunContext) -> None:
    """Refuse students that start with new weights if nothing draws some weights of the user's own networks.

    Raises:
        GccError: these weights would be the given ones.
    """
    if isinstance(context.architecture, CustomGAN):
        with seeded(context.recipe.seed, "check"):
            if context.config.student is None:
                context.architecture.networks.require_drawn_generator()
            if context.recipe.discriminator != "none":
                context.architecture.networks.require_drawn_discriminator()


def require_student_discriminators(context: RunContext) -> None:
    """Refuse discriminators that the student cannot train against.

    Raises:
        GccError: the user's own has no layer for the gates of selective activation, or a layer cannot be gated.
    """
    STUDENTS[context.recipe.discriminator].build_discriminators(context.architecture)


def inherited_generators(context: RunContext, trained: Networks, kept: Mapping[str, Mapping[str, Sequence[int]]]) -> dict[str, nn.Module]:
    """Return generators with the weights of the channels that are kept of trained ones, by name.

    Raises:
        GccError: a smaller generator does not compute what the trained one does without the other channels.
    """
    return {name: context.architecture.inherit(network, kept[name]) for name, network in trained.items()}


def student_generators(context: RunContext, widths: Mapping[str, Widths], initial: Networks = NO_NETWORKS) -> dict[str, nn.Module]:
    """Return generators with these widths, and with the weights of the student that the run trains further, if there is one.

    Args:
        context: the run's context.
        widths: the widths, by generator.
        initial: networks whose weights they start with, by generator; those that are missing start with fresh weights.

    Raises:
        ArtifactError: that student is damaged, or does not fit the recipe.
    """
    generators = build_generators(context.architecture, widths, "student")
    for name, network in initial.items():
        generators[name].load_state_dict(network.state_dict())
    if context.config.student is not None:
        for name, artifact in saved_student(context, context.config.student).items():
            load_matching_weights(generators[name], artifact.network(), context.config.student, "student")
    return generators


def student_pair(
    context: RunContext, widths: Mapping[str, Widths], layers: DistillationLayers, initial: Networks = NO_NETWORKS
) -> StudentPair:
    """Return a student pair with these widths, of the kind that the recipe's `discriminator` names.

    Its discriminators are new, or start with the weights of the teacher's if its generators start with those of `initial`.
    """
    kind = STUDENTS[context.recipe.discriminator]
    generators = student_generators(context, widths, initial)
    discriminators = kind.build_discriminators(context.architecture)
    if initial:
        _, trained = teacher_networks(context, context.recipe.ngf, "teacher")
        for name, network in discriminators.items():
            load_ungated(network, trained[name].state_dict())
    projections = _projections(context, widths, layers)
    rate = alpha_rate(context)
    distillation = Distillation(context.distillers, context.distiller_networks, layers, projections)
    return kind(context.architecture, generators, discriminators, context.execution, context.auxiliary, distillation, rate)


def distillation_layers(context: RunContext) -> DistillationLayers:
    """Return the layers that the recipe's selector chooses, without those that no distiller reads.

    Raises:
        RecipeError: the selector names a layer that the networks lack.
        GccError: a user's generator does not take images of the recipe's size.
    """
    require_right_size(context.architecture)
    discriminators = {
        name: on_meta(context.architecture.for_network(name).build_discriminator) for name in context.architecture.discriminators
    }
    teachers = generators_on_meta(context.architecture, context.full_widths(context.recipe.ngf))
    layers = select_layers(context.architecture, teachers, discriminators)
    return DistillationLayers(
        layers.generators if context.distillers.reads_generators else {},
        layers.discriminators if context.distillers.reads_discriminators else {},
    )


def _projections(context: RunContext, widths: Mapping[str, Widths], layers: DistillationLayers) -> dict[str, Projections]:
    """Return the new maps f_l of Eq. 9, by generator."""
    full = context.full_widths(context.recipe.ngf)
    teachers, students = generators_on_meta(context.architecture, full), generators_on_meta(context.architecture, widths)
    with seeded(context.recipe.seed, "projections"):
        return build_projections(context.architecture, teachers, students, layers)
