"""One side of the game: generators, discriminators, their optimisers, and each of their moves.

Every forward result is computed once: `generate` runs the generators, `discriminate` runs a discriminator on their output, and every
loss reads these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gcc.losses.adversarial import GAN_LOSSES, gradient_penalty, total
from gcc.losses.coordination import imbalance
from gcc.losses.distillation import Features, modules_at
from gcc.losses.layers import NO_LAYERS, DistillationLayers
from gcc.recipe import Recipe
from gcc.registry import Architecture, Batch, Networks, Pair, Samples
from gcc.training.anomaly import detect
from gcc.training.image_pool import ImagePool
from gcc.training.micro_batch import MicroBatched, keep_features
from gcc.training.optimizer import ScopedOptimizer
from gcc.training.precision import ExecutionConfig
from gcc.utils.seeds import derive_seed

NONE: Networks = MappingProxyType({})
"""No networks."""
NO_PATHS: Mapping[str, Sequence[str]] = MappingProxyType({})
"""No layers."""
Losses = dict[str, Tensor]
"""Losses by name, scalars on the device; those that a move returns carry no graph."""


@dataclass(frozen=True)
class GeneratorOutput:
    """What the generators made of a batch, with the graph that leads to their weights.

    Attributes:
        batch: the training data.
        samples: what was made.
        pairs: what each discriminator is to tell apart.
        features: the tapped features of each generator.
    """

    batch: Batch
    samples: Samples
    pairs: Mapping[str, Pair]
    features: Mapping[str, Features]


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What the discriminators said of made images: logits, and the tapped features, by discriminator."""

    logits: Mapping[str, Tensor]
    features: Mapping[str, Features]


@dataclass(frozen=True)
class TeacherOutput:
    """What the teacher shows for a batch: what it made, and what its own discriminators say of that."""

    fake: GeneratorOutput
    output: DiscriminatorOutput


