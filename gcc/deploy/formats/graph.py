"""Torch's graph of a generator, and generators that other programs run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gcc.models.calls import by_argument
from gcc.models.data_access import DataAccess, keep
from gcc.registry.runtime import Inputs

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class CallableModule(nn.Module):
    """A generator that another program runs: maps (N, ...) to (N, C, H, W).

    Args:
        run: maps inputs to images.
    """

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, inputs: Tensor) -> Tensor:
        """Run on inputs (N, ...)."""
        return self.run(inputs)


def contiguous(network: nn.Module) -> nn.Module:
    """Return a copy whose weights are contiguous. With channels last, torch's graph would exclude batches of one."""
    return deepcopy(network).to(memory_format=torch.contiguous_format)


@contextmanager
def ignore_torch_deprecations() -> Iterator[None]:
    """Ignore a warning of torch 2.11 about a function that it uses itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        yield


def decomposed_graph(network: nn.Module, inputs: Inputs) -> ExportedProgram:
    """Return torch's graph of a network for these inputs, in fewer kinds of operators."""
    with ignore_torch_deprecations():
        program: ExportedProgram = export_graph(network, inputs).run_decompositions({})
    return program


def export_graph(network: nn.Module, inputs: Inputs) -> ExportedProgram:
    """Return torch's graph of a network for these inputs."""
    # Slow to import.
    from torch.export import Dim
    from torch.fx.experimental import _config

    shape, dynamic = inputs.shape, {} if inputs.one_sample else {0: Dim("batch")}
    if inputs.step is not None:
        # Two steps: torch would specialise on a size that becomes 1 inside the network.
        _, height, width = inputs.shape
        shape = inputs.shape_at(width + inputs.step, height + inputs.step)
        for dim, name in ((2, "rows"), (3, "columns")):
            dynamic[dim] = inputs.step * Dim(name, min=inputs.min_size // inputs.step)
    plain, example = contiguous(network), torch.zeros(1 if inputs.one_sample else 2, *shape)
    shapes = by_argument(plain, (dynamic,)) if dynamic else None
    # A U-Net may be one pixel high inside; by default torch would exclude such sizes.
    with _config.patch(backed_size_oblivious=True), torch.no_grad(), warnings.catch_warnings():  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", "The tensor attribute")
        # Code that merges its convolutions into one in each pass has written the merged weights after the first.
        plain(example)
        with DataAccess(write=keep):
            return torch.export.export(plain, (example,), dynamic_shapes=shapes)
