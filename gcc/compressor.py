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
from gcc.losses.coordination import SmoothedTarget
from gcc.losses.distillation import Projections
from gcc.losses.layers import DistillationLayers, build_projections, select_layers
from gcc.models.build import build_generators, generator_on_meta
from gcc.models.modules import Widths, on_meta
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import generator_cost
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import ONCE, random_gradients
from gcc.pruning.search import prune
from gcc.pruning.sparsity import add_subgradient, regularized
from gcc.registry import METRICS, Batch, ImportanceMetric, Networks
from gcc.training.measure import build_result
from gcc.training.memory_estimate import FakeExecution, fake_tensors
from gcc.training.pair import DiscriminatorOutput, GANPair, GeneratorOutput, Losses, TeacherOutput
from gcc.training.result import Result
from gcc.training.run import FIRST, SCORED, SECOND, Run, Step, prefixed
from gcc.training.student import STUDENTS, StudentPair
from gcc.training.teacher import Teacher
from gcc.utils.seeds import derive_seed, seeded


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

    teacher: GANPair
    student: StudentPair
    searched: GANPair

    def __init__(self, teacher: Teacher, data: str | Path | None = None, *, widths: str | Path | None = None, **arguments: Any) -> None:
        super().__init__(teacher, data, **arguments)
        self.fixed_widths = {} if widths is None else self._widths_of(Path(widths))
        self.widths: dict[str, Widths] = {}
        self.targets: dict[str, SmoothedTarget] = {}

    @cached_property
    def metric(self) -> ImportanceMetric:
        """The importance metric."""
        return METRICS.load(self.recipe.metric)()

    def check(self) -> None:
        super().check()
        self.within_budget()
        self._layers()

    def within_budget(self) -> dict[str, Widths]:
        """Return widths that are within the budget, for a generator that has learned nothing; those that were given, if any.

        Raises:
            GccError: the budget is out of reach, or the metric does not fit the family.
        """
        if self.fixed_widths:
            return self.fixed_widths
        generators, _ = self.teacher_networks(self.recipe.prune_width, "search")
        return self._prune(generators, random_gradients)

    def bytes_of_iteration(self, widths: dict[str, Widths]) -> int:
        """Return how many bytes the tensors of the second step hold at the most; they are counted, and nothing is computed.

        What kernels need for themselves, and what the allocator keeps, is not among them.

        Args:
            widths: of the students.
        """
        here, dtype = torch.device("cpu"), self.execution.dtype
        loader = Loader(self.data.train, batch_size=self.recipe.batch_size, seed=self.recipe.seed, device=here, ranks=self.ranks)
        batch = next(loader.batches(1, FIRST))
        run = copy(self)
        run.device, run.widths, run.teacher_source = here, widths, Teacher(self.arch, self.teacher_source.settings)
        # Of the same size, and without a scaler, which looks at values.
        run.execution = FakeExecution(here, torch.bfloat16 if dtype == torch.float16 else dtype, micro_batch=self.execution.micro_batch)
        run.auxiliary = {name: deepcopy(network).to(here) for name, network in self.auxiliary.items()}
        with fake_tensors() as tracker:
            run._reinitialise()
            # In the first iteration Adam has no moments yet.
            for _ in range(2):
                drawn = ({key: value.clone() for key, value in batch.items()} for _ in range(2))
                first, second = (run.architecture.prepare(each, run.auxiliary) for each in drawn)
                run._cooperate(first, second, 1)
        frozen = (parameter for network in run.auxiliary.values() for parameter in network.parameters())
        return tracker.peak + sum(parameter.numel() * parameter.element_size() for parameter in frozen)

    def steps(self) -> Iterator[Step]:
        """Run Algorithm 1, one iteration at a time; line numbers are the paper's."""
        # First step: generator compression, unless its outcome is given.
        if self.fixed_widths:
            self.widths = self.fixed_widths
        else:
            yield from self._sparse_training()  # lines 2 to 4
            self.widths = self.ranks.broadcast_object(self._prune(self.searched.generators, self._gradients))  # line 5
            del self.searched
        self._reinitialise()
        yield from self.pretrain("pretrain", self.recipe.pretrain_epochs, self.untrained_pairs())

        # Second step: lightweight generator training.
        epochs = self.recipe.epochs
        for epoch in self.epochs("train", epochs):  # line 7
            done = self.begin("train", epoch, self.teacher, self.student)
            drawn = zip(self.batches(epoch, FIRST, done), self.loader.batches(epoch, SECOND, done), strict=True)  # lines 8 and 12
            for index, (first, second) in enumerate(drawn, done + 1):
                yield self.step("train", epoch, epochs, index, self._cooperate(first, second, epoch))

    def state(self) -> Losses:
        """Return the share of each gate's channels that are on, once the second step has begun."""
        return prefixed("active", self.student.active_share()) if self.sides else {}

    @property
    def players(self) -> Mapping[str, GANPair]:
        return self.sides or {"search": self.searched}

    def state_dict(self) -> dict[str, Any]:
        targets = {name: target.state_dict() for name, target in self.targets.items()}
        return super().state_dict() | {"widths": self.widths, "targets": targets}

    def load_state_dict(self, memory: Mapping[str, Any]) -> None:
        super().load_state_dict(memory)
        for name, target in self.targets.items():
            target.load_state_dict(memory["targets"][name])

    def resume(self, snapshot: Mapping[str, Any]) -> None:
        super().resume(snapshot)
        # Once the widths are known, the first step is over.
        self.fixed_widths = snapshot["memory"]["widths"]

    def _cooperate(self, first: Batch, second: Batch, epoch: int) -> Losses:
        teacher, student = self.teacher, self.student

        # Line 9: update G^T and D^T with Eq. 1 and 2. D^T moves first: the same weights then judge G^T(z) and G^S(z).
        fake = teacher.generate(first)
        losses = prefixed("teacher", teacher.step_D(fake))
        taught = TeacherOutput(fake, teacher.discriminate(fake))
        losses |= prefixed("teacher", teacher.step_G(fake, taught.output))
        imbalances = teacher.imbalances(taught.output)
        losses |= prefixed("teacher/imbalance", imbalances)
        losses |= prefixed("target", {name: self.targets[name].update(new, epoch, self.recipe.epochs) for name, new in imbalances.items()})

        # Lines 10 and 11, in the recipe's order: update G^S with Eq. 1 and 10; freeze alpha and update D^S with Eq. 2.
        fake = student.generate(first)
        if self.recipe.update_order == "GD":
            output = student.discriminate(fake)
            losses |= prefixed("student", student.step_G_distilled(fake, output, taught, self._teacher_on_student(fake)))
            losses |= prefixed("student", student.step_D(fake, output))
        else:
            losses |= prefixed("student", student.step_D(fake))
            output = student.discriminate(fake)
            losses |= prefixed("student", student.step_G_distilled(fake, output, taught, self._teacher_on_student(fake)))
        losses |= prefixed("student/imbalance", student.imbalances(output))

        # Line 13: freeze the weights of D^S and update alpha with Eq. 8, on a batch of its own.
        with torch.no_grad():
            fake = student.generate(second)
        return losses | prefixed("student", student.step_alpha(fake, self.targets))

    def _teacher_on_student(self, fake: GeneratorOutput) -> DiscriminatorOutput:
        """Return what the teacher's discriminators say of what the student made, if that is distilled."""
        return self.teacher.discriminate(fake) if self.recipe.lambda_distill_d else DiscriminatorOutput({}, {})

    @property
    def trained_widths(self) -> dict[Role, dict[str, Widths]]:
        return {"teacher": self.widths_at(self.recipe.ngf), "student": self.widths}

    def result(self) -> Result:
        """Return the student beside its teacher, measured on the held-out data."""
        return build_result(self)

    def plan(self) -> dict[str, str]:
        recipe, teacher = self.recipe, self.teacher_cost()
        unpruned = generator_cost(self.architecture, self.architecture.full_widths(recipe.prune_width))
        facts = super().plan() | {
            "teacher": f"width {recipe.ngf}: {teacher}",
            "pruned from": f"width {recipe.prune_width}: {unpruned}",
            "budget": "; ".join(f"{name} {budget.plan(teacher, recipe.mac_counter)}" for name, budget in self._budgets().items()),
        }
        if self.fixed_widths:
            del facts["pruned from"], facts["budget"]
            facts["widths"] = "; ".join(
                f"{name}: {generator_cost(self.architecture, chosen)}" for name, chosen in self.fixed_widths.items()
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
        before, searching = recipe.search_pretrain_epochs, [] if self.fixed_widths else [str(recipe.search_epochs)]
        if searching and before and not self._search_starts_trained:
            searching.insert(0, f"{before} (pre-training)")
        pretraining = [f"{recipe.pretrain_epochs} (pre-training)"] if recipe.pretrain_epochs else []
        return [*searching, *pretraining, str(recipe.epochs)]

    @property
    def _search_starts_trained(self) -> bool:
        """Whether the pair that the first step trains is the one that was brought along."""
        return bool(self.teacher_source.pretrained) and self.recipe.prune_width == self.recipe.ngf

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
        sparse = [parameter for network in generators.values() for parameter in regularized(network, groups, self.metric)]
        strength = self.metric.l1_strength if self.recipe.sparsity is None else self.recipe.sparsity
        penalise = partial(add_subgradient, sparse, strength)
        self.searched = GANPair(self.architecture, generators, discriminators, self.execution, self.auxiliary, penalise=penalise)
        fresh = {} if self._search_starts_trained else {"teacher": self.searched}
        yield from self.pretrain("search_pretrain", self.recipe.search_pretrain_epochs, fresh)
        yield from self.train_pair(self.searched, "search", self.recipe.search_epochs)

    def _gradients(self, network: nn.Module) -> Iterator[None]:
        """Leave in the searched generators, and so in `network`, the gradients of as many batches as the metric reads."""
        torch.manual_seed(derive_seed(self.recipe.seed, self.ranks.seed_name("gradients")))
        batches = chain.from_iterable(self.batches(epoch, SCORED) for epoch in count(1))
        yield from self.searched.gradients(islice(batches, self.metric.gradient_batches))
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
                recipe.mac_counter,
                teacher,
                recipe.min_keep_ratio,
                recipe.round_to,
                gradients(network) if self.metric.gradient_batches else ONCE,
            ).widths
            for name, network in generators.items()
        }

    def _budgets(self) -> dict[str, Budget | LatencyBudget]:
        return Budget.parse_each(self.recipe.budget, self.architecture.generators)

    def _reinitialise(self) -> None:
        """Start teacher and student afresh; nothing is inherited from the first step (line 5)."""
        students = build_generators(self.architecture, self.widths, "student")
        layers = self._layers()
        self.teacher = self.teacher_player(layers)
        kind = STUDENTS[self.recipe.discriminator]
        self.student = kind(
            self.architecture,
            students,
            kind.build_discriminators(self.architecture),
            self.execution,
            self.auxiliary,
            layers,
            self._projections(layers),
        )
        self.targets = {name: SmoothedTarget().to(self.device) for name in self.architecture.discriminators}
        self.sides = {"teacher": self.teacher, "student": self.student}

    def _layers(self) -> DistillationLayers:
        """Return the layers that are distilled."""
        discriminators = {name: on_meta(self.architecture.build_discriminator) for name in self.architecture.discriminators}
        found = select_layers(self.architecture, self._on_meta(self.widths_at(self.recipe.ngf)), discriminators)
        return DistillationLayers(
            found.generators if self.recipe.lambda_distill_g else {},
            found.discriminators if self.recipe.lambda_distill_d else {},
        )

    def _projections(self, layers: DistillationLayers) -> dict[str, Projections]:
        """Return the maps f_l of Eq. 9, freshly initialised."""
        teachers, students = self._on_meta(self.widths_at(self.recipe.ngf)), self._on_meta(self.widths)
        with seeded(self.recipe.seed, "projections"):
            return build_projections(self.architecture, teachers, students, layers)

    def _on_meta(self, widths: Mapping[str, Widths]) -> dict[str, nn.Module]:
        return {name: generator_on_meta(self.architecture, chosen) for name, chosen in widths.items()}
