"""Content Relationship Distillation (You et al. 2022): relations between the parts of an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss, unfold

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
RESOLUTION = 1e-9
"""Parts whose squared distance is at most this share of their squared lengths are equal: float32 hardly tells them apart."""


class ContentRelations(Distiller):
    r"""Distances and angles between rows, columns and patches of the images (You et al. 2022, arXiv 2212.11091).

    The relations are those of Park et al. (2019, "Relational Knowledge Distillation"), between parts of an image instead of images:
    $25 \sum [\ell(d^S_{ij}, d^T_{ij}) + 2 \ell(\cos^S_{ijk}, \cos^T_{ijk})]$ over the three kinds of parts, with Huber's loss $\ell$
    averaged over pairs and triples, and distances d relative to their mean. The cosines of n rows take 4 n^3 bytes per image, and the
    backward pass needs three such tensors for rows and three for columns: 3 x 67 MB each at 256 pixels. The authors add the style and
    feature terms of `omgd`.
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
    distances = relative_distances(parts)
    return distances, cosines(distances)


def relative_distances(parts: Tensor) -> Tensor:
    """Return the distances of pairs, (N, n, n), relative to their mean, from the Gram matrix of the parts, (N, n, features).

    The squares of close parts are small differences of large numbers, so they are computed in float64.
    """
    count = parts.shape[1]
    wide = parts.double()
    centred = wide - wide.mean(1, keepdim=True)
    gram = centred @ centred.mT
    norms = gram.diagonal(dim1=1, dim2=2)
    sums = norms[:, :, None] + norms[:, None]
    squares = sums - 2 * gram
    # The root has no gradient at 0.
    are_equal = squares <= RESOLUTION * sums.clamp_min(EPSILON**2)
    distances = squares.masked_fill(are_equal, 1).sqrt().masked_fill(are_equal, 0)
    mean = distances.sum((1, 2), keepdim=True) / (count * (count - 1))
    return (distances / mean.clamp_min(EPSILON)).to(parts.dtype)


def cosines(distances: Tensor) -> Tensor:
    """Return the cosines of the angles between the ways from part i to parts j and k, (N, n, n, n), by the law of cosines.

    An angle at a part that equals one of the others has cosine 0, without gradient.

    Args:
        distances: (N, n, n), of any scale.
    """
    are_equal = distances == 0
    inverses = distances.masked_fill(are_equal, 1).reciprocal().masked_fill(are_equal, 0)
    # (d_ij^2 + d_ik^2 - d_jk^2) / (2 d_ij d_ik), in an order that keeps one tensor of triples for the backward pass.
    ratios = distances[:, :, :, None] * inverses[:, :, None]
    opposite = distances.square()[:, None] * inverses[:, :, :, None] * inverses[:, :, None]
    return (ratios + ratios.mT - opposite) / 2
