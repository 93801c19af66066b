"""Trains a teacher by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from gcc.artifacts.config import Role
from gcc.artifacts.metrics_log import Phase
from gcc.data.torch_datasets import UserData
from gcc.errors import GccError
from gcc.models.modules import Widths
from gcc.training import plan
from gcc.training.build_pairs import teacher_pair
from gcc.training.context import RunContext
from gcc.training.loop import TrainingLoop
from gcc.training.options import RunOptions, shows_options
from gcc.training.stages import adversarial_stage, pretraining_stages
from gcc.training.step import Stage
from gcc.training.teacher import Teacher
from gcc.training.teacher_networks import Own

TRAINS = {"train_teacher": True}
"""A generator of the user's own stays as it is only while a student is trained."""


class Trainer(TrainingLoop):
    """Trains a teacher pair with Eq. 1 and 2 and the task losses.

    Args:
        teacher: the architecture, its recipe, and pretrained weights if it has any. Leave it out if you give `generator` and `task`.
        data: folder of the training images, or a `torch.utils.data.Dataset` or `DataLoader`, or these by split (`train`, `val`, `test`).
            None means the architecture's demo data and demo recipe.
        options: the options of `RunConfig`, and recipe fields.

    Raises:
        GccError: an option, the recipe, the device, a plugin or the data cannot be used.
    """

    @shows_options
    def __init__(self, teacher: Teacher | None = None, data: str | Path | UserData | None = None, **options: Unpack[RunOptions]) -> None:
        if options.get("widths") is not None or options.get("student") is not None:
            raise GccError("a teacher has the widths of its recipe: leave out widths and student, or use Compressor")
        super().__init__(RunContext.of(teacher, data, TRAINS | options if _is_own(teacher, options) else options))
        if not self.recipe.train_teacher:
            raise GccError(
                "train_teacher = false leaves nothing to train here: give `train_teacher=True`, or use Compressor (gcc compress)"
            )

    def stages(self) -> Iterator[Stage]:
        teacher = teacher_pair(self.context)
        self.pairs = {"teacher": teacher}
        new = {} if self.context.teacher.is_trained else self.pairs
        yield from pretraining_stages(Phase.PRETRAIN, new, self.recipe.pretrain_epochs)
        yield adversarial_stage(Phase.TEACHER, teacher, self.recipe.epochs, self.recipe.steps)

    def stage_lengths(self) -> list[str]:
        return plan.teacher_lengths(self.recipe, pretrains=not self.context.teacher.is_trained)

    @property
    def result_widths(self) -> dict[Role, dict[str, Widths]]:
        return {"teacher": self.context.full_widths(self.recipe.ngf)}


def _is_own(teacher: Teacher | None, options: Mapping[str, Any]) -> bool:
    """Return whether a run trains networks that the user brings."""
    return isinstance(teacher.networks, Own) if isinstance(teacher, Teacher) else isinstance(options.get("generator"), nn.Module)
