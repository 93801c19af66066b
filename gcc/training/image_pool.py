"""A pool of earlier fake images (Shrivastava et al. 2017; CycleGAN)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Stores fake images, so that a discriminator also trains on the output of earlier generators.

    Until the pool is full, every image is stored and returned. After that, half of the time a stored image is returned and the new one
    replaces it; otherwise the new one is returned. The device draws these exchanges from torch's global generator, so the host never waits
    for it, and a CUDA graph can contain them.

    Args:
        capacity: the largest number of stored images. With 0, every image is returned as it is.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._state: dict[str, Tensor] = {}
        """The memory for `images`, (capacity, C, H, W), and the `count` of those that are stored; empty before the first query."""

    @torch.no_grad()
    def query(self, images: Tensor) -> Tensor:
        """Return the images (N, C, H, W), which have no graph, some of them replaced by stored ones."""
        return torch.cat([self._exchange(image) for image in torch.split(images, 1)]) if self.capacity else images

    def state_dict(self) -> dict[str, Tensor]:
        """Return references to the memory for images and to the number of those that are stored; nothing before the first query."""
        return self._state

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Load a copy of what `state_dict` returned, with the images on the device."""
        self._state = {name: tensor.to(device, copy=True) for name, tensor in state.items()}

    def _exchange(self, image: Tensor) -> Tensor:
        if not self._state:
            count = torch.zeros((), dtype=torch.int64, device=image.device)
            self._state = {"images": image.new_zeros(self.capacity, *image.shape[1:]), "count": count}
        images, count = self._state["images"], self._state["count"]
        stores = count < self.capacity
        exchanges, index = torch.rand((), device=image.device) < 0.5, torch.randint(self.capacity, (1,), device=image.device)
        slot = torch.where(stores, count, index)
        stored = images.index_select(0, slot)
        images.index_copy_(0, slot, torch.where(stores | exchanges, image.to(images.dtype), stored))
        count += stores
        # A resumed run may have another precision.
        return torch.where(exchanges & ~stores, stored.to(image.dtype), image)
