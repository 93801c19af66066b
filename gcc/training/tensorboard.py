"""Logs a run for TensorBoard, with torch's own writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcc.errors import GccError


def require_tensorboard() -> None:
    """Refuse a run that is to log to TensorBoard without it.

    Raises:
        GccError: it is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401 - only tries the import
    except ImportError as error:
        raise GccError(f"TensorBoard cannot be imported ({error}): pip install 'gan-gcc[tensorboard]'") from error


class TensorBoard:
    """Writes scalars for TensorBoard, by phase and name.

    Args:
        folder: the folder of its files, created if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def __call__(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write the values of one step of a phase."""
        for name, value in values.items():
            self._writer.add_scalar(f"{phase}/{name}", value, step)
        self._writer.flush()
