"""A GAN pair: generators, their discriminators, the optimizers of both, and every training step.

No forward result is computed twice: `generate` runs the generators, `discriminate` runs the discriminators on their output, and all losses
read these results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from gcc.losses.adversarial import GAN_LOSSES, gradient_penalty, total
from gcc.losses.coordination import imbalance
from gcc.losses.distillation import FeatureHooks, Features, modules_at, stored_features
from gcc.losses.layers import NO_LAYERS, DistillationLayers
from gcc.models.calls import copy_of
from gcc.models.gate import ChannelGate
from gcc.recipe import Recipe
from gcc.registry import Architecture, Batch, Networks, Pair, Samples
from gcc.training.anomaly import register_anomaly_hooks
from gcc.training.image_pool import ImagePool
from gcc.training.micro_batch import MicroBatched
from gcc.training.moving_average import MovingAverage
from gcc.training.optimizer import ScopedOptimizer
from gcc.training.precision import ExecutionConfig

NO_NETWORKS: Networks = MappingProxyType({})
NO_PATHS: Mapping[str, Sequence[str]] = MappingProxyType({})
Losses = dict[str, Tensor]
"""Losses by name, each a scalar on the device. The losses that a step returns are detached."""


@dataclass(frozen=True)
class GeneratorOutput:
    """What the generators return for a batch, with the graph to their weights.

    Attributes:
        batch: the training data.
        samples: the generators' outputs.
        pairs: the real and fake images of each discriminator.
        features: the features of each generator's distillation layers.
    """

    batch: Batch
    samples: Samples
    pairs: Mapping[str, Pair]
    features: Mapping[str, Features]


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What the discriminators return for fake images.

    Attributes:
        logits: by discriminator.
        features: the features of each discriminator's distillation layers.
    """

    logits: Mapping[str, Tensor]
    features: Mapping[str, Features]


NO_OUTPUT = DiscriminatorOutput(MappingProxyType({}), MappingProxyType({}))
"""The output of a pair without discriminators."""


@dataclass(frozen=True)
class TeacherOutput:
    """The teacher's outputs for a batch that the distillation losses compare with.

    Attributes:
        fake: the output of the teacher's generators.
        output: the output of the teacher's discriminators for `fake`.
        on_student: the output of the same discriminators for the student's fake images. Its gradient reaches the student's generators.
    """

    fake: GeneratorOutput
    output: DiscriminatorOutput
    on_student: DiscriminatorOutput


