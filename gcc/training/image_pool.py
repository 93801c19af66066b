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
        self._storage: Tensor | None = None
        self._count = torch.zeros((), dtype=torch.int64)
        """The number of stored images, on the device of the images."""

    @property
    def images(self) -> Tensor:
        """The stored images, (n, C, H, W) with n up to the capacity. Reading them synchronises with the device."""
        return torch.zeros(0) if self._storage is None else self._storage[: int(self._count)]

    @torch.no_grad()
    def query(self, images: Tensor) -> Tensor:
        """Return the images (N, C, H, W), which have no graph, some of them replaced by stored ones."""
        return torch.cat([self._exchange(image) for image in torch.split(images, 1)]) if self.capacity else images

    def state_dict(self) -> dict[str, Any]:
        """Return references to the stored images and their number; empty before the first query."""
        return {} if self._storage is None else {"images": self._storage, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Load a copy of what `state_dict` returned, with the images on the device."""
        self._storage = state["images"].to(device, copy=True) if state else None
        self._count = state["count"].to(device, copy=True) if state else self._count

    def _exchange(self, image: Tensor) -> Tensor:
        if self._storage is None:
            self._storage = image.new_zeros(self.capacity, *image.shape[1:])
            self._count = torch.zeros((), dtype=torch.int64, device=image.device)
        storage = self._storage
        stores = self._count < self.capacity
        exchanges, index = torch.rand((), device=image.device) < 0.5, torch.randint(self.capacity, (1,), device=image.device)
        slot = torch.where(stores, self._count, index)
        stored = storage.index_select(0, slot)
        storage.index_copy_(0, slot, torch.where(stores | exchanges, image.to(storage.dtype), stored))
        self._count += stores
        # A resumed run may have another precision.
        return torch.where(exchanges & ~stores, stored.to(image.dtype), image)
