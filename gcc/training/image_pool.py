"""A pool of earlier fake images (Shrivastava et al. 2017; CycleGAN)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Stores fake images, so that a discriminator also trains on the output of earlier generators.

    Until the pool is full, every image is stored and returned. After that, half of the time a stored image is returned and the new one
    replaces it; otherwise the new one is returned.

    Args:
        capacity: the largest number of stored images. With 0, every image is returned as it is.
        seed: the seed of the exchanges.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self.images: list[Tensor] = []
        self._random = random.Random(seed)

    def query(self, images: Tensor) -> Tensor:
        """Return the images (N, C, H, W), which have no graph, some of them replaced by stored ones."""
        return torch.stack([self._exchange(image) for image in images]) if self.capacity else images

    def state_dict(self) -> dict[str, Any]:
        """Return references to the stored images, and the state of the random generator."""
        version, numbers, gauss = self._random.getstate()
        return {"images": list(self.images), "random": [version, list(numbers), gauss]}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Load a copy of what `state_dict` returned, with the images on the device."""
        version, numbers, gauss = state["random"]
        self.images = [image.to(device, copy=True) for image in state["images"]]
        self._random.setstate((version, tuple(numbers), gauss))

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self.images) < self.capacity:
            # A view would keep the whole batch in memory.
            self.images.append(image.clone())
            return image
        if self._random.random() < 0.5:
            return image
        index = self._random.randrange(self.capacity)
        stored, self.images[index] = self.images[index], image.clone()
        # A resumed run may have another precision.
        return stored.to(image.dtype)
