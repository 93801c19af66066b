"""How often code reads each tensor, inside modules and outside of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from gcc.models.calls import tensors_in


class TensorReads(TorchFunctionMode):
    """Counts, as a context, the functions of torch that get a tensor and compute others.

    Functions that return a size or another property are not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[int] = Counter()
        # Tensors are stored so that no other tensor gets the same id.
        self._tensors: list[Tensor] = []

    def are_single(self, tensors: Iterable[Tensor | None]) -> bool:
        """Return whether each of the tensors is read exactly once; None is left out."""
        return all(self._counts[id(tensor)] == 1 for tensor in tensors if tensor is not None)

    def count(self, tensors: Sequence[Tensor]) -> None:
        """Count one more read of each of the tensors, such as those that a network returns."""
        self._tensors += tensors
        self._counts.update({id(tensor) for tensor in tensors})

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type[Any]], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        read = tensors_in([args, kwargs])
        output = func(*args, **(kwargs or {}))
        if tensors_in(output):
            self.count(read)
        return output
