"""Which module of a network produced each tensor, and which modules read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gcc.models.calls import arguments_of, copies


def state_key(tensor: Tensor) -> tuple[int, int]:
    """Return a key for a tensor that changes if the tensor is changed in place; it is valid as long as the tensor exists."""
    return id(tensor), 0 if tensor.is_inference() else tensor._version


class ModuleTrace:
    """The tensors that a network's modules pass to each other in one forward pass; identities are skipped.

    Operations outside of modules, such as the addition of two tensors, are not recorded. A tensor that such an operation changes in place
    counts as another tensor.

    Args:
        network: the network, which runs on `example` in its present mode, without gradients.
        example: its input, (N, ...), or a tuple of its arguments.
        whole: types of modules that are recorded as one, whatever submodules they have.

    Attributes:
        modules: the network's modules by path.
        output: what the network returned.
    """

    def __init__(self, network: nn.Module, example: Any, whole: tuple[type[nn.Module], ...] = ()) -> None:
        self.modules = dict(network.named_modules())
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}
        self._input_keys: dict[str, tuple[int, int]] = {}
        self._output_keys: dict[str, tuple[int, int]] = {}
        self._readers: dict[int, list[str]] = {}
        self._producers: dict[int, str] = {}
        handles = [
            module.register_forward_hook(self._recorder(path))
            for path, module in self.modules.items()
            if not isinstance(module, nn.Identity) and (isinstance(module, whole) or not list(module.children()))
        ]
        try:
            with torch.no_grad():
                self.output: Any = network(*copies(arguments_of(example)))
        finally:
            for handle in handles:
                handle.remove()

    def input(self, path: str) -> Tensor | None:
        """Return the first input of a module; None if the module was not recorded."""
        return self._inputs.get(path)

    def producer(self, path: str) -> str | None:
        """Return the path of the module that produced a module's input; None if there is no such module, or if others read it as well."""
        if path not in self._inputs or self._readers[id(self._inputs[path])] != [path]:
            return None
        producer = self._producers.get(id(self._inputs[path]))
        return producer if producer and self._output_keys[producer] == self._input_keys[path] else None

    def reader(self, path: str) -> str | None:
        """Return the path of the module that reads a module's output; None if it is not exactly one."""
        readers = self._readers.get(id(self._outputs[path]), []) if path in self._outputs else []
        return readers[0] if len(readers) == 1 and self._input_keys[readers[0]] == self._output_keys[path] else None

    def _recorder(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not inputs or not isinstance(inputs[0], Tensor) or not isinstance(output, Tensor):
                return
            # Tensors are stored so that no other tensor gets the same id.
            self._inputs[path], self._outputs[path] = inputs[0], output
            self._input_keys[path], self._output_keys[path] = state_key(inputs[0]), state_key(output)
            self._readers.setdefault(id(inputs[0]), []).append(path)
            self._producers[id(output)] = path

        return record
