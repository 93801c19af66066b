"""What code reads and writes by `Tensor.data`, which torch.export does not see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

DATA: Any = Tensor.data


def keep(tensor: Tensor, value: Tensor) -> None:
    """Keep a tensor as it is."""


class DataAccess(TorchFunctionMode):
    """Returns a detached tensor where code reads `tensor.data`, and calls a function where it writes a tensor of the same shape there.

    Args:
        write: called with the tensor and its new value.
    """

    def __init__(self, write: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.write = write

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type[Any]], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func == DATA.__get__:
            return args[0].detach()
        if func == DATA.__set__ and args[0].shape == args[1].shape:
            self.write(*args)
            return None
        return func(*args, **(kwargs or {}))
