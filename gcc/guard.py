"""What happens when the game collapses: a warning, a stop, or another try from where it was sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

from gcc.errors import TrainingError
from gcc.evaluation.held_out import sampling, shown, spread
from gcc.player import Losses, Player
from gcc.registry import Architecture, Batch, SampleSource
from gcc.training.anomaly import not_finite
from gcc.training.ranks import ALONE, Ranks
from gcc.training.sentinel import Sentinel, Variety

OnCollapse = Literal["warn", "stop", "rollback"]
OnNan = Literal["stop", "rollback"]
WATCHED = 16
"""Held-out samples whose variety is watched."""
ROLLBACKS = 3
"""Times that a collapsed game is taken up again from where it was sound."""
SLOWER = 0.5
"""Factor on the learning rates then."""


class Guard:
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
        held_out: SampleSource,
        on_collapse: OnCollapse,
        on_nan: OnNan,
        memory: Callable[[], dict[str, Any]],
        recall: Callable[[Mapping[str, Any]], None],
        ranks: Ranks = ALONE,
    ) -> None:
        self.architecture = architecture
        self.held_out = held_out
        self.on_collapse = on_collapse
        self.on_nan = on_nan
        self.rolled_back = False
        self.sentinel = Sentinel(architecture.recipe, len(architecture.discriminators))
        self._memory, self._recall = memory, recall
        self._ranks = ranks
        self._sound: dict[str, Any] = {}
        self._rollbacks = 0
        self._batch: Batch = {}

    def begin(self) -> None:
        """Hold the present to be sound where no epoch is known to be: the start of the game, or of a resumed one."""
        self._sound = self._sound or self._present()

    def see(self, sides: Mapping[str, Player], losses: Losses) -> None:
        """Take in the losses of an iteration, without waiting for the device."""
        for side in sides:
            terms = [f"{side}/{term}" for term in ("G", "D_real", "D_fake")]
            if losses.keys() >= set(terms):
                self.sentinel.add(side, *(losses[term] for term in terms))

    def after_epoch(self, epoch: int, sides: Mapping[str, Player], broken: tuple[int, Sequence[str]]) -> dict[str, str]:
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
        if answer == "stop" or not self._sound or self._rollbacks == ROLLBACKS:
            again = f", after {self._rollbacks} rollbacks" if self._rollbacks else ""
            if names:
                raise TrainingError(not_finite(names, number, f"epoch {epoch}{again}"))
            told = "; ".join(f"{side}: {sign}" for side, sign in signs.items())
            raise TrainingError(f"the game has collapsed in epoch {epoch}{again}: {told}; lower lr_d with --set, or raise --budget")
        self._rollbacks += 1
        self.rolled_back = True
        self._recall(self._sound)
        for player in sides.values():
            player.slow_down(SLOWER)
        self.sentinel.take_up()
        return {side: f"{sign}; back to the last sound epoch, at half the learning rates" for side, sign in signs.items()}

    def memory(self) -> dict[str, Any]:
        """Return all that the guard remembers, as nested plain values and tensors; no copy."""
        return {"rollbacks": self._rollbacks, "sound": self._sound, "sentinel": self.sentinel.memory()}

    def recall(self, memory: Mapping[str, Any], sides: Mapping[str, Player]) -> None:
        """Take up what `memory` returned: after rollbacks the players go on slower, too."""
        self._rollbacks, self._sound = memory["rollbacks"], memory["sound"]
        self.sentinel.recall(memory["sentinel"])
        for player in sides.values():
            player.slow_down(SLOWER**self._rollbacks)

    @staticmethod
    def _broken(losses: Sequence[str]) -> dict[str, str]:
        by_side: dict[str, list[str]] = {}
        for name in losses:
            by_side.setdefault(name.partition("/")[0], []).append(name)
        return {side: f"{', '.join(names)} is not finite" for side, names in by_side.items()}

    def _collapsed(self, sides: Mapping[str, Player]) -> dict[str, str]:
        varieties = {side: self._variety(player) for side, player in sides.items() if player.moves}
        # Of several processes one decides: another GPU may see its images differ in the last digit.
        signs = self._ranks.agreed(self.sentinel.after_epoch(varieties))
        if self.sentinel.is_calm:
            self._sound = self._present()
        return signs

    def _present(self) -> dict[str, Any]:
        """Return a copy of what training has changed by now, if a rollback may ask for it."""
        return deepcopy(self._memory()) if "rollback" in (self.on_collapse, self.on_nan) else {}

    def _variety(self, player: Player) -> Variety:
        """Return the variety of the images that the least varied generator makes."""
        if not self._batch:
            count = min(WATCHED, len(self.held_out))
            self._batch = shown(self.held_out, spread(count, len(self.held_out)), player.execution.device)
        with sampling(player.generators), player.execution.autocast():
            judged = self.architecture.judged(self._batch, self.architecture.generate(player.generators, self._batch))
        return min((Variety.of(each.made, each.real) for each in judged.values()), key=lambda variety: variety.between)
