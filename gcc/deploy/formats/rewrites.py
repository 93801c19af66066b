"""Layers as others that compute the same, for programs that lack the former."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn


class CroppedTranspose2d(nn.Module):
    """A transposed convolution without output padding.

    Output padding adds rows and columns at the end. With as much less padding, the output has them at both ends, and the first are removed.

    Args:
        layer: has at least as much padding as output padding; it is changed.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.rows, self.columns = layer.output_padding
        rows, columns = _padding(layer)
        layer.padding, layer.output_padding = (rows - self.rows, columns - self.columns), (0, 0)
        self.layer = layer

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) as the layer did."""
        image: Tensor = self.layer(features)
        return image[..., self.rows :, self.columns :]


def without_output_padding(network: nn.Module) -> nn.Module:
    """Return a copy without output padding in transposed convolutions; a layer with more of it than padding stays as it is."""
    copy = nn.Sequential(deepcopy(network))
    replaced: dict[nn.Module, nn.Module] = {}
    for path, module in list(copy.named_modules(remove_duplicate=False)):
        if isinstance(module, nn.ConvTranspose2d) and (module in replaced or _can_crop(module)):
            replaced[module] = replaced.get(module) or CroppedTranspose2d(module)
            copy.set_submodule(path, replaced[module])
    return copy


def _can_crop(layer: nn.ConvTranspose2d) -> bool:
    enough = all(before >= after for before, after in zip(_padding(layer), layer.output_padding, strict=True))
    return enough and any(layer.output_padding)


def _padding(layer: nn.ConvTranspose2d) -> tuple[int, int]:
    """Return the rows and columns of padding; transposed convolutions take no other kind."""
    assert not isinstance(layer.padding, str)
    rows, columns = layer.padding
    return rows, columns
