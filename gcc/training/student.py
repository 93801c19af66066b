"""The student pair, and the variants of it that lack a part of the method (Li et al. 2021, Table III)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.errors import PluginError
from gcc.losses.adversarial import total
from gcc.losses.coordination import SmoothedTarget, global_loss
from gcc.losses.distillation import Features, Projections
from gcc.losses.distillers import Distillers
from gcc.losses.layers import DistillationLayers
from gcc.models.build import build_discriminators
from gcc.models.gate import ChannelGate, gates
from gcc.registry import Architecture, Batch, GeneratorView, Networks, Pair
from gcc.training.optimizer import ScopedOptimizer
from gcc.training.pair import NO_OUTPUT, DiscriminatorOutput, GANPair, GeneratorOutput, Losses, TeacherOutput, detached
from gcc.training.precision import ExecutionConfig
from gcc.training.sparse_discriminator import Chain, find_chains, run_open


@dataclass(frozen=True)
class Distillation:
    """How a student learns from its teacher.

    Attributes:
        distillers: the terms.
        networks: the frozen networks that they read, by distiller.
        layers: the distillation layers.
        projections: the maps f_l of Eq. 9, by generator.
    """

    distillers: Distillers
    networks: Mapping[str, Networks]
    layers: DistillationLayers
    projections: Mapping[str, Projections]


class StudentPair(GANPair):
    """The student pair: lightweight generators against selective activation discriminators.

    Args:
        architecture: the GAN family.
        generators: by name, with the searched widths.
        discriminators: by name, with a `ChannelGate` at every gate.
        execution: how networks run.
        auxiliary: frozen networks that task losses read.
        distillation: how the generators learn from the teacher.
        lr_alpha: the learning rate that the retention factors start with.
    """

    role = "student"

    def __init__(
        self,
        architecture: Architecture[Any],
        generators: Networks,
        discriminators: Networks,
        execution: ExecutionConfig,
        auxiliary: Networks,
        distillation: Distillation,
        lr_alpha: float,
    ) -> None:
        # Eq. 9 reads features of the teacher's discriminators, not of the student's.
        own_layers = DistillationLayers(distillation.layers.generators, {})
        super().__init__(architecture, generators, discriminators, execution, auxiliary, own_layers, distillation.projections)
        self.distillers = distillation.distillers
        self._distiller_networks = {name: self._micro_batched(networks) for name, networks in distillation.networks.items()}
        self.gates = {name: gates(network) for name, network in self.discriminators.items()}
        self.alphas = [gate.alpha for by_path in self.gates.values() for gate in by_path.values()]
        self.optimizer_alpha = ScopedOptimizer(self.alphas, lr_alpha, (0.9, 0.999), execution)
        self.optimizer_alpha.freeze()
        self._chains: dict[str, list[Chain]] = {}

    @classmethod
    def build_discriminators(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
        """Return new discriminators of the kind that this student trains against."""
        return build_discriminators(architecture, "student", partial(ChannelGate, tau=architecture.recipe.tau))

    @property
    def optimizers(self) -> dict[str, ScopedOptimizer]:
        return super().optimizers | {"alpha": self.optimizer_alpha}

    def _logits(self, name: str, images: Tensor) -> Tensor:
        # Closed channels affect only the retention factors, which `step_alpha` trains on the whole network.
        if not self.execution.skip_closed_channels:
            return super()._logits(name, images)
        network = self.discriminators[name]
        if name not in self._chains:
            self._chains[name] = find_chains(network, images)
        return run_open(network, self._chains[name], images)

    @torch.no_grad()
    def fit_projections(self, teacher: GANPair, batch: Batch) -> None:
        """Start the maps f_l of Eq. 9 where they map the student's features on a batch closest to the teacher's."""
        own, wanted = self.generate(batch).features, teacher.generate(batch).features
        for name, projections in self.projections.items():
            assert isinstance(projections, Projections)
            projections.fit(own[name], wanted[name], self.ranks.mean)

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        self.optimizer_alpha.set_lr_factor(self.recipe.alpha_rate_factor(epoch))

    def discriminate(self, fake: GeneratorOutput) -> DiscriminatorOutput:
        """Run every discriminator on fake images; the graph reaches the generators and the discriminators' weights."""
        with self.optimizer_D.trainable():
            return super().discriminate(fake)

    def step_G_distilled(self, fake: GeneratorOutput, output: DiscriminatorOutput, teacher: TeacherOutput) -> Losses:
        """Update the generators with Eq. 1, the task losses and those of the distillers, by default L_distill (Eq. 10).

        Args:
            fake: the output of the student's generators, with its graph.
            output: the output of the student's discriminators for `fake`.
            teacher: the teacher's output for the same batch.
        """
        data_losses = self._accumulate_data_losses(fake.batch)
        losses = self._generator_losses(fake, output)
        with self.execution.autocast():
            of_student = GeneratorView(self._fake_images(fake), self._projected(fake), teacher.on_student.features)
            of_teacher = GeneratorView(
                detached(self._fake_images(teacher.fake)),
                {name: detached(features) for name, features in teacher.fake.features.items()},
                {name: detached(features) for name, features in teacher.output.features.items()},
            )
            distilled = self.distillers.losses(fake.batch, of_student, of_teacher, self._distiller_networks)
        if taken := losses.keys() & distilled.keys():
            raise PluginError(f"a distiller has a loss {min(taken)!r}, and so has the family: choose other `distillers`")
        losses |= distilled
        # `step_D` then walks the graph of `output` once more.
        self._update_generators(losses, retain_graph=self._shares_output)
        return detached(losses) | data_losses

    def step_alpha(self, fake: GeneratorOutput, targets: Mapping[str, SmoothedTarget]) -> Losses:
        """Update the retention factors alone with `L_arch = L_D + L_global` (Eq. 8), and clamp them to [0, 1]."""
        losses = []
        with self.optimizer_alpha.trainable():
            for name in self.discriminators:
                loss_d, loss_global = self._coordination_losses(name, fake.pairs[name], targets[name])
                losses.append(self.recipe.lambda_d * loss_d + self.recipe.lambda_global * loss_global)
            loss = total(losses)
            self.optimizer_alpha.step(loss)
        with torch.no_grad():
            for alpha in self.alphas:
                alpha.clamp_(0, 1)
        return {"arch": loss.detach()}

    def active_share(self) -> Losses:
        """Return the share of open channels of each gate, by discriminator and module path; scalars on the device."""
        return {f"{name}.{path}": gate.open().float().mean() for name, by_path in self.gates.items() for path, gate in by_path.items()}

    def _coordination_losses(self, name: str, pair: Pair, target: SmoothedTarget) -> tuple[Tensor, Tensor]:
        """Return L_D (Eq. 2, without the gradient penalty of `wgangp`) and L_global (Eq. 7) of a discriminator on a batch."""
        network = self._run_discriminators[name]
        with self.execution.autocast():
            on_real, on_fake = network(pair.real), network(pair.fake)
        loss_g, loss_d_fake = self.adversarial_losses(on_fake)
        return self.gan.real(on_real) + loss_d_fake, global_loss(loss_g, loss_d_fake, target.value)

    def _fake_images(self, fake: GeneratorOutput) -> dict[str, Tensor]:
        return {name: sample.fake for name, sample in self.architecture.eval_samples(fake.batch, fake.samples).items()}

    def _projected(self, fake: GeneratorOutput) -> dict[str, Features]:
        return {name: network(fake.features[name]) for name, network in self.projections.items()}


