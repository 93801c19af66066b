"""The collapse that GCC avoids (Li et al. 2021, Figure I): its detection, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from gcc.errors import TrainingError
from gcc.evaluation.split import evaluating_generators, evenly_spaced, load_samples
from gcc.losses.adversarial import GAN_LOSSES
from gcc.recipe import Recipe
from gcc.registry import Architecture, Batch, DatasetSource
from gcc.training.anomaly import not_finite
from gcc.training.pair import GANPair, Losses
from gcc.utils.distributed import SINGLE_PROCESS, Ranks

STARVED = 0.05
"""L_D below this share of what an undecided discriminator has gives the generator next to nothing to learn from."""
GROWN = 1.5
"""L_G this many times what it was when L_D was last sound has run away from it."""
UNSTEADY = 0.5
"""Standard deviation of L_G within an epoch, as a share of its mean, above which it oscillates."""
ALIKE = 0.1
"""Made images that differ by less than this share of what real ones differ by are all alike."""
FLAT = 0.01
"""Deviation of an image's values in [-1, 1] below which it is one colour."""
RISING = 1.05
"""Variety that grows by this factor in an epoch is on its way."""
CHUNK = 256
"""Iterations whose losses are put into one tensor."""
PATIENCE = 2
"""Epochs in a row after which a sign counts, at the least."""
SCALARS = ("sound", "starved", "alike", "epochs")
"""What is remembered of a side as single values."""


@dataclass(frozen=True)
class Diversity:
    """How varied images are.

    Attributes:
        between: mean absolute difference of pairs of made images, as a share of that of pairs of real ones.
        within: mean standard deviation of the values of a made image, in [-1, 1].
    """

    between: float
    within: float

    @classmethod
    def of(cls, fake: Tensor, real: Tensor) -> Diversity:
        """Return the variety of made images (N, C, H, W) in [-1, 1], beside real ones (M, C, H, W); single ones count as varied."""
        if min(len(fake), len(real)) < 2:
            return cls(1.0, float(fake.float().flatten(1).std(1).mean()))
        return cls(float(_apart(fake) / _apart(real).clamp(min=1e-6)), float(fake.float().flatten(1).std(1).mean()))


