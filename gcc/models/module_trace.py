"""Which modules of a network made each tensor, and which read it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Trace:
    """What a network's modules hand to each other in one pass; identities hand on what they are given.

    What a network does with a tensor outside of modules, such as adding it to another, leaves no trace.

    Attributes:
        modules: by path.

    Args:
        network: runs on `example` as it is, without gradients.
        example: its input, (N, ...).
        whole: modules that count as one, whatever they consist of.
    """

    def __init__(self, network: nn.Module, example: Tensor, whole: tuple[type[nn.Module], ...] = ()) -> None:
        self.modules = dict(network.named_modules())
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        self._readers: dict[int, list[str]] = {}
        self._makers: dict[int, str] = {}
        handles = [
            module.register_forward_hook(self._note(path))
            for path, module in self.modules.items()
            if not isinstance(module, nn.Identity) and (isinstance(module, whole) or not list(module.children()))
        ]
        try:
            with torch.no_grad():
                network(example)
        finally:
            for handle in handles:
                handle.remove()

    def maker(self, path: str) -> str | None:
        """Return which module made the input of a module that no other reads; none where there is no such module."""
        given = id(self._inputs[path]) if path in self._inputs else None
        return self._makers.get(given) if given is not None and self._readers[given] == [path] else None

    def reader(self, path: str) -> str | None:
        """Return the module that reads what a module makes; none where it is not a single one."""
        readers = self._readers.get(id(self._outputs[path]), []) if path in self._outputs else []
        return readers[0] if len(readers) == 1 else None

    def _note(self, path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            # Tensors are kept, so that no other one takes over an identity.
            self._inputs[path], self._outputs[path] = inputs[0], output
            self._readers.setdefault(id(inputs[0]), []).append(path)
            self._makers[id(output)] = path

        return note