class GANPair:
    """One side of the game.

    Attributes:
        moves: whether it learns.
        side: what its losses are named after.

    Args:
        architecture: the GAN family.
        generators: by name; owned and moved by this player.
        discriminators: by name; owned and moved by this player.
        execution: how networks run.
        auxiliary: networks that the task losses read; they never move.
        positions: the layers whose features `generate` and `discriminate` keep.
        penalise: adds to the generators' gradients before their step.
    """

    trains: ClassVar[bool] = True
    role: ClassVar[str] = "teacher"

    def __init__(
        self,
        architecture: Architecture[Any],
        generators: Mapping[str, nn.Module],
        discriminators: Mapping[str, nn.Module],
        execution: ExecutionConfig,
        auxiliary: Networks = NONE,
        layers: DistillationLayers = NO_LAYERS,
        penalise: Callable[[], None] | None = None,
    ) -> None:
        recipe: Recipe = architecture.recipe
        self.architecture = architecture
        self.recipe = recipe
        self.execution = execution
        self.gan = GAN_LOSSES[recipe.gan_mode]
        self.generators = {name: execution.to_device(network).train() for name, network in generators.items()}
        self.discriminators = {name: execution.to_device(network).train() for name, network in discriminators.items()}
        self.ranks = execution.ranks
        exchanges = {name: self.ranks.seed_name(f"pool {name}") for name in discriminators}
        self.pools = {name: ImagePool(recipe.pool_size, derive_seed(recipe.seed, use)) for name, use in exchanges.items()}
        self._making = self._called(self.generators, layers.generators)
        self._judging = self._called(self.discriminators, layers.discriminators)
        self._task_networks = {**self._making, **self._called(auxiliary)}
        betas = (recipe.beta1, recipe.beta2)
        self.optimizer_G = ScopedOptimizer(self._generator_parameters(), recipe.lr_g, betas, execution, penalise)
        self.optimizer_D = ScopedOptimizer(self._discriminator_weights(), recipe.lr_d, betas, execution)
        # A generator's loss passes through the discriminators, which must not gather gradients from it.
        self.optimizer_D.freeze()
        if execution.detect_anomaly:
            for kind, found in self._trained.items():
                for name, network in found.items():
                    detect(network, f"{self.role}/{kind}/{name}", scaled=execution.scaler().is_enabled())

    def _called(self, networks: Networks, layers: Mapping[str, Sequence[str]] = NO_PATHS) -> dict[str, MicroBatched]:
        """Return networks as this player calls them, with the features of the layers at `positions` kept."""
        return {
            name: MicroBatched(network, self.execution, modules_at(network, layers.get(name, ()))) for name, network in networks.items()
        }

    def _generator_parameters(self) -> Iterator[nn.Parameter]:
        return chain.from_iterable(network.parameters() for network in self.generators.values())

    def _discriminator_weights(self) -> Iterator[nn.Parameter]:
        return chain.from_iterable(network.parameters() for network in self.discriminators.values())

    @property
    def _shares_output(self) -> bool:
        """Whether the discriminators' move reads the verdict that moved the generators.

        It must come after that; and what is known of new images says nothing of those that a pool returns in their place.
        """
        return self.recipe.update_order == "GD" and not self.recipe.pool_size

    def begin(self, epoch: int) -> None:
        """Set the learning rates of `epoch`, counted from 1."""
        factor = self.recipe.learning_rate_factor(epoch)
        self.optimizer_G.set_lr_factor(factor)
        self.optimizer_D.set_lr_factor(factor)

    @property
    def _optimizers(self) -> dict[str, ScopedOptimizer]:
        return {"generators": self.optimizer_G, "discriminators": self.optimizer_D}

    @property
    def _trained(self) -> dict[str, Networks]:
        return {"generators": self.generators, "discriminators": self.discriminators}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training changes but the pools: weights, running statistics and optimisers; no copy."""
        return {
            "networks": {kind: {name: network.state_dict() for name, network in found.items()} for kind, found in self._trained.items()},
            "movers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
        }

    def pools_state_dict(self) -> dict[str, Any]:
        """Return what the pools hold, which several processes have apart; no copy."""
        return {name: pool.state_dict() for name, pool in self.pools.items()}

    def load_state_dict(self, memory: Mapping[str, Any]) -> None:
        """Take up a copy of what `state_dict` returned."""
        for kind, found in self._trained.items():
            for name, network in found.items():
                network.load_state_dict(memory["networks"][kind][name])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(memory["movers"][name])

    def load_pools_state_dict(self, memory: Mapping[str, Any]) -> None:
        """Take up a copy of what `pools_state_dict` returned."""
        for name, pool in self.pools.items():
            pool.load_state_dict(memory[name], self.execution.device)

    def scale_lr(self, factor: float) -> None:
        """Multiply the learning rates of generators and discriminators from now on."""
        self.optimizer_G.scale_lr(factor)
        self.optimizer_D.scale_lr(factor)

    def generate(self, batch: Batch) -> GeneratorOutput:
        """Run every generator on a batch."""
        with self.execution.autocast(), keep_features(self._making) as features:
            samples = self.architecture.generate(self._making, batch)
        return GeneratorOutput(batch, samples, self.architecture.pairs(batch, samples), features)

    def discriminate(self, fake: GeneratorOutput) -> DiscriminatorOutput:
        """Run every discriminator on what was made, by this side or the other; gradients pass to its generators."""
        with self.execution.autocast(), keep_features(self._judging) as features:
            logits = {name: self._logits(name, fake.pairs[name].fake) for name in self.discriminators}
        return DiscriminatorOutput(logits, features)

    def pretrain(self, fake: GeneratorOutput) -> Losses:
        """Move the generators against the losses of the stage before the game."""
        with self.execution.autocast():
            losses = self.architecture.pretraining_losses(fake.batch, fake.samples)
        self.optimizer_G.step(total(losses.values()))
        return detached(losses)

    def step_G(self, fake: GeneratorOutput, output: DiscriminatorOutput) -> Losses:
        """Move the generators against Eq. 1 and the task losses."""
        of_data = self._gather_data_losses(fake.batch)
        losses = self._generator_losses(fake, output)
        self.optimizer_G.step(total(losses.values()))
        return detached(losses) | of_data

    def gradients(self, batches: Iterable[Batch]) -> Iterator[None]:
        """Leave in the generators, for one batch after the other, the gradient of what would move them (Eq. 1 and the task losses)."""
        for batch in batches:
            self._gather_data_losses(batch)
            fake = self.generate(batch)
            losses = self._generator_losses(fake, self.discriminate(fake))
            with self.optimizer_G.gradients(total(losses.values())):
                yield

    def step_D(self, fake: GeneratorOutput, output: DiscriminatorOutput | None = None) -> Losses:
        """Move the weights of the discriminators against Eq. 2.

        Args:
            fake: what the generators made, and what is real.
            output: what the discriminators say of `fake` with their present weights, where that is known; else they are asked.
        """
        with self.optimizer_D.trainable():
            losses = self._discriminator_losses(fake, output)
            self.optimizer_D.step(self.recipe.lambda_d * total(losses.values()))
        return detached(losses)

    def _logits(self, name: str, images: Tensor) -> Tensor:
        """Return a discriminator's logits of images (N, C, H, W)."""
        logits: Tensor = self._judging[name](images)
        return logits

    def imbalances(self, output: DiscriminatorOutput) -> Losses:
        """Return `|L_G - L_Dfake|` of each discriminator on what it said of its own generators (Eq. 5, 6)."""
        return {name: imbalance(*self.adversarial_losses(logits)).detach() for name, logits in output.logits.items()}

    def adversarial_losses(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_G and L_Dfake of the logits of made images, of all processes together: their difference's size is no mean of sizes."""
        return self.ranks.differentiable_mean(self.gan.generator(logits)), self.ranks.differentiable_mean(self.gan.fake(logits))

    def _gather_data_losses(self, batch: Batch) -> Losses:
        """Gather the gradients of losses whose graphs nothing else shares: they never lie in memory beside the others' own."""
        with self.execution.autocast():
            losses = self.architecture.data_losses(self._task_networks, batch)
        if losses:
            self.optimizer_G.accumulate(total(losses.values()))
        return detached(losses)

    def _generator_losses(self, fake: GeneratorOutput, output: DiscriminatorOutput) -> Losses:
        opposed = [self.gan.generator(logits) for logits in output.logits.values()]
        losses = {"G": self.recipe.lambda_gan * total(opposed)} if opposed else {}
        with self.execution.autocast():
            return losses | self.architecture.task_losses(self._task_networks, fake.batch, fake.samples)

    def _discriminator_losses(self, fake: GeneratorOutput, output: DiscriminatorOutput | None) -> Losses:
        losses: dict[str, list[Tensor]] = {"D_real": [], "D_fake": []}
        known = output if output and self._shares_output else None
        for name, network in self.discriminators.items():
            pair = fake.pairs[name]
            with self.execution.autocast():
                on_real = self._logits(name, pair.real)
                on_fake = known.logits[name] if known else self._logits(name, self.pools[name].query(pair.fake.detach()))
            losses["D_real"].append(self.gan.real(on_real))
            losses["D_fake"].append(self.gan.fake(on_fake))
            if self.gan.penalised:
                penalty = self.recipe.lambda_gp * gradient_penalty(network, pair.real, pair.fake)
                losses.setdefault("D_penalty", []).append(penalty)
        return {term: total(values) for term, values in losses.items()}


class FrozenPair(GANPair):
    """A teacher that was brought along and stays as it is, running statistics included: it judges and teaches, and never moves.

    Its discriminators normalise by the batch that they judge, as the student's do, or the two imbalances of Eq. 7 could not be compared.
    """

    trains = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for network in (*self.generators.values(), *self.discriminators.values()):
            network.eval()
        for network in self.discriminators.values():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.track_running_stats = False
                    module.train()

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
