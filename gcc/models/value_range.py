"""Networks whose images are in another range than [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from gcc.errors import GccError, RecipeError
from gcc.recipe import parse_range

ValueRange = tuple[float, float]
"""The values that mean black and white."""
LARGEST = 1e9
USUAL: ValueRange = (-1.0, 1.0)


class InRange(nn.Module):
    """Lets a network take and return images in [-1, 1] whose own images are in another range.

    Args:
        network: maps images in `value_range` to images in `value_range`.
        value_range: the values that mean black and white to the network.
    """

    def __init__(self, network: nn.Module, value_range: ValueRange) -> None:
        super().__init__()
        self.network = network
        self.low, self.high = value_range

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, C, H, W) in [-1, 1] to the network's output in [-1, 1]."""
        return self.to_usual(self.network((image + 1) * ((self.high - self.low) / 2) + self.low))

    def to_usual(self, image: Tensor) -> Tensor:
        """Return an image in the network's range as one in [-1, 1]."""
        return (image - self.low) * (2 / (self.high - self.low)) - 1


class OutputInRange(InRange):
    """Lets a network that takes noise return images in [-1, 1]."""

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise, (N, ...), to the network's output, (N, C, H, W), in [-1, 1]."""
        return self.to_usual(self.network(noise))


def require_range(value_range: str | Sequence[float]) -> ValueRange:
    """Return the range that a text, such as "0..1", or two numbers state, if its white is above its black.

    Raises:
        GccError: it is not a range.
    """
    try:
        low, high = parse_range(value_range)
    except RecipeError:
        low = high = 0.0
    if not -LARGEST <= low < high <= LARGEST:
        raise GccError(f"value_range = {value_range!r}: expected the values of black and white, the lower first, such as 0..1")
    return low, high
