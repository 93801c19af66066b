"""Detects GAN collapse (Li et al. 2021, Figure I), and warns, stops or rolls back."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from gcc.errors import TrainingError
from gcc.evaluation.split import evaluating_generators, evenly_spaced, load_samples
from gcc.losses.adversarial import GAN_LOSSES
from gcc.recipe import Recipe
from gcc.registry import Batch
from gcc.training.anomaly import not_finite
from gcc.training.context import RunContext
from gcc.training.loss_tree import LossTree, Path
from gcc.training.pair import GANPair
from gcc.utils.state_tree import flatten_state, on_device

MIN_D_LOSS_RATIO = 0.05
"""Below this share of an undecided discriminator's loss, L_D gives the generator almost nothing to learn from."""
G_LOSS_GROWTH = 1.5
"""L_G has run away if it is this many times what it was when L_D was last healthy."""
G_LOSS_STD_RATIO = 0.5
"""L_G oscillates if its standard deviation within an epoch exceeds this share of its mean."""
MIN_DIVERSITY = 0.1
"""Fake images are all alike if they differ by less than this share of the difference between real ones."""
MIN_IMAGE_STD = 0.01
"""An image is one colour if the standard deviation of its values in [-1, 1] is below this."""
DIVERSITY_GROWTH = 1.05
"""Diversity is rising if it grows by this factor in an epoch."""
STEPS_PER_TENSOR = 256
"""Steps whose losses are stacked into one tensor."""
MIN_PATIENCE = 2
"""Minimum number of consecutive epochs with a symptom before it is reported."""
HISTORY_FIELDS = ("healthy", "starved", "alike", "epochs")
"""The single values of a role's history."""
DIVERSITY_SAMPLES = 16
"""Samples whose diversity is measured: validation images, else training images, since test images must not steer training."""
MAX_ROLLBACKS = 3
"""The most rollbacks of a run."""
ROLLBACK_LR_FACTOR = 0.5
"""Factor on the learning rates after a rollback."""


@dataclass(frozen=True)
class Diversity:
    """How diverse fake images are.

    Attributes:
        between: mean absolute difference between pairs of fake images, as a share of that between pairs of real ones.
        within: mean standard deviation of the values of a fake image, in [-1, 1].
    """

    between: float
    within: float

    @classmethod
    def of(cls, fake: Tensor, real: Tensor) -> Diversity:
        """Return the diversity of fake images (N, C, H, W) relative to real ones (M, C, H, W), all in [-1, 1].

        A single image counts as diverse.
        """
        if min(len(fake), len(real)) < 2:
            return cls(1.0, float(fake.float().flatten(1).std(1).mean()))
        between = _mean_difference(fake) / _mean_difference(real).clamp(min=1e-6)
        return cls(float(between), float(fake.float().flatten(1).std(1).mean()))