class FullDiscriminatorStudent(StudentPair):
    """A student pair whose discriminators keep every channel.

    There are no retention factors, so L_global (Eq. 7) trains the discriminators' weights. An ablation can thus separate its effect from
    that of selective activation.
    """

    @classmethod
    def build_discriminators(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
        return build_discriminators(architecture, "student")

    def step_alpha(self, fake: GeneratorOutput, targets: Mapping[str, SmoothedTarget]) -> Losses:
        if not self.recipe.lambda_global:
            return {}
        with self.optimizer_D.trainable():
            distances = [self._coordination_losses(name, fake.pairs[name], targets[name])[1] for name in self.discriminators]
            loss = self.recipe.lambda_global * total(distances)
            self.optimizer_D.step(loss)
        return {"arch": loss.detach()}


class DiscriminatorFreeStudent(StudentPair):
    """Student generators without discriminators, which learn from the teacher and the task losses alone."""

    @classmethod
    def build_discriminators(cls, architecture: Architecture[Any]) -> dict[str, nn.Module]:
        return {}

    def discriminate(self, fake: GeneratorOutput) -> DiscriminatorOutput:
        return NO_OUTPUT

    def step_D(self, fake: GeneratorOutput, output: DiscriminatorOutput | None = None) -> Losses:
        return {}

    def step_alpha(self, fake: GeneratorOutput, targets: Mapping[str, SmoothedTarget]) -> Losses:
        return {}


STUDENTS: Mapping[str, type[StudentPair]] = {
    "selective": StudentPair,
    "full": FullDiscriminatorStudent,
    "none": DiscriminatorFreeStudent,
}
"""The student pairs by the recipe's `discriminator`."""