@dataclass
class _Side:
    """What is remembered of one side of the game: the losses of this epoch, on the device, and the story of the epochs before."""

    fresh: list[Tensor] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    sound: float | None = None
    starved: int = 0
    alike: int = 0
    epochs: int = 0
    before: Diversity = Diversity(0.0, 0.0)
    peak: Diversity = Diversity(0.0, 0.0)

    def gather(self) -> None:
        """Put the fresh losses into one tensor, a row per iteration."""
        if self.fresh:
            self.losses.append(torch.stack(self.fresh).view(-1, 3))
            self.fresh.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return all that is remembered, as nested plain values and tensors; no copy."""
        self.gather()
        told = {name: getattr(self, name) for name in SCALARS}
        return told | {"losses": list(self.losses), "before": asdict(self.before), "peak": asdict(self.peak)}

    @classmethod
    def of(cls, memory: Mapping[str, Any]) -> _Side:
        """Return the story that `state_dict` tells."""
        told = {name: memory[name] for name in SCALARS}
        return cls(losses=list(memory["losses"]), before=Diversity(**memory["before"]), peak=Diversity(**memory["peak"]), **told)


class CollapseDetector:
    """Tells after every epoch which sides of the game have collapsed, and how.

    Three signs: L_D tends to zero while L_G grows or oscillates (Figure I); made images become all alike, or do not come to differ by
    half of the run; made images are of one colour.

    Args:
        recipe: of the game; a tenth of its epochs in a row must show a sign.
        discriminators: of each side, over which its losses are summed.
    """

    def __init__(self, recipe: Recipe, discriminators: int = 1) -> None:
        self.epochs = recipe.epochs
        self.patience = max(PATIENCE, recipe.epochs // 10)
        self.weight = recipe.lambda_gan
        self.discriminators = discriminators
        loss = GAN_LOSSES[recipe.gan_mode]
        # Constant logits that cost least, on images that are real as often as made.
        constant = torch.linspace(-1, 1, 21)
        costs = torch.stack([loss.real(logit[None]) + loss.fake(logit[None]) for logit in constant])
        # The Wasserstein loss has no such value: L_D tends to minus infinity in a sound game.
        self.undecided = None if loss.penalised else float(costs.min())
        self._sides: dict[str, _Side] = {}

    @property
    def is_calm(self) -> bool:
        """Whether no side shows a sign, not even for a single epoch."""
        return not any(story.starved or story.alike for story in self._sides.values())

    def state_dict(self) -> dict[str, Any]:
        """Return all that is remembered, as nested plain values and tensors; no copy."""
        return {side: story.state_dict() for side, story in self._sides.items()}

    def load_state_dict(self, memory: Mapping[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self._sides = {side: _Side.of(story) for side, story in memory.items()}

    def reset_counters(self) -> None:
        """Go on after a rollback to when the game was sound, which is what it is measured by still."""
        for story in self._sides.values():
            story.starved = story.alike = 0
            story.fresh.clear()
            story.losses.clear()

    def add(self, side: str, loss_g: Tensor, loss_d_real: Tensor, loss_d_fake: Tensor) -> None:
        """Take in the adversarial losses of an iteration, scalars on the device, which is not waited for."""
        story = self._sides.setdefault(side, _Side())
        story.fresh += [loss_g, loss_d_real, loss_d_fake]
        if len(story.fresh) >= 3 * CHUNK:
            story.gather()

    def after_epoch(self, diversities: Mapping[str, Diversity]) -> dict[str, str]:
        """Return what is wrong by side, as a sentence; sides that are sound are left out.

        Args:
            diversities: of each side's made images.
        """
        told = {}
        for side, diversity in diversities.items():
            story = self._sides.setdefault(side, _Side())
            signs = [*self._game(story), *self._images(story, diversity)]
            story.losses.clear()
            if signs:
                told[side] = "; ".join(signs)
        return told

    def _game(self, story: _Side) -> list[str]:
        story.gather()
        if self.undecided is None or not story.losses or not self.weight:
            return []
        loss_g, loss_d_real, loss_d_fake = torch.cat(story.losses).float().cpu().unbind(1)
        # As a single discriminator has them, unweighted.
        loss_g, loss_d = loss_g / (self.weight * self.discriminators), (loss_d_real + loss_d_fake) / self.discriminators
        mean_g, mean_d = float(loss_g.mean()), float(loss_d.mean())
        unsteady = float(loss_g.std(correction=0)) > UNSTEADY * abs(mean_g)
        if mean_d >= STARVED * self.undecided:
            story.sound, story.starved = mean_g, 0
            return []
        grown = mean_g > GROWN * max(story.sound if story.sound is not None else mean_g, 0)
        story.starved = story.starved + 1 if grown or unsteady else 0
        if story.starved < self.patience:
            return []
        how = "has grown" if grown else "oscillates"
        return [f"L_D is {mean_d:.2g}, where an undecided discriminator has {self.undecided:.2g}, and L_G {how} ({mean_g:.3g})"]

    def _images(self, story: _Side, diversity: Diversity) -> list[str]:
        story.epochs += 1
        poor = diversity.between < ALIKE or diversity.within < FLAT
        # A young generator makes images that are alike, and then ever less so.
        fallen = story.peak.between >= 2 * ALIKE and story.peak.within >= 2 * FLAT
        late = story.epochs > self.epochs / 2
        rising = diversity.between > RISING * story.before.between
        story.alike = story.alike + 1 if poor and (fallen or late) and not rising else 0
        story.before = diversity
        story.peak = Diversity(max(story.peak.between, diversity.between), max(story.peak.within, diversity.within))
        if story.alike < self.patience:
            return []
        if diversity.within < FLAT:
            return [f"made images are of one colour (deviation {diversity.within:.2g})"]
        return [f"made images are all alike: they differ by {diversity.between:.1%} of what real ones differ by"]


def _apart(images: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours in a ring of images."""
    images = images.float()
    return (images - images.roll(1, 0)).abs().mean()


OnCollapse = Literal["warn", "stop", "rollback"]
OnNan = Literal["stop", "rollback"]
WATCHED = 16
"""Held-out samples whose variety is watched."""
ROLLBACKS = 3
"""Times that a collapsed game is taken up again from where it was sound."""
SLOWER = 0.5
"""Factor on the learning rates then."""


