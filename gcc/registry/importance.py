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
    """Scores the importance of a generator's channels."""

    renamed = {"batches": "gradient_batches", "sparsified": "regularized_parameters", "strength": "l1_strength"}

    l1_strength: ClassVar[float]
    """Default strength of the first step's L1 subgradient on `regularized_parameters`."""
    gradient_batches: ClassVar[int] = 0
    """Batches of training data whose gradients the score reads; 0 if it reads no gradients.

    `score` is called once for each batch, with the gradients of the generators' losses on that batch (Eq. 1 and the task losses) as `grad`
    of the parameters, and the scores are averaged.
    """

    @abc.abstractmethod
    def score(self, network: nn.Module, group: Group) -> Tensor | None:
        """Return the importance of the group's channels, (channels,); larger is more important.

        None means that this metric cannot score the group, which then keeps its full width.
        """

    @abc.abstractmethod
    def regularized_parameters(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the parameters that the first step drives towards zero, so that scores become distinct.

        Of a layer under spectral norm or weight norm, name the stored tensor: the effective weight is driven towards zero.
        """
