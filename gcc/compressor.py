"""Algorithm 1 of GCC (Li et al. 2021): from a teacher to an efficient lightweight generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial

import torch
from torch import nn

from gcc.losses.coordination import Target
from gcc.losses.distillation import Projections
from gcc.losses.placement import Positions, build_projections, place
from gcc.models.gate import ChannelGate
from gcc.networks import Widths, build_discriminators, build_generators, generator_on_meta, on_meta
from gcc.player import Lesson, Losses, Player, Student
from gcc.pruning.budget import Budget
from gcc.pruning.cost import generator_cost
from gcc.pruning.groups import find_groups
from gcc.pruning.search import prune
from gcc.pruning.sparsity import add_subgradient, penalised
from gcc.registry import METRICS, Batch, ImportanceMetric, Networks
from gcc.result import Result
from gcc.run import FIRST, SECOND, Run, Step, titled
from gcc.training.seeds import seeded
from gcc.units import with_prefix


class Compressor(Run):
    """Compresses a teacher's generators to a budget by Algorithm 1.

    `run` goes to the end and returns the `Result`; `steps` gives one iteration at a time. What can be refused is refused by `check`, which
    `run` calls first. Arguments are those of `Run`.
    """

    teacher: Player
    student: Student
    widths: dict[str, Widths]

    @cached_property
    def metric(self) -> ImportanceMetric:
        """The importance metric."""
        return METRICS.load(self.recipe.metric)()

    def check(self) -> None:
        super().check()
        generators, _ = self.teacher_networks(self.recipe.prune_width, "search")
        self._prune(generators)
        self._positions()

    def steps(self) -> Iterator[Step]:
        """Run Algorithm 1, one iteration at a time; line numbers are the paper's."""
        # First step: generator compression.
        yield from self._sparse_training()  # lines 2 to 4
        self.widths = self._prune(self.searched.generators)  # line 5
        del self.searched
        self._reinitialise()
        yield from self.pretrain("pretrain", self.recipe.pretrain_epochs, self.apprentices())

        # Second step: lightweight generator training.
        epochs = self.recipe.epochs
        for epoch in range(1, epochs + 1):  # line 7
            self.begin("train", epoch, self.teacher, self.student)
            drawn = zip(self.batches(epoch, FIRST), self.loader.batches(epoch, SECOND), strict=True)  # lines 8 and 12
            for index, (first, second) in enumerate(drawn, start=1):
                yield self.step("train", epoch, epochs, index, self._cooperate(first, second, epoch))

    def state(self) -> Losses:
        """Return the share of each gate's channels that are on, once the second step has begun."""
        return titled("active", self.student.active_share()) if self.sides else {}

    def _cooperate(self, first: Batch, second: Batch, epoch: int) -> Losses:
        teacher, student = self.teacher, self.student

        # Line 9: update G^T and D^T with Eq. 1 and 2. D^T moves first: the same weights then judge G^T(z) and G^S(z).
        made = teacher.make(first)
        losses = titled("teacher", teacher.update_discriminators(made))
        lesson = Lesson(made, teacher.judge(made))
        losses |= titled("teacher", teacher.update_generators(made, lesson.verdict))
        for name, new in teacher.imbalances(lesson.verdict).items():
            losses[f"target/{name}"] = self.targets[name].update(new, epoch, self.recipe.epochs).clone()

        # Lines 10 and 11, in the recipe's order: update G^S with Eq. 1 and 10; freeze alpha and update D^S with Eq. 2.
        made = student.make(first)
        if self.recipe.order == "GD":
            verdict = student.judge(made)
            losses |= titled("student", student.learn(made, verdict, lesson, teacher.judge(made)))
            losses |= titled("student", student.update_discriminators(made, verdict))
        else:
            losses |= titled("student", student.update_discriminators(made))
            losses |= titled("student", student.learn(made, student.judge(made), lesson, teacher.judge(made)))

        # Line 13: freeze the weights of D^S and update alpha with Eq. 8, on a batch of its own.
        with torch.no_grad():
            made = student.make(second)
        return losses | titled("student", student.update_retention(made, self.targets))

    def result(self) -> Result:
        """Return the student beside its teacher, measured on the held-out data."""
        teacher = self.measured("teacher", self.widths_at(self.recipe.ngf))
        student = self.measured("student", self.widths)
        return Result({"teacher": teacher, "student": student}, self.preview())

    def plan(self) -> dict[str, str]:
        recipe, teacher = self.recipe, self.teacher_cost()
        searched, trained = recipe.search_epochs, recipe.epochs
        unpruned = generator_cost(self.architecture, self.architecture.full_widths(recipe.prune_width))
        facts = super().plan() | {
            "training": f"{searched} + {trained} epochs of {self.loader.steps} steps, batches of {recipe.batch_size}",
            "teacher": f"width {recipe.ngf}: {teacher}",
            "pruned from": f"width {recipe.prune_width}: {unpruned}",
            "budget": "; ".join(
                f"{name} {budget.describe(recipe.counter)}: {with_prefix(budget.limit(teacher, recipe.counter))}"
                for name, budget in self._budgets().items()
            ),
        }
        if self._retention_reach() < 1 - recipe.tau:
            facts["warning"] = (
                f"retention factors start at 1 and can fall by {self._retention_reach():.2g} in this run, not below tau = {recipe.tau}: no "
                "channel of the student's discriminator will switch off; train longer, or raise lr_alpha with --set"
            )
        return facts

    def _retention_reach(self) -> float:
        """Return how far Adam can move a retention factor in the whole run: one learning rate per step."""
        factors = [self.recipe.alpha_rate_factor(epoch) for epoch in range(1, self.recipe.epochs + 1)]
        return self.recipe.lr_alpha * self.loader.steps * sum(factors)

    def _sparse_training(self) -> Iterator[Step]:
        """Train a pair of the pruned width with the L1 subgradient on what the metric reads (lines 2 to 4)."""
        generators, discriminators = self.teacher_networks(self.recipe.prune_width, "search")
        groups = find_groups(self.architecture, self.recipe.prune_width)
        sparse = [parameter for network in generators.values() for parameter in penalised(network, groups, self.metric)]
        strength = self.metric.strength if self.recipe.sparsity is None else self.recipe.sparsity
        penalise = partial(add_subgradient, sparse, strength)
        self.searched = Player(self.architecture, generators, discriminators, self.precision, self.auxiliary, penalise=penalise)
        yield from self.pretrain("search_pretrain", self.recipe.search_pretrain_epochs, {"teacher": self.searched})
        yield from self.play(self.searched, "search", self.recipe.search_epochs)

    def _prune(self, generators: Networks) -> dict[str, Widths]:
        """Return the widths of every generator within the budget (line 5)."""
        recipe, teacher, budgets = self.recipe, self.teacher_cost(), self._budgets()
        return {
            name: prune(
                self.architecture, network, recipe.prune_width, self.metric, budgets[name], recipe.counter, teacher, recipe.keep
            ).widths
            for name, network in generators.items()
        }

    def _budgets(self) -> dict[str, Budget]:
        return Budget.parse_each(self.recipe.budget, self.architecture.generators)

    def _reinitialise(self) -> None:
        """Start teacher and student afresh; nothing is inherited from the first step (line 5)."""
        students = build_generators(self.architecture, self.widths, "student")
        positions = self._positions()
        self.teacher = self.teacher_player(positions)
        self.student = Student(
            self.architecture,
            students,
            build_discriminators(self.architecture, "student", partial(ChannelGate, tau=self.recipe.tau)),
            self.precision,
            self.auxiliary,
            positions,
            self._projections(positions),
        )
        self.targets = {name: Target().to(self.device) for name in self.architecture.discriminators}
        self.sides = {"teacher": self.teacher, "student": self.student}

    def _positions(self) -> Positions:
        """Return the layers that are distilled."""
        discriminators = {name: on_meta(self.architecture.build_discriminator) for name in self.architecture.discriminators}
        return place(self.architecture, self._on_meta(self.widths_at(self.recipe.ngf)), discriminators)

    def _projections(self, positions: Positions) -> dict[str, Projections]:
        """Return the maps f_l of Eq. 9, freshly initialised."""
        teachers, students = self._on_meta(self.widths_at(self.recipe.ngf)), self._on_meta(self.widths)
        with seeded(self.recipe.seed, "projections"):
            return build_projections(self.architecture, teachers, students, positions)

    def _on_meta(self, widths: Mapping[str, Widths]) -> dict[str, nn.Module]:
        return {name: generator_on_meta(self.architecture, chosen) for name, chosen in widths.items()}
