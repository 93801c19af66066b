"""Algorithm 1 of GCC (Li et al. 2021): from a teacher to an efficient lightweight generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy, deepcopy
from functools import cached_property, partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcc.artifacts.config import Role
from gcc.artifacts.model import read
from gcc.data.loader import Loader
from gcc.errors import ArtifactError
from gcc.losses.coordination import Target
from gcc.losses.distillation import Projections
from gcc.losses.layers import Positions, build_projections, place
from gcc.models.build import build_generators, generator_on_meta
from gcc.models.modules import Widths, on_meta
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import generator_cost
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import ONCE, random_gradients
from gcc.pruning.search import prune
from gcc.pruning.sparsity import add_subgradient, penalised
from gcc.registry import METRICS, Batch, ImportanceMetric, Networks
from gcc.training.measure import conclude
from gcc.training.memory_estimate import Imagined, imagined
from gcc.training.pair import Lesson, Losses, Made, Player, Verdict
from gcc.training.result import Result
from gcc.training.run import FIRST, SCORED, SECOND, Run, Step, titled
from gcc.training.student import STUDENTS, Student
from gcc.training.teacher import Teacher
from gcc.utils.seeds import derived, seeded


class Compressor(Run):
    """Compresses a teacher's generators to a budget by Algorithm 1.

    `run` goes to the end and returns the `Result`; `steps` gives one iteration at a time. What can be refused is refused by `check`, which
    `run` calls first.

    Args:
        teacher: see `Run`, as for all other arguments.
        data: folder of the training images; none for the architecture's demo data and demo recipe.
        widths: folder of a saved student whose widths are taken, so that Algorithm 1's first step is left out; none searches them.
        arguments: those of `Run`.

    Raises:
        GccError: the recipe, the device, a plugin, the data or the student's widths cannot be used.
    """

    teacher: Player
    student: Student
    searched: Player

    def __init__(self, teacher: Teacher, data: str | Path | None = None, *, widths: str | Path | None = None, **arguments: Any) -> None:
        super().__init__(teacher, data, **arguments)
        self.given_widths = {} if widths is None else self._widths_of(Path(widths))
        self.widths: dict[str, Widths] = {}
        self.targets: dict[str, Target] = {}

    @cached_property
    def metric(self) -> ImportanceMetric:
        """The importance metric."""
        return METRICS.load(self.recipe.metric)()

    def check(self) -> None:
        super().check()
        self.within_budget()
        self._positions()

    def within_budget(self) -> dict[str, Widths]:
        """Return widths that are within the budget, for a generator that has learned nothing; those that were given, if any.

        Raises:
            GccError: the budget is out of reach, or the metric does not fit the family.
        """
        if self.given_widths:
            return self.given_widths
        generators, _ = self.teacher_networks(self.recipe.prune_width, "search")
        return self._prune(generators, random_gradients)

    def bytes_of_iteration(self, widths: dict[str, Widths]) -> int:
        """Return how many bytes the tensors of the second step hold at the most; they are counted, and nothing is computed.

        What kernels need for themselves, and what the allocator keeps, is not among them.

        Args:
            widths: of the students.
        """
        here, dtype = torch.device("cpu"), self.execution.dtype
        loader = Loader(self.material.train, batch_size=self.recipe.batch_size, seed=self.recipe.seed, device=here, ranks=self.ranks)
        batch = next(loader.batches(1, FIRST))
        run = copy(self)
        run.device, run.widths, run.given = here, widths, Teacher(self.arch, self.given.settings)
        # Of the same size, and without a scaler, which looks at values.
        run.execution = Imagined(here, torch.bfloat16 if dtype == torch.float16 else dtype, micro_batch=self.execution.micro_batch)
        run.auxiliary = {name: deepcopy(network).to(here) for name, network in self.auxiliary.items()}
        with imagined() as tally:
            run._reinitialise()
            # In the first iteration Adam has no moments yet.
            for _ in range(2):
                drawn = ({key: value.clone() for key, value in batch.items()} for _ in range(2))
                first, second = (run.architecture.prepare(each, run.auxiliary) for each in drawn)
                run._cooperate(first, second, 1)
        frozen = (parameter for network in run.auxiliary.values() for parameter in network.parameters())
        return tally.most + sum(parameter.numel() * parameter.element_size() for parameter in frozen)

    def steps(self) -> Iterator[Step]:
        """Run Algorithm 1, one iteration at a time; line numbers are the paper's."""
        # First step: generator compression, unless its outcome is given.
        if self.given_widths:
            self.widths = self.given_widths
        else:
            yield from self._sparse_training()  # lines 2 to 4
            self.widths = self.ranks.agreed(self._prune(self.searched.generators, self._gradients))  # line 5
            del self.searched
        self._reinitialise()
        yield from self.pretrain("pretrain", self.recipe.pretrain_epochs, self.apprentices())

        # Second step: lightweight generator training.
        epochs = self.recipe.epochs
        for epoch in self.epochs("train", epochs):  # line 7
            done = self.begin("train", epoch, self.teacher, self.student)
            drawn = zip(self.batches(epoch, FIRST, done), self.loader.batches(epoch, SECOND, done), strict=True)  # lines 8 and 12
            for index, (first, second) in enumerate(drawn, done + 1):
                yield self.step("train", epoch, epochs, index, self._cooperate(first, second, epoch))

    def state(self) -> Losses:
        """Return the share of each gate's channels that are on, once the second step has begun."""
        return titled("active", self.student.active_share()) if self.sides else {}

    @property
    def players(self) -> Mapping[str, Player]:
        return self.sides or {"search": self.searched}

    def memory(self) -> dict[str, Any]:
        targets = {name: target.state_dict() for name, target in self.targets.items()}
        return super().memory() | {"widths": self.widths, "targets": targets}

    def recall(self, memory: Mapping[str, Any]) -> None:
        super().recall(memory)
        for name, target in self.targets.items():
            target.load_state_dict(memory["targets"][name])

    def resume(self, snapshot: Mapping[str, Any]) -> None:
        super().resume(snapshot)
        # Once the widths are known, the first step is over.
        self.given_widths = snapshot["memory"]["widths"]

    def _cooperate(self, first: Batch, second: Batch, epoch: int) -> Losses:
        teacher, student = self.teacher, self.student

        # Line 9: update G^T and D^T with Eq. 1 and 2. D^T moves first: the same weights then judge G^T(z) and G^S(z).
        made = teacher.make(first)
        losses = titled("teacher", teacher.update_discriminators(made))
        lesson = Lesson(made, teacher.judge(made))
        losses |= titled("teacher", teacher.update_generators(made, lesson.verdict))
        imbalances = teacher.imbalances(lesson.verdict)
        losses |= titled("teacher/imbalance", imbalances)
        losses |= titled("target", {name: self.targets[name].update(new, epoch, self.recipe.epochs) for name, new in imbalances.items()})

        # Lines 10 and 11, in the recipe's order: update G^S with Eq. 1 and 10; freeze alpha and update D^S with Eq. 2.
        made = student.make(first)
        if self.recipe.order == "GD":
            verdict = student.judge(made)
            losses |= titled("student", student.learn(made, verdict, lesson, self._opinion(made)))
            losses |= titled("student", student.update_discriminators(made, verdict))
        else:
            losses |= titled("student", student.update_discriminators(made))
            verdict = student.judge(made)
            losses |= titled("student", student.learn(made, verdict, lesson, self._opinion(made)))
        losses |= titled("student/imbalance", student.imbalances(verdict))

        # Line 13: freeze the weights of D^S and update alpha with Eq. 8, on a batch of its own.
        with torch.no_grad():
            made = student.make(second)
        return losses | titled("student", student.update_retention(made, self.targets))

    def _opinion(self, made: Made) -> Verdict:
        """Return what the teacher's discriminators say of what the student made, if that is distilled."""
        return self.teacher.judge(made) if self.recipe.lambda_distill_d else Verdict({}, {})

    @property
    def trained_widths(self) -> dict[Role, dict[str, Widths]]:
        return {"teacher": self.widths_at(self.recipe.ngf), "student": self.widths}

    def result(self) -> Result:
        """Return the student beside its teacher, measured on the held-out data."""
        return conclude(self)

    def plan(self) -> dict[str, str]:
        recipe, teacher = self.recipe, self.teacher_cost()
        unpruned = generator_cost(self.architecture, self.architecture.full_widths(recipe.prune_width))
        facts = super().plan() | {
            "teacher": f"width {recipe.ngf}: {teacher}",
            "pruned from": f"width {recipe.prune_width}: {unpruned}",
            "budget": "; ".join(f"{name} {budget.plan(teacher, recipe.counter)}" for name, budget in self._budgets().items()),
        }
        if self.given_widths:
            del facts["pruned from"], facts["budget"]
            facts["widths"] = "; ".join(
                f"{name}: {generator_cost(self.architecture, chosen)}" for name, chosen in self.given_widths.items()
            )
        if recipe.discriminator == "selective" and self._retention_reach() < 1 - recipe.tau:
            facts["warning"] = (
                f"retention factors start at 1 and can fall by {self._retention_reach():.2g} in this run, not below tau = {recipe.tau}: no "
                "channel of the student's discriminator will switch off; train longer, or raise lr_alpha with --set"
            )
        return facts

    def _widths_of(self, folder: Path) -> dict[str, Widths]:
        """Return the widths of the generators of a saved student.

        Raises:
            ArtifactError: it is none, or one of another family or other levels.
        """
        found = read(folder, role="student")
        known = self.architecture.widths(self.recipe.ngf).keys()
        for name in self.architecture.generators:
            if name not in found or found[name].arch != self.arch or found[name].widths.keys() != known:
                raise ArtifactError(f"{folder} holds no widths for this {self.arch}'s generator {name}: expected {', '.join(known)}")
        return {name: found[name].widths for name in self.architecture.generators}

    def stages(self) -> list[str]:
        recipe = self.recipe
        before, searching = recipe.search_pretrain_epochs, [] if self.given_widths else [str(recipe.search_epochs)]
        if searching and before and not self._search_starts_trained:
            searching.insert(0, f"{before} (pre-training)")
        pretraining = [f"{recipe.pretrain_epochs} (pre-training)"] if recipe.pretrain_epochs else []
        return [*searching, *pretraining, str(recipe.epochs)]

    @property
    def _search_starts_trained(self) -> bool:
        """Whether the pair that the first step trains is the one that was brought along."""
        return bool(self.given.brought) and self.recipe.prune_width == self.recipe.ngf

    def _retention_reach(self) -> float:
        """Return how far Adam can move a retention factor in the whole run: one learning rate per step."""
        factors = [self.recipe.alpha_rate_factor(epoch) for epoch in range(1, self.recipe.epochs + 1)]
        return self.recipe.lr_alpha * self.loader.steps * sum(factors)

    def _sparse_training(self) -> Iterator[Step]:
        """Train a pair of the pruned width with the L1 subgradient on what the metric reads (lines 2 to 4).

        Where a family pre-trains, the subgradient acts in that stage, too: the paper is silent, and scores need the time.
        """
        generators, discriminators = self.teacher_networks(self.recipe.prune_width, "search")
        groups = find_groups(self.architecture, self.recipe.prune_width)
        sparse = [parameter for network in generators.values() for parameter in penalised(network, groups, self.metric)]
        strength = self.metric.strength if self.recipe.sparsity is None else self.recipe.sparsity
        penalise = partial(add_subgradient, sparse, strength)
        self.searched = Player(self.architecture, generators, discriminators, self.execution, self.auxiliary, penalise=penalise)
        fresh = {} if self._search_starts_trained else {"teacher": self.searched}
        yield from self.pretrain("search_pretrain", self.recipe.search_pretrain_epochs, fresh)
        yield from self.play(self.searched, "search", self.recipe.search_epochs)

    def _gradients(self, network: nn.Module) -> Iterator[None]:
        """Leave in the searched generators, and so in `network`, the gradients of as many batches as the metric reads."""
        torch.manual_seed(derived(self.recipe.seed, self.ranks.named("gradients")))
        batches = chain.from_iterable(self.batches(epoch, SCORED) for epoch in count(1))
        yield from self.searched.gradients(islice(batches, self.metric.batches))
        self.loader.close(SCORED)

    def _prune(self, generators: Networks, gradients: Callable[[nn.Module], Iterable[None]]) -> dict[str, Widths]:
        """Return the widths of every generator within the budget (line 5).

        Args:
            generators: by name.
            gradients: leaves gradients in a generator, for metrics that read them.
        """
        recipe, teacher, budgets = self.recipe, self.teacher_cost(), self._budgets()
        return {
            name: prune(
                self.architecture,
                network,
                recipe.prune_width,
                self.metric,
                budgets[name],
                recipe.counter,
                teacher,
                recipe.keep,
                recipe.round_to,
                gradients(network) if self.metric.batches else ONCE,
            ).widths
            for name, network in generators.items()
        }

    def _budgets(self) -> dict[str, Budget | LatencyBudget]:
        return Budget.parse_each(self.recipe.budget, self.architecture.generators)

    def _reinitialise(self) -> None:
        """Start teacher and student afresh; nothing is inherited from the first step (line 5)."""
        students = build_generators(self.architecture, self.widths, "student")
        positions = self._positions()
        self.teacher = self.teacher_player(positions)
        kind = STUDENTS[self.recipe.discriminator]
        self.student = kind(
            self.architecture,
            students,
            kind.opponents(self.architecture),
            self.execution,
            self.auxiliary,
            positions,
            self._projections(positions),
        )
        self.targets = {name: Target().to(self.device) for name in self.architecture.discriminators}
        self.sides = {"teacher": self.teacher, "student": self.student}

    def _positions(self) -> Positions:
        """Return the layers that are distilled."""
        discriminators = {name: on_meta(self.architecture.build_discriminator) for name in self.architecture.discriminators}
        found = place(self.architecture, self._on_meta(self.widths_at(self.recipe.ngf)), discriminators)
        return Positions(
            found.generators if self.recipe.lambda_distill_g else {},
            found.discriminators if self.recipe.lambda_distill_d else {},
        )

    def _projections(self, positions: Positions) -> dict[str, Projections]:
        """Return the maps f_l of Eq. 9, freshly initialised."""
        teachers, students = self._on_meta(self.widths_at(self.recipe.ngf)), self._on_meta(self.widths)
        with seeded(self.recipe.seed, "projections"):
            return build_projections(self.architecture, teachers, students, positions)

    def _on_meta(self, widths: Mapping[str, Widths]) -> dict[str, nn.Module]:
        return {name: generator_on_meta(self.architecture, chosen) for name, chosen in widths.items()}
