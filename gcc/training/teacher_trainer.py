"""Training a teacher by itself."""

from __future__ import annotations

from collections.abc import Iterator

from gcc.artifacts.config import Role
from gcc.models.modules import Widths
from gcc.training.measure import build_result
from gcc.training.result import Result
from gcc.training.run import Run, Step


class Trainer(Run):
    """Trains a teacher pair with Eq. 1 and 2 and the task losses; arguments are those of `Run`."""

    def steps(self) -> Iterator[Step]:
        """Train, one iteration at a time."""
        self.sides = {"teacher": self.teacher_player()}
        yield from self.pretrain("pretrain", self.recipe.pretrain_epochs, self.untrained_pairs())
        yield from self.train_pair(self.sides["teacher"], "teacher", self.recipe.epochs)

    @property
    def trained_widths(self) -> dict[Role, dict[str, Widths]]:
        return {"teacher": self.widths_at(self.recipe.ngf)}

    def result(self) -> Result:
        """Return the teacher, measured on the held-out data."""
        return build_result(self)
