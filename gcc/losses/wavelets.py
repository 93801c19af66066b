"""Wavelet distillation of high-frequency bands (Zhang et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from gcc.losses.adversarial import total
from gcc.registry import Batch, Distiller, GeneratorView, Networks

LEVELS = 4
ALPHA = 0.4
"""The authors' weight for horse2zebra with this basis and these levels (github.com/ArchipLab-LinfengZhang/wkd-datasets, `run.sh`)."""


class Wavelets(Distiller):
    r"""L1 distance of the images' high-frequency wavelet bands (Zhang et al. 2022, arXiv 2203.06321).

    $\alpha \sum_j \lVert \Psi^H_j(G^S(z)) - \Psi^H_j(G^T(z)) \rVert_1$, each norm a mean, over the four levels j of a Haar transform.
    """

    def losses(self, batch: Batch, student: GeneratorView, teacher: GeneratorView, auxiliary: Networks) -> dict[str, Tensor]:
        # The transform is linear.
        differences = (fake.float() - teacher.fake[name].float() for name, fake in student.fake.items())
        return {"wavelets": ALPHA * total(bands.abs().mean() for images in differences for bands in high_bands(images))}


def high_bands(images: Tensor) -> Iterator[Tensor]:
    """Yield the three high-frequency bands of each level of the orthonormal Haar transform, (3, N, C, H / 2, W / 2) at the first one.

    Odd sizes are padded with zeros.

    Args:
        images: (N, C, H, W).
    """
    for _ in range(LEVELS):
        images = pad(images, (0, images.shape[-1] % 2, 0, images.shape[-2] % 2))
        a, b, c, d = (images[..., row::2, column::2] for row in (0, 1) for column in (0, 1))
        yield torch.stack([a + b - c - d, a - b + c - d, a - b - c + d]) / 2
        images = (a + b + c + d) / 2
