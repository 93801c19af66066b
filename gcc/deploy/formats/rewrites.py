"""Layers as others that compute the same, for programs that lack the former."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn


class Cropped(nn.Module):
    """Removes the first rows and columns of features.

    Args:
        rows: number of rows.
        columns: number of columns.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H - rows, W - columns)."""
        return features[..., self.rows :, self.columns :]


def without_output_padding(network: nn.Module) -> nn.Module:
    """Return a copy without output padding in transposed convolutions.

    Output padding adds rows and columns at the end. With as much less padding, the output has them at both ends, and the first are removed.
    A layer with less padding than output padding stays as it is.
    """
    copy = deepcopy(network)
    for path, module in list(copy.named_modules()):
        if isinstance(module, nn.ConvTranspose2d) and any(module.output_padding) and not isinstance(module.padding, str):
            padding = tuple(before - after for before, after in zip(module.padding, module.output_padding, strict=True))
            if min(padding) >= 0:
                rows, columns = module.output_padding
                module.padding, module.output_padding = padding, (0, 0)
                copy.set_submodule(path, nn.Sequential(module, Cropped(rows, columns)))
    return copy
