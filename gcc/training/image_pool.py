"""Made images of the past (Shrivastava et al. 2017; CycleGAN)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Keeps made images, so that a discriminator does not forget what earlier generators made.

    Until the pool is full each image is stored and returned. Then, half the time, a stored image is returned and the new one takes its
    place; else the new one is returned.

    Args:
        capacity: the most images that are kept; 0 returns every image as it is.
        seed: of the exchanges.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self.images: list[Tensor] = []
        self._random = random.Random(seed)

    def query(self, images: Tensor) -> Tensor:
        """Take in images (N, C, H, W) without a graph, and return as many."""
        return torch.stack([self._exchanged(image) for image in images]) if self.capacity else images

    def state_dict(self) -> dict[str, Any]:
        """Return what the pool holds and how it will exchange; no copy."""
        version, numbers, gauss = self._random.getstate()
        return {"images": list(self.images), "random": [version, list(numbers), gauss]}

    def load_state_dict(self, memory: Mapping[str, Any], device: torch.device) -> None:
        """Take up a copy of what `state_dict` returned, with its images on the device."""
        version, numbers, gauss = memory["random"]
        self.images = [image.to(device, copy=True) for image in memory["images"]]
        self._random.setstate((version, tuple(numbers), gauss))

    def _exchanged(self, image: Tensor) -> Tensor:
        if len(self.images) < self.capacity:
            # Not a view, which would keep its whole batch.
            self.images.append(image.clone())
            return image
        if self._random.random() < 0.5:
            return image
        place = self._random.randrange(self.capacity)
        stored, self.images[place] = self.images[place], image.clone()
        return stored
