"""Content Relationship Distillation (You et al. 2022): relations between the parts of an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss, unfold

from gcc.losses.adversarial import total
from gcc.models.modules import without_autocast
from gcc.registry import Batch, Distiller, GeneratorView, Networks

WEIGHT = 25.0
"""The authors' weight of each kind of part for unpaired data (github.com/TheKernelZ/CRD); for paired data it is a tenth of that."""
ANGLE_WEIGHT = 2.0
"""Weight of angles against distances (Park et al. 2019)."""
PATCH = 32
"""Height and width of a patch."""
EPSILON = 1e-6
"""The least mean distance, for images without content."""


class ContentRelations(Distiller):
    r"""Distances and angles between rows, columns and patches of the images (You et al. 2022, arXiv 2212.11091).

    The relations are those of Park et al. (2019, "Relational Knowledge Distillation"), between parts of an image instead of images:
    $25 \sum [\ell(d^S_{ij}, d^T_{ij}) + 2 \ell(\cos^S_{ijk}, \cos^T_{ijk})]$ over the three kinds of parts, with Huber's loss $\ell$
    averaged over pairs and triples, and distances d relative to their mean. The cosines of n rows take 4 n^3 bytes per image: 64 MB at
    256 pixels. The authors add the style and feature terms of `omgd`.
    """

    def losses(self, batch: Batch, student: GeneratorView, teacher: GeneratorView, auxiliary: Networks) -> dict[str, Tensor]:
        images = [(fake.float(), teacher.fake[name].float()) for name, fake in student.fake.items()]
        with without_autocast():
            return {
                f"crd_{split.__name__}": WEIGHT * total(relation_loss(split(fake), split(target)) for fake, target in images)
                for split in (rows, columns, patches)
            }


def rows(images: Tensor) -> Tensor:
    """Return the rows of images (N, C, H, W) as vectors, (N, H, C W)."""
    return images.transpose(1, 2).flatten(2)


def columns(images: Tensor) -> Tensor:
    """Return the columns of images (N, C, H, W) as vectors, (N, W, C H)."""
    return rows(images.mT)


def patches(images: Tensor) -> Tensor:
    """Return the patches of images (N, C, H, W) as vectors, (N, patches, features); they are smaller in images of less than two patches."""
    size = min(PATCH, images.shape[-2] // 2, images.shape[-1] // 2)
    return unfold(images, size, stride=size).mT


def relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return Huber's loss of the relations between parts, (N, parts, features), averaged over the batch."""
    distances, cosines = relations(student)
    with torch.no_grad():
        target_distances, target_cosines = relations(teacher)
    return smooth_l1_loss(distances, target_distances) + ANGLE_WEIGHT * smooth_l1_loss(cosines, target_cosines)


def relations(parts: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances of pairs, (N, n, n), relative to their mean, and the cosines of the angles at each part, (N, n, n, n).

    Args:
        parts: (N, n, features).
    """
    count = parts.shape[1]
    offsets = parts[:, None] - parts[:, :, None]
    distances = torch.linalg.vector_norm(offsets, dim=-1)
    mean = distances.sum((1, 2), keepdim=True) / (count * (count - 1))
    directions = normalize(offsets, dim=-1)
    return distances / mean.clamp_min(EPSILON), directions @ directions.mT