class GANPair:
    """Generators and discriminators that train against each other.

    Attributes:
        trains: whether the pair's weights change.
        role: the pair's name in anomaly messages.

    Args:
        architecture: the GAN family.
        generators: by name. The pair owns and trains them.
        discriminators: by name. The pair owns and trains them.
        execution: how networks run.
        auxiliary: frozen networks that task losses read.
        layers: the layers whose features `generate` and `discriminate` keep.
        projections: the maps f_l of Eq. 9, by generator. They train with the generators.
        penalise: adds to the generators' gradients before each step.
    """

    trains: ClassVar[bool] = True
    role: ClassVar[str] = "teacher"

    def __init__(
        self,
        architecture: Architecture[Any],
        generators: Networks,
        discriminators: Networks,
        execution: ExecutionConfig,
        auxiliary: Networks = NO_NETWORKS,
        layers: DistillationLayers = NO_LAYERS,
        projections: Networks = NO_NETWORKS,
        penalise: Callable[[], None] | None = None,
    ) -> None:
        recipe: Recipe = architecture.recipe
        self.architecture = architecture
        self.recipe = recipe
        self.execution = execution
        self.ranks = execution.ranks
        self.gan = GAN_LOSSES[recipe.gan_mode]
        self.generators = {name: execution.to_device(network).train() for name, network in generators.items()}
        self.discriminators = {name: execution.to_device(network).train() for name, network in discriminators.items()}
        self.projections = {name: execution.to_device(network) for name, network in projections.items()}
        self.pools = {name: ImagePool(recipe.pool_size) for name in discriminators}
        self._run_generators = self._micro_batched(self.generators, layers.generators)
        self._run_discriminators = self._micro_batched(self.discriminators, layers.discriminators)
        self._task_networks = {**self._run_generators, **self._micro_batched(auxiliary)}
        averaged = self.generators if self.trains and recipe.ema_decay else {}
        self.averages = {name: MovingAverage(network, recipe.ema_decay) for name, network in averaged.items()}
        betas = (recipe.beta1, recipe.beta2)
        learned = (*self.generators.values(), *self.projections.values())
        parameters = chain.from_iterable(network.parameters() for network in learned)
        self.optimizer_G = ScopedOptimizer(parameters, recipe.lr_g, betas, execution, penalise)
        weights = chain.from_iterable(_weights(network) for network in self.discriminators.values())
        self.optimizer_D = ScopedOptimizer(weights, recipe.lr_d, betas, execution)
        # A generator's loss passes through the discriminators, which must not accumulate its gradients.
        self.optimizer_D.freeze()
        if execution.detect_anomaly:
            for kind, networks in self.networks.items():
                for name, network in networks.items():
                    register_anomaly_hooks(network, f"{self.role}/{kind}/{name}", execution.dtype, scaled=execution.scaler().is_enabled())

    def _micro_batched(self, networks: Networks, layers: Mapping[str, Sequence[str]] = NO_PATHS) -> dict[str, MicroBatched]:
        return {
            name: MicroBatched(network, self.execution, modules_at(network, layers.get(name, ()))) for name, network in networks.items()
        }

    @property
    def networks(self) -> dict[str, Networks]:
        """The networks that training changes, by kind and name."""
        networks: dict[str, Networks] = {"generators": self.generators, "discriminators": self.discriminators}
        optional: dict[str, Networks] = {"projections": self.projections, "averages": self.averages}
        return networks | {kind: by_name for kind, by_name in optional.items() if by_name}

    @property
    def final_generators(self) -> Networks:
        """The generators that are evaluated and saved: the moving averages, if the recipe has an `ema_decay`."""
        return self.generators | {name: average.network for name, average in self.averages.items()}

    @property
    def final_discriminators(self) -> Networks:
        """The discriminators that are saved."""
        return self.discriminators

    @property
    def optimizers(self) -> dict[str, ScopedOptimizer]:
        """The optimizers by what they train."""
        return {"generators": self.optimizer_G, "discriminators": self.optimizer_D}

    @property
    def _shares_output(self) -> bool:
        """Whether D's step reuses the discriminator output of G's step.

        Only if D is updated after G and there is no image pool, because pooled images have no logits yet.
        """
        return self.recipe.update_order == "GD" and not self.recipe.pool_size

    def begin(self, epoch: int) -> None:
        """Set the learning rates of `epoch`, counted from 1."""
        factor = self.recipe.learning_rate_factor(epoch)
        self.optimizer_G.set_lr_factor(factor)
        self.optimizer_D.set_lr_factor(factor)

    def scale_lr(self, factor: float) -> None:
        """Multiply the base learning rates of generators and discriminators.

        That of the retention factors stays: they minimise L_arch alone, and how far they can fall in the rest of the run depends on it.
        """
        self.optimizer_G.scale_lr(factor)
        self.optimizer_D.scale_lr(factor)

    def state_dict(self) -> dict[str, Any]:
        """Return references to the state that all ranks share: weights, running statistics and optimizers."""
        return {
            "networks": {
                kind: {name: network.state_dict() for name, network in networks.items()} for kind, networks in self.networks.items()
            },
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a copy of what `state_dict` returned."""
        for kind, networks in self.networks.items():
            for name, network in networks.items():
                network.load_state_dict(state["networks"][kind][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def pools_state_dict(self) -> dict[str, Any]:
        """Return references to the state of the image pools, which every rank has for itself."""
        return {name: pool.state_dict() for name, pool in self.pools.items()}

    def load_pools_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a copy of what `pools_state_dict` returned."""
        for name, pool in self.pools.items():
            pool.load_state_dict(state[name], self.execution.device)

    def generate(self, batch: Batch) -> GeneratorOutput:
        """Run every generator on a batch."""
        with self.execution.autocast(), stored_features(_taps(self._run_generators)) as features:
            samples = self.architecture.generate(self._run_generators, batch)
        return GeneratorOutput(batch, samples, self.architecture.pairs(batch, samples), features)

    def discriminate(self, fake: GeneratorOutput) -> DiscriminatorOutput:
        """Run every discriminator on the fake images of this pair or another; gradients reach the generators of `fake`."""
        with self.execution.autocast(), stored_features(_taps(self._run_discriminators)) as features:
            logits = {name: self._logits(name, fake.pairs[name].fake) for name in self.discriminators}
        return DiscriminatorOutput(logits, features)

    def _logits(self, name: str, images: Tensor) -> Tensor:
        """Return a discriminator's logits for images (N, C, H, W)."""
        logits: Tensor = self._run_discriminators[name](images)
        return logits

    def pretrain_step(self, fake: GeneratorOutput) -> Losses:
        """Update the generators with the losses of the stage before adversarial training."""
        with self.execution.autocast():
            losses = self.architecture.pretraining_losses(fake.batch, fake.samples)
        self._update_generators(losses)
        return detached(losses)

    def step_G(self, fake: GeneratorOutput, output: DiscriminatorOutput) -> Losses:
        """Update the generators with Eq. 1 and the task losses."""
        data_losses = self._accumulate_data_losses(fake.batch)
        losses = self._generator_losses(fake, output)
        self._update_generators(losses)
        return detached(losses) | data_losses

    def step_D(self, fake: GeneratorOutput, output: DiscriminatorOutput | None = None) -> Losses:
        """Update the weights of the discriminators with Eq. 2.

        Args:
            fake: the generators' output, and the real images.
            output: the discriminators' output for `fake` with their present weights. None computes it.
        """
        with self.optimizer_D.trainable():
            losses = self._discriminator_losses(fake, output)
            self.optimizer_D.step(self.recipe.lambda_d * total(losses.values()))
        return detached(losses)

    def gradients(self, batches: Iterable[Batch]) -> Iterator[None]:
        """For one batch after the other, leave the gradient of `step_G`'s loss in the generators."""
        for batch in batches:
            is_usable = False
            while not is_usable:
                self._accumulate_data_losses(batch)
                fake = self.generate(batch)
                losses = self._generator_losses(fake, self.discriminate(fake))
                with self.optimizer_G.gradients(total(losses.values())) as is_usable:
                    if is_usable:
                        yield

    def imbalances(self, output: DiscriminatorOutput) -> Losses:
        """Return `|L_G - L_Dfake|` of each discriminator for its output on the pair's own fake images (Eq. 5, 6)."""
        return {name: imbalance(*self.adversarial_losses(logits)).detach() for name, logits in output.logits.items()}

    def adversarial_losses(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_G and L_Dfake for the logits of fake images, each averaged over all ranks.

        The mean of `|L_G - L_Dfake|` over ranks is not `|mean L_G - mean L_Dfake|`, so the losses are averaged first.
        """
        return self.ranks.differentiable_mean(self.gan.generator(logits)), self.ranks.differentiable_mean(self.gan.fake(logits))

    def _accumulate_data_losses(self, batch: Batch) -> Losses:
        """Accumulate the gradients of the losses that share no graph with others, so that their graphs are never in memory together."""
        with self.execution.autocast():
            losses = self.architecture.data_losses(self._task_networks, batch)
        if losses:
            self.optimizer_G.accumulate(total(losses.values()))
        return detached(losses)

    def _update_generators(self, losses: Losses, *, retain_graph: bool = False) -> None:
        """Update the generators with the sum of losses, and their moving averages."""
        self.optimizer_G.step(total(losses.values()), retain_graph=retain_graph)
        for name, average in self.averages.items():
            average.update(self.generators[name])

    def _generator_losses(self, fake: GeneratorOutput, output: DiscriminatorOutput) -> Losses:
        adversarial = [self.gan.generator(logits) for logits in output.logits.values()]
        losses = {"G": self.recipe.lambda_gan * total(adversarial)} if adversarial else {}
        with self.execution.autocast():
            return losses | self.architecture.task_losses(self._task_networks, fake.batch, fake.samples)

    def _discriminator_losses(self, fake: GeneratorOutput, output: DiscriminatorOutput | None) -> Losses:
        losses: dict[str, list[Tensor]] = {"D_real": [], "D_fake": []}
        shared = output if output and self._shares_output else None
        for name, network in self.discriminators.items():
            pair = fake.pairs[name]
            with self.execution.autocast():
                on_real = self._logits(name, pair.real)
                fakes = pair.fake.detach() if shared else self.pools[name].query(pair.fake.detach())
                on_fake = shared.logits[name] if shared else self._logits(name, fakes)
            losses["D_real"].append(self.gan.real(on_real))
            losses["D_fake"].append(self.gan.fake(on_fake))
            if self.gan.penalised:
                penalty = self.recipe.lambda_gp * gradient_penalty(network, pair.real, fakes)
                losses.setdefault("D_penalty", []).append(penalty)
        return {term: total(values) for term, values in losses.items()}


class FrozenPair(GANPair):
    """A pretrained teacher that stays as it is, running statistics included.

    Its discriminators normalise by the statistics of the current batch, as the student's do. Otherwise the two imbalances of Eq. 7 could
    not be compared.
    """

    trains = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for network in (*self.generators.values(), *self.discriminators.values()):
            network.eval()
        self._tracking: dict[str, tuple[bool, float | None]] = {}
        for path, module in nn.ModuleDict(self.discriminators).named_modules():
            if isinstance(module, _BatchNorm | _InstanceNorm):
                self._tracking[path] = module.track_running_stats, module.momentum
                # In train mode, a norm reads the batch. Without tracking and momentum, its running statistics stay as they are.
                module.track_running_stats, module.momentum = False, 0.0
                module.train()

    @property
    def final_discriminators(self) -> Networks:
        """Copies whose norms track their statistics as they did when they were given."""
        copies = nn.ModuleDict({name: copy_of(network) for name, network in self.discriminators.items()})
        for path, tracking in self._tracking.items():
            norm = copies.get_submodule(path)
            norm.track_running_stats, norm.momentum = tracking  # type: ignore[assignment]
        return dict(copies.items())

    def generate(self, batch: Batch) -> GeneratorOutput:
        with torch.no_grad():
            return super().generate(batch)

    def step_G(self, fake: GeneratorOutput, output: DiscriminatorOutput) -> Losses:
        return {}

    def step_D(self, fake: GeneratorOutput, output: DiscriminatorOutput | None = None) -> Losses:
        return {}


def detached(losses: Mapping[str, Tensor]) -> Losses:
    """Return the losses without their graph."""
    return {name: loss.detach() for name, loss in losses.items()}


def _taps(networks: Mapping[str, MicroBatched]) -> dict[str, FeatureHooks]:
    return {name: network.taps for name, network in networks.items()}


def _weights(discriminator: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters of a discriminator without its gates' retention factors, which have a separate optimizer."""
    factors = {id(module.alpha) for module in discriminator.modules() if isinstance(module, ChannelGate)}
    yield from (parameter for parameter in discriminator.parameters() if id(parameter) not in factors)