class CollapsePolicy:
    """Asks a sentinel after every epoch, and does as it is told when the game collapses.

    Attributes:
        rolled_back: whether the last epoch ended in a rollback.

    Args:
        architecture: the GAN family.
        held_out: samples, of which a few are made in every epoch.
        on_collapse: `warn`, `stop`, or `rollback`, which takes up the last sound epoch at half the learning rates.
        on_nan: `stop` or `rollback`, where losses are not finite.
        memory: returns everything that training changes, not copied.
        recall: takes up a copy of that.
        ranks: the processes that play together.
    """

    def __init__(
        self,
        architecture: Architecture[Any],
        held_out: DatasetSource,
        on_collapse: OnCollapse,
        on_nan: OnNan,
        memory: Callable[[], dict[str, Any]],
        recall: Callable[[Mapping[str, Any]], None],
        ranks: Ranks = SINGLE_PROCESS,
    ) -> None:
        self.architecture = architecture
        self.held_out = held_out
        self.on_collapse = on_collapse
        self.on_nan = on_nan
        self.rolled_back = False
        self.detector = CollapseDetector(architecture.recipe, len(architecture.discriminators))
        self._memory, self._recall = memory, recall
        self._ranks = ranks
        self._last_good_state: dict[str, Any] = {}
        self._rollbacks = 0
        self._batch: Batch = {}

    def begin(self) -> None:
        """Hold the present to be sound where no epoch is known to be: the start of the game, or of a resumed one."""
        self._last_good_state = self._last_good_state or self._current_state()

    def update(self, sides: Mapping[str, GANPair], losses: Losses) -> None:
        """Take in the losses of an iteration, without waiting for the device."""
        for side in sides:
            terms = [f"{side}/{term}" for term in ("G", "D_real", "D_fake")]
            if losses.keys() >= set(terms):
                self.detector.add(side, *(losses[term] for term in terms))

    def after_epoch(self, epoch: int, sides: Mapping[str, GANPair], broken: tuple[int, Sequence[str]]) -> dict[str, str]:
        """Return what is wrong by side, once what is to be done about it has been done.

        Args:
            epoch: counted from 1.
            sides: players by side; those that do not move are not watched.
            broken: the first iteration whose losses are not finite, and which they are; 0 and none where all are finite.

        Raises:
            TrainingError: the game has collapsed and is to stop, or too often; or losses are not finite and there is no way back.
        """
        self.rolled_back = False
        number, names = broken
        signs = self._broken(names) or self._collapsed(sides)
        answer = self.on_nan if names else self.on_collapse
        if not signs or answer == "warn":
            return signs
        if answer == "stop" or not self._last_good_state or self._rollbacks == ROLLBACKS:
            again = f", after {self._rollbacks} rollbacks" if self._rollbacks else ""
            if names:
                raise TrainingError(not_finite(names, number, f"epoch {epoch}{again}"))
            told = "; ".join(f"{side}: {sign}" for side, sign in signs.items())
            raise TrainingError(f"the game has collapsed in epoch {epoch}{again}: {told}; lower lr_d with --set, or raise --budget")
        self._rollbacks += 1
        self.rolled_back = True
        self._recall(self._last_good_state)
        for player in sides.values():
            player.scale_lr(SLOWER)
        self.detector.reset_counters()
        return {side: f"{sign}; back to the last sound epoch, at half the learning rates" for side, sign in signs.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all that the guard remembers, as nested plain values and tensors; no copy."""
        return {"rollbacks": self._rollbacks, "sound": self._last_good_state, "sentinel": self.detector.state_dict()}

    def load_state_dict(self, memory: Mapping[str, Any], sides: Mapping[str, GANPair]) -> None:
        """Take up what `state_dict` returned: after rollbacks the players go on slower, too."""
        self._rollbacks, self._last_good_state = memory["rollbacks"], memory["sound"]
        self.detector.load_state_dict(memory["sentinel"])
        for player in sides.values():
            player.scale_lr(SLOWER**self._rollbacks)

    @staticmethod
    def _broken(losses: Sequence[str]) -> dict[str, str]:
        by_side: dict[str, list[str]] = {}
        for name in losses:
            by_side.setdefault(name.partition("/")[0], []).append(name)
        return {side: f"{', '.join(names)} is not finite" for side, names in by_side.items()}

    def _collapsed(self, sides: Mapping[str, GANPair]) -> dict[str, str]:
        diversities = {side: self._diversity(player) for side, player in sides.items() if player.trains}
        # Of several processes one decides: another GPU may see its images differ in the last digit.
        signs = self._ranks.broadcast_object(self.detector.after_epoch(diversities))
        if self.detector.is_calm:
            self._last_good_state = self._current_state()
        return signs

    def _current_state(self) -> dict[str, Any]:
        """Return a copy of what training has changed by now, if a rollback may ask for it."""
        return deepcopy(self._memory()) if "rollback" in (self.on_collapse, self.on_nan) else {}

    def _diversity(self, player: GANPair) -> Diversity:
        """Return the variety of the images that the least varied generator makes."""
        if not self._batch:
            count = min(WATCHED, len(self.held_out))
            self._batch = load_samples(self.held_out, evenly_spaced(count, len(self.held_out)), player.execution.device)
        with evaluating_generators(player.generators), player.execution.autocast():
            judged = self.architecture.eval_samples(self._batch, self.architecture.generate(player.generators, self._batch))
        return min((Diversity.of(each.fake, each.real) for each in judged.values()), key=lambda diversity: diversity.between)
