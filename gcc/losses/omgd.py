"""Output-level distillation of Online Multi-Granularity Distillation (Ren et al. 2021)."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, pad

from gcc.losses.adversarial import total
from gcc.losses.distillation import gram
from gcc.losses.ssim import WINDOW, structural_similarity
from gcc.models.channels import as_rgb
from gcc.models.modules import without_autocast
from gcc.models.vgg import VGGFeatures, load_vgg
from gcc.registry import Batch, Distiller, GeneratorView, Networks
from gcc.utils.weights import Weights

WEIGHTS = {"SSIM": 10.0, "style": 1e4, "feature": 10.0, "TV": 1e-5}
"""The authors' weights (github.com/bytedance/OMGD, `--AGD_weights`)."""
STAGES = 4
FEATURE_STAGE = 1


class StageFeatures(nn.Module):
    """The last ReLU of each of the first four stages of a VGG: in VGG16, layers 1-2, 2-2, 3-3 and 4-3.

    Colours in [0, 1] are not normalised by ImageNet's statistics, as the authors' weights presuppose.

    Args:
        vgg: the trained network.
    """

    def __init__(self, vgg: VGGFeatures) -> None:
        super().__init__()
        pools = [number for number, layer in enumerate(vgg.features) if isinstance(layer, nn.MaxPool2d)]
        self.stages = nn.ModuleList(vgg.features[start:end] for start, end in pairwise((0, *pools[:STAGES])))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, 3, H, W) in [-1, 1] to the features of each stage, (N, C, H / 2^stage, W / 2^stage)."""
        features = [(images + 1) / 2]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return tuple(features[1:])


class OMGD(Distiller):
    r"""Structure, style and features of the teacher's images (Ren et al. 2021, arXiv 2108.06908, output level, one teacher).

    $10 (1 - \mathrm{SSIM}) + 10^4 L_{style} + 10 L_{feature} + 10^{-5} L_{TV}$ of the images of student and teacher, where $L_{style}$
    and $L_{feature}$ are those of Johnson et al. (2016), with L1 distances, on features of VGG16.
    """

    vgg: ClassVar[str] = "vgg16"

    def build_auxiliary(self, weights: Weights) -> dict[str, nn.Module]:
        return {"vgg": StageFeatures(load_vgg(self.vgg, weights, "or leave omgd out of the distillers"))}

    def losses(self, batch: Batch, student: GeneratorView, teacher: GeneratorView, auxiliary: Networks) -> dict[str, Tensor]:
        terms = [output_terms(fake, teacher.fake[name], auxiliary["vgg"]) for name, fake in student.fake.items()]
        return {f"omgd_{term}": weight * total(of_generator[term] for of_generator in terms) for term, weight in WEIGHTS.items()}


class OMGDVGG19(OMGD):
    """The same as `omgd`, on features of VGG19."""

    vgg = "vgg19"


def output_terms(student: Tensor, teacher: Tensor, vgg: nn.Module) -> dict[str, Tensor]:
    """Return the terms by name, without their weights, each a mean over the batch in float32.

    Args:
        student: the student's images, (N, C, H, W) in [-1, 1].
        teacher: the teacher's images.
        vgg: returns the features of each stage.
    """
    features = vgg(as_rgb(student))
    with torch.no_grad():
        targets = vgg(as_rgb(teacher))
    with without_autocast():
        return {
            "SSIM": 1 - similarity(student, teacher),
            "style": total(map(style, features, targets)),
            "feature": l1_loss(features[FEATURE_STAGE].float(), targets[FEATURE_STAGE].float()),
            "TV": total_variation(student),
        }


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the SSIM of images as the authors compute it: of values in [-1, 1] as if their peak were 1, with zeros around the image."""
    fake, real = (pad(images.double(), [WINDOW // 2] * 4) for images in (student, teacher))
    return structural_similarity(fake, real, peak=1).mean().float()


def style(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean absolute difference of Gram matrices, `sum over positions of x_i x_j / (c h w)`, for features (N, c, h, w)."""
    return l1_loss(gram(student), gram(teacher)) / student.shape[1]


def total_variation(images: Tensor) -> Tensor:
    """Return the sum of absolute differences of neighbouring pixels, averaged over images (N, C, H, W)."""
    images = images.float()
    return (images.diff(dim=-1).abs().sum() + images.diff(dim=-2).abs().sum()) / len(images)
