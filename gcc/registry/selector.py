"""The contract of a distillation-layer selector."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


class LayerSelector(abc.ABC):
    """Selects the layers of a network that are distilled."""

    @abc.abstractmethod
    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        """Return module paths of `network`, which runs on `example`; `published` is the family's row of Table II for it."""
