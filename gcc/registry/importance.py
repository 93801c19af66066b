"""The contract of an importance metric."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from gcc.registry.renamed import AcceptsOldNames
from gcc.registry.types import Group

if TYPE_CHECKING:
    from torch import Tensor, nn


class ImportanceMetric(AcceptsOldNames, abc.ABC):
    """How much a generator's channels matter."""

    renamed = {"batches": "gradient_batches", "sparsified": "regularized_parameters", "strength": "l1_strength"}

    l1_strength: ClassVar[float]
    """Default strength of the first step's L1 subgradient on what `regularized_parameters` returns."""
    gradient_batches: ClassVar[int] = 0
    """Batches of training data whose gradients the score reads; at 0 it reads none.

    `score` is then called once for each, with the gradient of the generators' losses on that batch (Eq. 1 and the family's own) as `grad`
    of the parameters, and its mean counts.
    """

    @abc.abstractmethod
    def score(self, network: nn.Module, group: Group) -> Tensor | None:
        """Return the importance of the group's channels, (channels,), larger is kept; none if this metric cannot tell.

        A group with no score keeps its full width.
        """

    @abc.abstractmethod
    def regularized_parameters(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the parameters that the first step drives towards zero, so that the score tells."""
