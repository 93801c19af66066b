"""The student pair, and the variants of it that lack a part of the method (Li et al. 2021, Table III)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.losses.adversarial import total
from gcc.losses.coordination import SmoothedTarget, global_loss
from gcc.losses.distillation import Features, Projections, distillation_loss
from gcc.losses.layers import DistillationLayers
from gcc.models.build import build_discriminators
from gcc.models.gate import ChannelGate, gates
from gcc.registry import Architecture, Networks, Pair
from gcc.training.optimizer import ScopedOptimizer
from gcc.training.pair import DiscriminatorOutput, GANPair, GeneratorOutput, Losses, TeacherOutput, detached
from gcc.training.precision import ExecutionConfig
from gcc.training.sparse_discriminator import Chain, find_chains, run_open


class StudentPair(GANPair):
    """The student pair: lightweight generators against selective activation discriminators.

    Args:
        architecture: the GAN family.
        generators: of the searched widths.
        discriminators: with a `ChannelGate` at every gate.
        execution: how networks run.
        auxiliary: networks that the task losses read; they never move.
        positions: the distilled layers.
        projections: the maps f_l of each generator; they move with the generators.
    """

    role = "student"

    def __init__(
        self,
        architecture: Architecture[Any],
        generators: Mapping[str, nn.Module],
        discriminators: Mapping[str, nn.Module],
        execution: ExecutionConfig,
        auxiliary: Networks,
        layers: DistillationLayers,
        projections: Mapping[str, Projections],
    ) -> None:
        self.projections = {name: execution.to_device(network) for name, network in projections.items()}
        super().__init__(architecture, generators, discriminators, execution, auxiliary, DistillationLayers(layers.generators, {}))
        self.gates = {name: gates(network) for name, network in self.discriminators.items()}
        self._chains: dict[str, list[Chain]] = {}
        self.alphas = [gate.alpha for found in self.gates.values() for gate in found.values()]
        self.optimizer_alpha = ScopedOptimizer(self.alphas, self.recipe.lr_alpha, (0.9, 0.999), execution)
        self.optimizer_alpha.freeze()

    @classmethod
    def build_discriminators(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
        """Return fresh discriminators that such a student plays against."""
        return build_discriminators(architecture, "student", partial(ChannelGate, tau=architecture.recipe.tau))

    def _generator_parameters(self) -> Iterator[nn.Parameter]:
        yield from super()._generator_parameters()
        for network in self.projections.values():
            yield from network.parameters()

    def _discriminator_weights(self) -> Iterator[nn.Parameter]:
        for network in self.discriminators.values():
            alphas = {id(gate.alpha) for gate in gates(network).values()}
            yield from (parameter for parameter in network.parameters() if id(parameter) not in alphas)

    @property
    def _optimizers(self) -> dict[str, ScopedOptimizer]:
        return super()._optimizers | {"retention": self.optimizer_alpha}

    @property
    def _trained(self) -> dict[str, Networks]:
        return super()._trained | {"projections": self.projections}

    def _logits(self, name: str, images: Tensor) -> Tensor:
        # Closed channels matter to the retention factors alone, which `step_alpha` moves.
        if not self.execution.skip_closed_channels:
            return super()._logits(name, images)
        network = self.discriminators[name]
        if name not in self._chains:
            self._chains[name] = find_chains(network, images)
        return run_open(network, self._chains[name], images)

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        self.optimizer_alpha.set_lr_factor(self.recipe.alpha_rate_factor(epoch))

    def discriminate(self, fake: GeneratorOutput) -> DiscriminatorOutput:
        """Run every discriminator on what was made; the graph leads to the generators and to the discriminators' weights."""
        with self.optimizer_D.trainable():
            return super().discriminate(fake)

    def step_G_distilled(
        self, fake: GeneratorOutput, output: DiscriminatorOutput, taught: TeacherOutput, teacher_on_student: DiscriminatorOutput
    ) -> Losses:
        """Move the generators against Eq. 1, the task losses and L_distill (Eq. 10).

        Args:
            fake: what the student's generators made, with its graph.
            output: what the student's discriminators say of it.
            taught: what the teacher made of the same batch, and what its discriminators say of that.
            teacher_on_student: what the teacher's discriminators say of `fake`; its gradient reaches the student's generators alone.
        """
        of_data = self._gather_data_losses(fake.batch)
        losses = self._generator_losses(fake, output)
        for term, weight, mine, theirs in (
            ("distill_G", self.recipe.lambda_distill_g, self._projected(fake), taught.fake.features),
            ("distill_D", self.recipe.lambda_distill_d, teacher_on_student.features, taught.output.features),
        ):
            distances = [
                distillation_loss(mine[name], theirs[name], self.recipe.gamma_m, self.recipe.gamma_t) for name in mine if mine[name]
            ]
            if distances:
                losses[term] = weight * total(distances)
        # The verdict's graph then serves the discriminators' own move, too.
        self.optimizer_G.step(total(losses.values()), retain_graph=self._shares_output)
        return detached(losses) | of_data

    def step_alpha(self, fake: GeneratorOutput, targets: Mapping[str, SmoothedTarget]) -> Losses:
        """Move the retention factors, and them alone, against `L_arch = L_D + L_global` (Eq. 8), then clamp them to [0, 1]."""
        losses = []
        with self.optimizer_alpha.trainable():
            for name in self.discriminators:
                loss_d, loss_global = self._capacity(name, fake.pairs[name], targets[name])
                losses.append(self.recipe.lambda_d * loss_d + self.recipe.lambda_global * loss_global)
            loss = total(losses)
            self.optimizer_alpha.step(loss)
        with torch.no_grad():
            for alpha in self.alphas:
                alpha.clamp_(0, 1)
        return {"arch": loss.detach()}

    def _capacity(self, name: str, pair: Pair, target: SmoothedTarget) -> tuple[Tensor, Tensor]:
        """Return L_D (Eq. 2, of which the gradient penalty of `wgangp` is no part) and L_global (Eq. 7) of a discriminator on a batch."""
        network = self._judging[name]
        with self.execution.autocast():
            real, fake = network(pair.real), network(pair.fake)
        loss_g, loss_d_fake = self.adversarial_losses(fake)
        return self.gan.real(real) + loss_d_fake, global_loss(loss_g, loss_d_fake, target.value)

    def active_share(self) -> dict[str, Tensor]:
        """Return the share of open channels of each gate, by discriminator and module path; scalars on the device."""
        return {f"{name}.{path}": gate.open().float().mean() for name, found in self.gates.items() for path, gate in found.items()}

    def _projected(self, fake: GeneratorOutput) -> dict[str, Features]:
        with self.execution.autocast():
            return {name: network(fake.features[name]) for name, network in self.projections.items()}


