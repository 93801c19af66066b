"""Algorithm 1 of GCC (Li et al. 2021): from a teacher to an efficient lightweight generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import torch

from gcc.artifacts.config import Role
from gcc.artifacts.metrics_log import Phase
from gcc.data.torch_datasets import UserData
from gcc.errors import RunError
from gcc.losses.coordination import SmoothedTarget
from gcc.losses.layers import DistillationLayers
from gcc.models.modules import Widths
from gcc.registry import METRICS, Batch, ImportanceMetric, Networks
from gcc.training import plan
from gcc.training.build_pairs import (
    distillation_layers,
    inherited_generators,
    require_heirs,
    require_new_weights,
    require_student_discriminators,
    sparse_pair,
    student_generators,
    student_pair,
    teacher_networks,
    teacher_pair,
)
from gcc.training.checkpoint import CheckpointState
from gcc.training.context import RunContext, Stream
from gcc.training.loop import TrainingLoop
from gcc.training.loss_tree import LossTree
from gcc.training.options import RunOptions, shows_options
from gcc.training.pair import NO_NETWORKS, NO_OUTPUT, DiscriminatorOutput, GANPair, GeneratorOutput, TeacherOutput
from gcc.training.stages import adversarial_stage, pretraining_stages
from gcc.training.step import Stage
from gcc.training.student import StudentPair
from gcc.training.teacher import Teacher
from gcc.training.width_search import Chosen, reachable_channels, saved_widths, search_channels
from gcc.utils.seeds import derive_seed, seeded


class Compressor(TrainingLoop):
    """Compresses a teacher's generators to a budget by Algorithm 1. Line numbers are the paper's.

    `run` trains to the end and returns the `Result`; `steps` yields one training step at a time. `run` first calls `check`, which refuses
    what would fail later and prepares the data.

    Attributes:
        teacher: the teacher pair, in the second step.
        student: the student pair, in the second step.
        fixed_widths: the widths that the student's generators take, by generator; empty if the first step searches them.
        widths: the widths of the student's generators, once they are known.
        targets: L_target of Eq. 7, by discriminator.

    Args:
        teacher: the architecture, its recipe, and pretrained weights if it has any. Leave it out if you give `generator` and `task`.
        data: folder of the training images, or a `torch.utils.data.Dataset` or `DataLoader`, or these by split (`train`, `val`, `test`).
            None means the architecture's demo data and demo recipe.
        options: the options of `RunConfig`, and recipe fields; and for your own generator the arguments of `Teacher.of`.

    Raises:
        GccError: an option, the recipe, the device, a plugin, the networks, the data or the student's widths cannot be used.
    """

    teacher: GANPair
    student: StudentPair

    @shows_options
    def __init__(self, teacher: Teacher | None = None, data: str | Path | UserData | None = None, **options: Unpack[RunOptions]) -> None:
        super().__init__(RunContext.of(teacher, data, options))
        self.fixed_widths: dict[str, Widths] = saved_widths(self.context)
        self.widths: dict[str, Widths] = {}
        self.targets: dict[str, SmoothedTarget] = {}

    def stages(self) -> Iterator[Stage]:
        recipe, self.widths = self.recipe, self.fixed_widths
        initial = NO_NETWORKS

        # First step: generator compression, unless the widths are known.
        if not self.widths:
            searched = sparse_pair(self.context, self.metric)
            self.pairs = {"search": searched}
            new = {} if self._search_starts_trained else {"teacher": searched}
            yield from pretraining_stages(Phase.SEARCH_PRETRAIN, new, recipe.search_pretrain_epochs)
            yield adversarial_stage(Phase.SEARCH, searched, recipe.search_epochs, recipe.search_steps)  # lines 2 to 4
            chosen = self.search_channels(searched)  # line 5: prune
            self.widths = {name: one.widths for name, one in chosen.items()}
            initial = self.inherited(searched.generators, chosen) if recipe.start == "inherited" else NO_NETWORKS

        # Second step: lightweight generator training.
        self.reinitialize(initial)  # line 5: reinitialize
        new = {role: self.pairs[role] for role in self._new_roles}
        yield from pretraining_stages(Phase.PRETRAIN, new, recipe.pretrain_epochs)
        if recipe.start == "inherited":
            self.fit_projections()
        pairs = (self.teacher, self.student)
        yield Stage(Phase.TRAIN, recipe.epochs, self.cooperate, (Stream.TRAIN, Stream.ALPHA), pairs, recipe.steps)  # lines 7 to 14

    def cooperate(self, first: Batch, second: Batch) -> LossTree:
        """Train both pairs on a batch, and the retention factors on a second one, drawn independently (lines 8 to 13)."""
        teacher, student = self.teacher, self.student

        # Line 9: update G^T and D^T with Eq. 1 and 2. D^T goes first in either `update_order`, which is that of the student: so the same
        # weights discriminate G^T(z) and G^S(z).
        fake_T = teacher.generate(first)
        losses_T: dict[str, Any] = {**teacher.step_D(fake_T)}
        output_T = teacher.discriminate(fake_T)
        losses_T |= teacher.step_G(fake_T, output_T)
        losses_T["imbalance"] = imbalances = teacher.imbalances(output_T)
        target = {name: self.targets[name].update(new, self.epoch, self.recipe.epochs) for name, new in imbalances.items()}  # Eq. II, III

        # Lines 10 and 11, once in the paper.
        for _ in range(self.recipe.student_steps):
            losses_S = self._update_student(first, fake_T, output_T)

        # Line 13: freeze the weights of D^S and update alpha with Eq. 8.
        with torch.no_grad():
            fake_S = student.generate(second)
        losses_S |= student.step_alpha(fake_S, self.targets)
        return {"teacher": losses_T, "target": target, "student": losses_S}

    def _update_student(self, batch: Batch, fake_T: GeneratorOutput, output_T: DiscriminatorOutput) -> dict[str, Any]:
        """Update G^S with Eq. 1 and 10, and D^S with Eq. 2 while alpha is frozen, in the recipe's order (lines 10 and 11)."""
        student = self.student
        fake_S = student.generate(batch)
        losses: dict[str, Any] = {}
        if self.recipe.update_order == "DG":
            losses |= student.step_D(fake_S)
        output_S = student.discriminate(fake_S)
        losses |= student.step_G_distilled(fake_S, output_S, TeacherOutput(fake_T, output_T, self._teacher_on(fake_S)))
        if self.recipe.update_order == "GD":
            losses |= student.step_D(fake_S, output_S)
        return losses | {"imbalance": student.imbalances(output_S)}

    def _teacher_on(self, fake: GeneratorOutput) -> DiscriminatorOutput:
        """Return the output of the teacher's discriminators for the student's fake images, if a distiller reads it."""
        return self.teacher.discriminate(fake) if self.context.distillers.reads_discriminators else NO_OUTPUT

    def search_channels(self, searched: GANPair) -> dict[str, Chosen]:
        """Return the student's channels within the budget, from the pair that the first step has trained (line 5: prune)."""
        return search_channels(self.context, self.metric, searched)

    def inherited(self, generators: Networks, chosen: Mapping[str, Chosen]) -> Networks:
        """Return generators, such as those that the first step has trained, without the channels that are removed."""
        return inherited_generators(self.context, generators, {name: one.kept for name, one in chosen.items()})

    def reinitialize(self, initial: Networks = NO_NETWORKS) -> None:
        """Build teacher and student pairs, new or as they were given (line 5: reinitialize).

        Args:
            initial: generators whose weights the student starts with, by name. None in the paper's algorithm, which inherits nothing from
                the first step.
        """
        layers = self.distillation_layers
        self.student, self.teacher = student_pair(self.context, self.widths, layers, initial), teacher_pair(self.context, layers)
        self.targets = {name: SmoothedTarget().to(self.context.device) for name in self.architecture.discriminators}
        self.pairs = {"teacher": self.teacher, "student": self.student}

    def fit_projections(self) -> None:
        """Start the maps f_l of Eq. 9 at their best for one batch: random ones would pull inherited features away from the teacher's."""
        torch.manual_seed(derive_seed(self.recipe.seed, self.context.ranks.seed_name("projections")))
        self.student.fit_projections(self.teacher, next(self.context.batches(Stream.IMPORTANCE, 1)))
        self.context.loader.close(Stream.IMPORTANCE)

    @cached_property
    def metric(self) -> ImportanceMetric:
        """The importance metric."""
        return METRICS.load(self.recipe.metric)()

    def _facts(self) -> dict[str, str]:
        return {**super()._facts(), "budget": self.recipe.budget}

    @property
    def _search_starts_trained(self) -> bool:
        """Whether the pair that the first step trains is the pretrained one."""
        same_width = self.recipe.prune_width == self.recipe.ngf or self.architecture.has_one_width
        return self.context.teacher.is_trained and same_width

    @property
    def _new_roles(self) -> list[str]:
        """The pairs of the second step whose generators have no trained weights yet."""
        trained = {"teacher": self.context.teacher.is_trained, "student": self.context.config.student is not None}
        return [role for role, is_trained in trained.items() if not is_trained]

    def reachable_widths(self) -> dict[str, Widths]:
        """Return the student's widths if they are fixed, and otherwise those that untrained generators would get within the budget.

        For a latency, these are an estimate, for which the smallest and the full generator are timed.

        Raises:
            GccError: the budget is out of reach, or the metric does not fit the family.
        """
        return self.fixed_widths or {name: one.widths for name, one in self._untrained_channels.items()}

    @cached_property
    def _untrained_channels(self) -> dict[str, Chosen]:
        return reachable_channels(self.context, self.metric)

    def check(self) -> None:
        if self.recipe.start == "inherited":
            require_heirs(self.context)
        else:
            require_new_weights(self.context)
        super().check()
        require_student_discriminators(self.context)
        widths = self.reachable_widths()
        if self.context.config.student is not None:
            student_generators(self.context, widths)
        elif self.recipe.start == "inherited" and not self.fixed_widths:
            with seeded(self.recipe.seed, "check"):
                generators, _ = teacher_networks(self.context, self.recipe.prune_width, "search")
                self.inherited(generators, self._untrained_channels)
        _ = self.distillation_layers

    @cached_property
    def distillation_layers(self) -> DistillationLayers:
        """The layers whose features the student is compared with the teacher at."""
        return distillation_layers(self.context)

    def plan(self) -> dict[str, str]:
        facts = plan.compression_plan(self.context, self.fixed_widths, self.reachable_widths(), self.distillation_layers, self.warnings)
        return super().plan() | facts

    def stage_lengths(self) -> list[str]:
        return plan.compression_lengths(
            self.recipe,
            self.context.loader.steps,
            searches=not self.fixed_widths,
            pretrains_search=not self._search_starts_trained,
            pretrains=bool(self._new_roles),
        )

    def monitored(self) -> LossTree:
        """Return the share of each gate's channels that are on, in the second step; scalars on the device."""
        return {"active": self.student.active_share()} if "student" in self.pairs else {}

    @property
    def result_widths(self) -> dict[Role, dict[str, Widths]]:
        return {"teacher": self.context.full_widths(self.recipe.ngf), "student": self.widths}

    def state_dict(self) -> dict[str, Any]:
        targets = {name: target.state_dict() for name, target in self.targets.items()}
        return super().state_dict() | {"widths": self.widths, "targets": targets, "layers": self.distillation_layers.to_json()}

    def load_state_dict(self, state: CheckpointState) -> None:
        super().load_state_dict(state)
        for name, target in self.targets.items():
            target.load_state_dict(state["targets"][name])

    def resume(self, checkpoint: CheckpointState) -> None:
        super().resume(checkpoint)
        layers = self.distillation_layers.to_json()
        # Earlier versions did not record the layers.
        if checkpoint["state"].get("layers", layers) != layers:
            raise RunError(
                "the run to resume distils other layers than this version of gcc or of a plugin selects: resume it with the version that "
                "began it, or start a new one"
            )
        # Once the widths are known, the first step is over.
        self.fixed_widths = checkpoint["state"]["widths"]
