"""The record of a run for TensorBoard, by torch's own writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcc.errors import GccError


def require_tensorboard() -> None:
    """Refuse to go on without TensorBoard.

    Raises:
        GccError: it is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401 - whether it can be
    except ImportError as error:
        raise GccError(f"--tensorboard needs TensorBoard ({error}): pip install 'gan-gcc[tensorboard]'") from error


class TensorBoard:
    """Writes scalars as TensorBoard reads them, by phase and name.

    Args:
        folder: for its files; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def __call__(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write the values after an iteration of a phase."""
        for name, value in values.items():
            self._writer.add_scalar(f"{phase}/{name}", value, step)
        self._writer.flush()
