"""The student pair, and the variants of it that lack a part of the method (Li et al. 2021, Table III)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.losses.adversarial import total
from gcc.losses.coordination import Target, global_loss
from gcc.losses.distillation import Features, Projections, distillation_loss
from gcc.losses.layers import Positions
from gcc.models.build import build_discriminators
from gcc.models.gate import ChannelGate, gates
from gcc.registry import Architecture, Networks, Pair
from gcc.training.optimizer import Mover
from gcc.training.pair import Lesson, Losses, Made, Player, Verdict, detached
from gcc.training.precision import Execution
from gcc.training.sparse_discriminator import Chain, find_chains, run_open


class Student(Player):
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

    side = "student"

    def __init__(
        self,
        architecture: Architecture[Any],
        generators: Mapping[str, nn.Module],
        discriminators: Mapping[str, nn.Module],
        execution: Execution,
        auxiliary: Networks,
        positions: Positions,
        projections: Mapping[str, Projections],
    ) -> None:
        self.projections = {name: execution.place(network) for name, network in projections.items()}
        super().__init__(architecture, generators, discriminators, execution, auxiliary, Positions(positions.generators, {}))
        self.gates = {name: gates(network) for name, network in self.discriminators.items()}
        self._chains: dict[str, list[Chain]] = {}
        self.alphas = [gate.alpha for found in self.gates.values() for gate in found.values()]
        self.retention_mover = Mover(self.alphas, self.recipe.lr_alpha, (0.9, 0.999), execution)
        self.retention_mover.freeze()

    @classmethod
    def opponents(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
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
    def _movers(self) -> dict[str, Mover]:
        return super()._movers | {"retention": self.retention_mover}

    @property
    def _trained(self) -> dict[str, Networks]:
        return super()._trained | {"projections": self.projections}

    def _ask(self, name: str, images: Tensor) -> Tensor:
        # Closed channels matter to the retention factors alone, which `update_retention` moves.
        if not self.execution.leaves_out_closed:
            return super()._ask(name, images)
        network = self.discriminators[name]
        if name not in self._chains:
            self._chains[name] = find_chains(network, images)
        return run_open(network, self._chains[name], images)

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        self.retention_mover.rate(self.recipe.alpha_rate_factor(epoch))

    def judge(self, made: Made) -> Verdict:
        """Run every discriminator on what was made; the graph leads to the generators and to the discriminators' weights."""
        with self.discriminator_mover.moving():
            return super().judge(made)

    def learn(self, made: Made, verdict: Verdict, lesson: Lesson, opinion: Verdict) -> Losses:
        """Move the generators against Eq. 1, the task losses and L_distill (Eq. 10).

        Args:
            made: what the student's generators made, with its graph.
            verdict: what the student's discriminators say of it.
            lesson: what the teacher made of the same batch, and what its discriminators say of that.
            opinion: what the teacher's discriminators say of `made`; its gradient reaches the student's generators and nothing else.
        """
        of_data = self._gather_data_losses(made.batch)
        losses = self._generator_losses(made, verdict)
        for term, weight, mine, theirs in (
            ("distill_G", self.recipe.lambda_distill_g, self._projected(made), lesson.made.features),
            ("distill_D", self.recipe.lambda_distill_d, opinion.features, lesson.verdict.features),
        ):
            distances = [
                distillation_loss(mine[name], theirs[name], self.recipe.gamma_m, self.recipe.gamma_t) for name in mine if mine[name]
            ]
            if distances:
                losses[term] = weight * total(distances)
        # The verdict's graph then serves the discriminators' own move, too.
        self.generator_mover.step(total(losses.values()), retain_graph=self._shares_verdict)
        return detached(losses) | of_data

    def update_retention(self, made: Made, targets: Mapping[str, Target]) -> Losses:
        """Move the retention factors, and them alone, against `L_arch = L_D + L_global` (Eq. 8), then clamp them to [0, 1]."""
        losses = []
        with self.retention_mover.moving():
            for name in self.discriminators:
                loss_d, loss_global = self._capacity(name, made.pairs[name], targets[name])
                losses.append(self.recipe.lambda_d * loss_d + self.recipe.lambda_global * loss_global)
            loss = total(losses)
            self.retention_mover.step(loss)
        with torch.no_grad():
            for alpha in self.alphas:
                alpha.clamp_(0, 1)
        return {"arch": loss.detach()}

    def _capacity(self, name: str, pair: Pair, target: Target) -> tuple[Tensor, Tensor]:
        """Return L_D (Eq. 2, of which the gradient penalty of `wgangp` is no part) and L_global (Eq. 7) of a discriminator on a batch."""
        network = self._judging[name]
        with self.execution.autocast():
            real, fake = network(pair.real), network(pair.fake)
        loss_g, loss_d_fake = self._opposed(fake)
        return self.gan.real(real) + loss_d_fake, global_loss(loss_g, loss_d_fake, target.value)

    def active_share(self) -> dict[str, Tensor]:
        """Return the share of open channels of each gate, by discriminator and module path; scalars on the device."""
        return {f"{name}.{path}": gate.open().float().mean() for name, found in self.gates.items() for path, gate in found.items()}

    def _projected(self, made: Made) -> dict[str, Features]:
        with self.execution.autocast():
            return {name: network(made.features[name]) for name, network in self.projections.items()}


class FullStudent(Student):
    """A student pair whose discriminators keep every channel.

    L_global (Eq. 7), which has no retention factors to move, moves their weights, so that it can be told apart from selective activation.
    """

    @classmethod
    def opponents(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
        return build_discriminators(architecture, "student")

    def update_retention(self, made: Made, targets: Mapping[str, Target]) -> Losses:
        if not self.recipe.lambda_global:
            return {}
        with self.discriminator_mover.moving():
            distances = [self._capacity(name, made.pairs[name], targets[name])[1] for name in self.discriminators]
            loss = self.recipe.lambda_global * total(distances)
            self.discriminator_mover.step(loss)
        return {"arch": loss.detach()}


class LoneStudent(Student):
    """Student generators without discriminators, which learn from the teacher and the task losses alone."""

    @classmethod
    def opponents(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
        return {}

    def judge(self, made: Made) -> Verdict:
        return Verdict({}, {})

    def update_discriminators(self, made: Made, verdict: Verdict | None = None) -> Losses:
        return {}

    def update_retention(self, made: Made, targets: Mapping[str, Target]) -> Losses:
        return {}


STUDENTS = {"selective": Student, "full": FullStudent, "none": LoneStudent}
"""By the recipe's `discriminator`."""
