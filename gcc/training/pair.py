"""One side of the game: generators, discriminators, their optimisers, and each of their moves.

A forward result is computed once: `make` runs the generators, `judge` a discriminator on what they made, and every loss reads these.
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
from gcc.losses.layers import NOWHERE, Positions
from gcc.recipe import Recipe
from gcc.registry import Architecture, Batch, Networks, Pair, Samples
from gcc.training.anomaly import detect
from gcc.training.image_pool import ImagePool
from gcc.training.micro_batch import InParts, keeping
from gcc.training.optimizer import Mover
from gcc.training.precision import Execution
from gcc.utils.seeds import derived

NONE: Networks = MappingProxyType({})
"""No networks."""
NO_POSITIONS: Mapping[str, Sequence[str]] = MappingProxyType({})
"""No layers."""
Losses = dict[str, Tensor]
"""Losses by name, scalars on the device; those that a move returns carry no graph."""


@dataclass(frozen=True)
class Made:
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
class Verdict:
    """What the discriminators said of made images: logits, and the tapped features, by discriminator."""

    logits: Mapping[str, Tensor]
    features: Mapping[str, Features]


@dataclass(frozen=True)
class Lesson:
    """What the teacher shows for a batch: what it made, and what its own discriminators say of that."""

    made: Made
    verdict: Verdict


class Player:
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
        positions: the layers whose features `make` and `judge` keep.
        penalise: adds to the generators' gradients before their step.
    """

    moves: ClassVar[bool] = True
    side: ClassVar[str] = "teacher"

    def __init__(
        self,
        architecture: Architecture[Any],
        generators: Mapping[str, nn.Module],
        discriminators: Mapping[str, nn.Module],
        execution: Execution,
        auxiliary: Networks = NONE,
        positions: Positions = NOWHERE,
        penalise: Callable[[], None] | None = None,
    ) -> None:
        recipe: Recipe = architecture.recipe
        self.architecture = architecture
        self.recipe = recipe
        self.execution = execution
        self.gan = GAN_LOSSES[recipe.gan_mode]
        self.generators = {name: execution.place(network).train() for name, network in generators.items()}
        self.discriminators = {name: execution.place(network).train() for name, network in discriminators.items()}
        self.ranks = execution.ranks
        exchanges = {name: self.ranks.named(f"pool {name}") for name in discriminators}
        self.pools = {name: ImagePool(recipe.pool_size, derived(recipe.seed, use)) for name, use in exchanges.items()}
        self._making = self._called(self.generators, positions.generators)
        self._judging = self._called(self.discriminators, positions.discriminators)
        self._task_networks = {**self._making, **self._called(auxiliary)}
        betas = (recipe.beta1, recipe.beta2)
        self.generator_mover = Mover(self._generator_parameters(), recipe.lr_g, betas, execution, penalise)
        self.discriminator_mover = Mover(self._discriminator_weights(), recipe.lr_d, betas, execution)
        # A generator's loss passes through the discriminators, which must not gather gradients from it.
        self.discriminator_mover.freeze()
        if execution.detects_anomalies:
            for kind, found in self._trained.items():
                for name, network in found.items():
                    detect(network, f"{self.side}/{kind}/{name}", scaled=execution.scaler().is_enabled())

    def _called(self, networks: Networks, positions: Mapping[str, Sequence[str]] = NO_POSITIONS) -> dict[str, InParts]:
        """Return networks as this player calls them, with the features of the layers at `positions` kept."""
        return {name: InParts(network, self.execution, modules_at(network, positions.get(name, ()))) for name, network in networks.items()}

    def _generator_parameters(self) -> Iterator[nn.Parameter]:
        return chain.from_iterable(network.parameters() for network in self.generators.values())

    def _discriminator_weights(self) -> Iterator[nn.Parameter]:
        return chain.from_iterable(network.parameters() for network in self.discriminators.values())

    @property
    def _shares_verdict(self) -> bool:
        """Whether the discriminators' move reads the verdict that moved the generators.

        It must come after that; and what is known of new images says nothing of those that a pool returns in their place.
        """
        return self.recipe.order == "GD" and not self.recipe.pool_size

    def begin(self, epoch: int) -> None:
        """Set the learning rates of `epoch`, counted from 1."""
        factor = self.recipe.learning_rate_factor(epoch)
        self.generator_mover.rate(factor)
        self.discriminator_mover.rate(factor)

    @property
    def _movers(self) -> dict[str, Mover]:
        return {"generators": self.generator_mover, "discriminators": self.discriminator_mover}

    @property
    def _trained(self) -> dict[str, Networks]:
        return {"generators": self.generators, "discriminators": self.discriminators}

    def memory(self) -> dict[str, Any]:
        """Return everything that training changes but the pools: weights, running statistics and optimisers; no copy."""
        return {
            "networks": {kind: {name: network.state_dict() for name, network in found.items()} for kind, found in self._trained.items()},
            "movers": {name: mover.memory() for name, mover in self._movers.items()},
        }

    def memory_of_pools(self) -> dict[str, Any]:
        """Return what the pools hold, which several processes have apart; no copy."""
        return {name: pool.memory() for name, pool in self.pools.items()}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take up a copy of what `memory` returned."""
        for kind, found in self._trained.items():
            for name, network in found.items():
                network.load_state_dict(memory["networks"][kind][name])
        for name, mover in self._movers.items():
            mover.recall(memory["movers"][name])

    def recall_pools(self, memory: Mapping[str, Any]) -> None:
        """Take up a copy of what `memory_of_pools` returned."""
        for name, pool in self.pools.items():
            pool.recall(memory[name], self.execution.device)

    def slow_down(self, factor: float) -> None:
        """Multiply the learning rates of generators and discriminators from now on."""
        self.generator_mover.slow_down(factor)
        self.discriminator_mover.slow_down(factor)

    def make(self, batch: Batch) -> Made:
        """Run every generator on a batch."""
        with self.execution.autocast(), keeping(self._making) as features:
            samples = self.architecture.generate(self._making, batch)
        return Made(batch, samples, self.architecture.pairs(batch, samples), features)

    def judge(self, made: Made) -> Verdict:
        """Run every discriminator on what was made, by this side or the other; gradients pass to its generators."""
        with self.execution.autocast(), keeping(self._judging) as features:
            logits = {name: self._ask(name, made.pairs[name].fake) for name in self.discriminators}
        return Verdict(logits, features)

    def pretrain(self, made: Made) -> Losses:
        """Move the generators against the losses of the stage before the game."""
        with self.execution.autocast():
            losses = self.architecture.pretraining_losses(made.batch, made.samples)
        self.generator_mover.step(total(losses.values()))
        return detached(losses)

    def update_generators(self, made: Made, verdict: Verdict) -> Losses:
        """Move the generators against Eq. 1 and the task losses."""
        of_data = self._gather_data_losses(made.batch)
        losses = self._generator_losses(made, verdict)
        self.generator_mover.step(total(losses.values()))
        return detached(losses) | of_data

    def gradients(self, batches: Iterable[Batch]) -> Iterator[None]:
        """Leave in the generators, for one batch after the other, the gradient of what would move them (Eq. 1 and the task losses)."""
        for batch in batches:
            self._gather_data_losses(batch)
            made = self.make(batch)
            losses = self._generator_losses(made, self.judge(made))
            with self.generator_mover.gradients(total(losses.values())):
                yield

    def update_discriminators(self, made: Made, verdict: Verdict | None = None) -> Losses:
        """Move the weights of the discriminators against Eq. 2.

        Args:
            made: what the generators made, and what is real.
            verdict: what the discriminators say of `made` with their present weights, where that is known; else they are asked.
        """
        with self.discriminator_mover.moving():
            losses = self._discriminator_losses(made, verdict)
            self.discriminator_mover.step(self.recipe.lambda_d * total(losses.values()))
        return detached(losses)

    def _ask(self, name: str, images: Tensor) -> Tensor:
        """Return a discriminator's logits of images (N, C, H, W)."""
        logits: Tensor = self._judging[name](images)
        return logits

    def imbalances(self, verdict: Verdict) -> Losses:
        """Return `|L_G - L_Dfake|` of each discriminator on what it said of its own generators (Eq. 5, 6)."""
        return {name: imbalance(*self._opposed(logits)).detach() for name, logits in verdict.logits.items()}

    def _opposed(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_G and L_Dfake of the logits of made images, of all processes together: their difference's size is no mean of sizes."""
        return self.ranks.joint(self.gan.generator(logits)), self.ranks.joint(self.gan.fake(logits))

    def _gather_data_losses(self, batch: Batch) -> Losses:
        """Gather the gradients of losses whose graphs nothing else shares: they never lie in memory beside the others' own."""
        with self.execution.autocast():
            losses = self.architecture.data_losses(self._task_networks, batch)
        if losses:
            self.generator_mover.gather(total(losses.values()))
        return detached(losses)

    def _generator_losses(self, made: Made, verdict: Verdict) -> Losses:
        opposed = [self.gan.generator(logits) for logits in verdict.logits.values()]
        losses = {"G": self.recipe.lambda_gan * total(opposed)} if opposed else {}
        with self.execution.autocast():
            return losses | self.architecture.task_losses(self._task_networks, made.batch, made.samples)

    def _discriminator_losses(self, made: Made, verdict: Verdict | None) -> Losses:
        losses: dict[str, list[Tensor]] = {"D_real": [], "D_fake": []}
        known = verdict if verdict and self._shares_verdict else None
        for name, network in self.discriminators.items():
            pair = made.pairs[name]
            with self.execution.autocast():
                real = self._ask(name, pair.real)
                fake = known.logits[name] if known else self._ask(name, self.pools[name].query(pair.fake.detach()))
            losses["D_real"].append(self.gan.real(real))
            losses["D_fake"].append(self.gan.fake(fake))
            if self.gan.penalised:
                penalty = self.recipe.lambda_gp * gradient_penalty(network, pair.real, pair.fake)
                losses.setdefault("D_penalty", []).append(penalty)
        return {term: total(values) for term, values in losses.items()}


class FrozenPlayer(Player):
    """A teacher that was brought along and stays as it is, running statistics included: it judges and teaches, and never moves.

    Its discriminators normalise by the batch that they judge, as the student's do, or the two imbalances of Eq. 7 could not be compared.
    """

    moves = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for network in (*self.generators.values(), *self.discriminators.values()):
            network.eval()
        for network in self.discriminators.values():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.track_running_stats = False
                    module.train()

    def make(self, batch: Batch) -> Made:
        with torch.no_grad():
            return super().make(batch)

    def update_generators(self, made: Made, verdict: Verdict) -> Losses:
        return {}

    def update_discriminators(self, made: Made, verdict: Verdict | None = None) -> Losses:
        return {}


def detached(losses: Mapping[str, Tensor]) -> Losses:
    """Return the losses without their graph."""
    return {name: loss.detach() for name, loss in losses.items()}