class FullDiscriminatorStudent(StudentPair):
    """A student pair whose discriminators keep every channel.

    L_global (Eq. 7), which has no retention factors to move, moves their weights, so that it can be told apart from selective activation.
    """

    @classmethod
    def build_discriminators(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
        return build_discriminators(architecture, "student")

    def step_alpha(self, fake: GeneratorOutput, targets: Mapping[str, SmoothedTarget]) -> Losses:
        if not self.recipe.lambda_global:
            return {}
        with self.optimizer_D.trainable():
            distances = [self._capacity(name, fake.pairs[name], targets[name])[1] for name in self.discriminators]
            loss = self.recipe.lambda_global * total(distances)
            self.optimizer_D.step(loss)
        return {"arch": loss.detach()}


class DiscriminatorFreeStudent(StudentPair):
    """Student generators without discriminators, which learn from the teacher and the task losses alone."""

    @classmethod
    def build_discriminators(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
        return {}

    def discriminate(self, fake: GeneratorOutput) -> DiscriminatorOutput:
        return DiscriminatorOutput({}, {})

    def step_D(self, fake: GeneratorOutput, output: DiscriminatorOutput | None = None) -> Losses:
        return {}

    def step_alpha(self, fake: GeneratorOutput, targets: Mapping[str, SmoothedTarget]) -> Losses:
        return {}


STUDENTS = {"selective": StudentPair, "full": FullDiscriminatorStudent, "none": DiscriminatorFreeStudent}
"""By the recipe's `discriminator`."""
