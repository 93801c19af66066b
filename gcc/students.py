"""Student pairs that lack a part of the method, for ablations (Li et al. 2021, Table III)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gcc.losses.adversarial import total
from gcc.losses.coordination import Target
from gcc.networks import build_discriminators
from gcc.player import Losses, Made, Student, Verdict
from gcc.registry import Architecture


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