@dataclass
class _History:
    """What the detector remembers of one role: the losses of the current epoch, on the device, and the signs of earlier epochs."""

    new: list[Tensor] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    healthy: float | None = None
    starved: int = 0
    alike: int = 0
    epochs: int = 0
    before: Diversity = Diversity(0.0, 0.0)
    peak: Diversity = Diversity(0.0, 0.0)

    def stack(self) -> None:
        """Stack the new losses into one tensor, a row per step."""
        if self.new:
            self.losses.append(torch.stack(self.new).view(-1, 3))
            self.new.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the history as nested plain values and tensors, without copying."""
        self.stack()
        scalars = {name: getattr(self, name) for name in HISTORY_FIELDS}
        return scalars | {"losses": list(self.losses), "before": asdict(self.before), "peak": asdict(self.peak)}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> _History:
        """Return the history that `state_dict` returned."""
        scalars = {name: state[name] for name in HISTORY_FIELDS}
        return cls(losses=list(state["losses"]), before=Diversity(**state["before"]), peak=Diversity(**state["peak"]), **scalars)


class CollapseDetector:
    """Reports after every epoch which pairs have collapsed, and how.

    There are three signs: L_D tends to zero while L_G grows or oscillates (Figure I); fake images become all alike, or are not diverse by
    the middle of the run; fake images are one colour.

    Args:
        recipe: the recipe of the run. A sign must last a tenth of its epochs.
        discriminators: the number of discriminators of each pair, over which its losses are summed.
    """

    def __init__(self, recipe: Recipe, discriminators: int = 1) -> None:
        self.epochs = recipe.epochs
        self.patience = max(MIN_PATIENCE, recipe.epochs // 10)
        self.weight = recipe.lambda_gan
        self.discriminators = discriminators
        loss = GAN_LOSSES[recipe.gan_mode]
        # The constant logit with the least loss, for as many real images as fake ones.
        constant = torch.linspace(-1, 1, 21)
        costs = torch.stack([loss.real(logit[None]) + loss.fake(logit[None]) for logit in constant])
        # The Wasserstein loss has no such value: L_D tends to minus infinity in healthy training.
        self.undecided = None if loss.penalised else float(costs.min())
        self._histories: dict[str, _History] = {}

    @property
    def is_calm(self) -> bool:
        """Whether no pair shows a sign, not even for a single epoch."""
        return not any(history.starved or history.alike for history in self._histories.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the histories as nested plain values and tensors, without copying."""
        return {role: history.state_dict() for role, history in self._histories.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned, on the device of the losses to come."""
        self._histories = {role: _History.of(history) for role, history in state.items()}

    def reset_counters(self) -> None:
        """Forget the signs after a rollback. What healthy training looked like stays the baseline."""
        for history in self._histories.values():
            history.starved = history.alike = 0
            history.new.clear()
            history.losses.clear()

    def add(self, role: str, loss_g: Tensor, loss_d_real: Tensor, loss_d_fake: Tensor) -> None:
        """Take in the adversarial losses of a step, scalars on the device, without synchronising."""
        history = self._histories.setdefault(role, _History())
        history.new += [loss_g, loss_d_real, loss_d_fake]
        if len(history.new) >= 3 * STEPS_PER_TENSOR:
            history.stack()

    def after_epoch(self, diversities: Mapping[str, Diversity]) -> dict[str, str]:
        """Return the symptoms of each collapsed pair as one line, by role.

        Args:
            diversities: the diversity of each pair's fake images.
        """
        warnings = {}
        for role, diversity in diversities.items():
            history = self._histories.setdefault(role, _History())
            signs = [*self._loss_signs(history), *self._image_signs(history, diversity)]
            history.losses.clear()
            if signs:
                warnings[role] = "; ".join(signs)
        return warnings

    def _loss_signs(self, history: _History) -> list[str]:
        history.stack()
        if self.undecided is None or not history.losses or not self.weight:
            return []
        loss_g, loss_d_real, loss_d_fake = torch.cat(history.losses).float().cpu().unbind(1)
        # Unweighted, and per discriminator.
        loss_g, loss_d = loss_g / (self.weight * self.discriminators), (loss_d_real + loss_d_fake) / self.discriminators
        mean_g, mean_d = float(loss_g.mean()), float(loss_d.mean())
        unsteady = float(loss_g.std(correction=0)) > G_LOSS_STD_RATIO * abs(mean_g)
        if mean_d >= MIN_D_LOSS_RATIO * self.undecided:
            history.healthy, history.starved = mean_g, 0
            return []
        grown = mean_g > G_LOSS_GROWTH * max(history.healthy if history.healthy is not None else mean_g, 0)
        history.starved = history.starved + 1 if grown or unsteady else 0
        if history.starved < self.patience:
            return []
        trend = "grew to" if grown else "oscillated around"
        return [
            f"the discriminator loss fell to {mean_d:.2g} (chance level {self.undecided:.2g}) while the generator loss {trend} {mean_g:.3g}"
        ]

    def _image_signs(self, history: _History, diversity: Diversity) -> list[str]:
        history.epochs += 1
        poor = diversity.between < MIN_DIVERSITY or diversity.within < MIN_IMAGE_STD
        # A young generator's images are all alike at first, and then less and less so.
        fallen = history.peak.between >= 2 * MIN_DIVERSITY and history.peak.within >= 2 * MIN_IMAGE_STD
        late = history.epochs > self.epochs / 2
        rising = diversity.between > DIVERSITY_GROWTH * history.before.between
        history.alike = history.alike + 1 if poor and (fallen or late) and not rising else 0
        history.before = diversity
        history.peak = Diversity(max(history.peak.between, diversity.between), max(history.peak.within, diversity.within))
        if history.alike < self.patience:
            return []
        if diversity.within < MIN_IMAGE_STD:
            return [f"fake images are one colour (standard deviation {diversity.within:.2g})"]
        return [f"fake images are all alike: they differ by {diversity.between:.1%} of the difference between real images"]


class Stateful(Protocol):
    """Something whose training state can be saved and restored."""

    def state_dict(self) -> dict[str, Any]:
        """Return references to the state."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a copy of what `state_dict` returned."""


class CollapsePolicy:
    """Runs the detector after every epoch, and warns, stops or rolls back when training collapses.

    Attributes:
        rolled_back: whether the last epoch ended in a rollback, and no step has followed.
        last_good_epoch: the epoch after which the state was good that a rollback restores; 0 for the state before training.

    Args:
        context: the run's context, with its `on_collapse` and `on_nan`.
        pairs: the pairs by role. Frozen pairs are not watched.
        trained: the state that a rollback restores.
    """

    def __init__(self, context: RunContext, pairs: Mapping[str, GANPair], trained: Stateful) -> None:
        self.context = context
        self.pairs = pairs
        # The loop owns the policy: a reference back would keep a finished run in memory.
        self.trained = weakref.proxy(trained)
        self.rolled_back = False
        self.last_good_epoch = 0
        self.detector = CollapseDetector(context.recipe, len(context.architecture.discriminators))
        self._last_good_state: dict[str, Any] = {}
        self._rollbacks = 0
        self._batch: Batch = {}

    def begin(self, completed: int) -> None:
        """Take the current state as good if no epoch is known to be: at the start of training, or of a resumed run.

        Args:
            completed: the epochs that are over.
        """
        if not self._last_good_state:
            self._last_good_state, self.last_good_epoch = self._current_state(), completed

    def update(self, losses: LossTree) -> None:
        """Take in the losses of a step, without synchronising with the device."""
        self.rolled_back = False
        for role in self.pairs:
            own = losses.get(role, {})
            if own.keys() >= {"G", "D_real", "D_fake"}:
                self.detector.add(role, own["G"], own["D_real"], own["D_fake"])

    def after_epoch(self, epoch: int, broken: tuple[int, Sequence[Path]]) -> dict[str, str]:
        """Act on what is wrong, and return it by role.

        Args:
            epoch: counted from 1.
            broken: the first step whose losses are not finite, and these losses; 0 and an empty list if all are finite.

        Raises:
            TrainingError: training collapsed or a loss is not finite, and the policy is to stop or there have been too many rollbacks.
        """
        number, paths = broken
        signs = _broken_signs(paths) or self._collapse_signs(epoch)
        action = self.context.config.on_nan if paths else self.context.config.on_collapse
        if not signs or action == "warn":
            return signs
        if action == "stop" or not self._last_good_state or self._rollbacks == MAX_ROLLBACKS:
            again = f", after {self._rollbacks} rollbacks" if self._rollbacks else ""
            if paths:
                raise TrainingError(not_finite(paths, number, f"epoch {epoch}{again}", self.context.execution.dtype))
            listed = "; ".join(f"{role}: {sign}" for role, sign in signs.items())
            raise TrainingError(f"training collapsed in epoch {epoch}{again}: {listed}; give a lower `lr_d=...`, or a larger `budget`")
        self._rollbacks += 1
        self.rolled_back = True
        self.trained.load_state_dict(self._last_good_state)
        self._scale_lr(ROLLBACK_LR_FACTOR)
        self.detector.reset_counters()
        return {role: f"{sign}; rolled back to the last good epoch, at half the learning rates of G and D" for role, sign in signs.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the policy's state as nested plain values and tensors, without copying."""
        return {
            "rollbacks": self._rollbacks,
            "rolled_back": self.rolled_back,
            "last_good_epoch": self.last_good_epoch,
            "last_good_state": self._last_good_state,
            "detector": self.detector.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned, on any device, and lower the learning rates as its rollbacks did."""
        state = on_device(state, self.context.device)
        self._rollbacks, self._last_good_state = state["rollbacks"], state["last_good_state"]
        # Checkpoints of earlier versions lack these two.
        self.rolled_back, self.last_good_epoch = state.get("rolled_back", False), state.get("last_good_epoch", 0)
        self.detector.load_state_dict(state["detector"])
        self._scale_lr(ROLLBACK_LR_FACTOR**self._rollbacks)

    def _scale_lr(self, factor: float) -> None:
        for pair in self.pairs.values():
            pair.scale_lr(factor)

    def _collapse_signs(self, epoch: int) -> dict[str, str]:
        diversities = {role: self._diversity(pair) for role, pair in self.pairs.items() if pair.trains}
        signs, state = self.detector.after_epoch(diversities), self._current_state()
        # The last update of an epoch can break weights that its losses do not see.
        is_good = self.detector.is_calm and _is_as_finite(state, self._last_good_state)
        # One rank decides for all, on the signs as on the state to roll back to: on another GPU the last digit may differ.
        signs, is_good = self.context.ranks.broadcast_object((signs, is_good))
        if is_good:
            self._last_good_state, self.last_good_epoch = state, epoch
        return signs

    def _current_state(self) -> dict[str, Any]:
        """Return a copy of the training state, or an empty one if no rollback can ask for it."""
        config = self.context.config
        return deepcopy(self.trained.state_dict()) if "rollback" in (config.on_collapse, config.on_nan) else {}

    def _diversity(self, pair: GANPair) -> Diversity:
        """Return the diversity of the fake images of the least diverse generator."""
        architecture, source = self.context.architecture, self.context.data.validation or self.context.data.train
        if not self._batch:
            count = min(DIVERSITY_SAMPLES, len(source))
            self._batch = load_samples(source, architecture.sample_z, evenly_spaced(count, len(source)), self.context.device)
        with evaluating_generators(pair.generators), pair.execution.autocast():
            samples = architecture.eval_samples(self._batch, architecture.generate(pair.generators, self._batch))
        return min((Diversity.of(sample.fake, sample.real) for sample in samples.values()), key=lambda diversity: diversity.between)


def _is_as_finite(state: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Return whether no tensor of a nested state has values that are not finite, unless it had some before, as a mask of -inf has.

    This synchronises with the device once.
    """
    (_, tensors), (_, earlier) = flatten_state(state), flatten_state(before)
    broken = [
        ~tensor.isfinite().all() & earlier[name].isfinite().all()
        for name, tensor in tensors.items()
        if name in earlier and tensor.is_floating_point()
    ]
    return not broken or not bool(torch.stack(broken).any())


def _broken_signs(paths: Sequence[Path]) -> dict[str, str]:
    by_role: dict[str, list[str]] = {}
    for path in paths:
        by_role.setdefault(path[0], []).append("/".join(path))
    return {role: f"{', '.join(names)} is not finite" for role, names in by_role.items()}


def _mean_difference(images: Tensor) -> Tensor:
    """Return the mean absolute difference between neighbours in a ring of images."""
    images = images.float()
    return (images - images.roll(1, 0)).abs().mean()
