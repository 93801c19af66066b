"""The features of Real-ESRGAN's perceptual loss (Wang et al. 2021, section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcc.models.vgg import VGGFeatures

STAGE_WEIGHTS = (0.1, 0.1, 1.0, 1.0, 1.0)
"""Weights of the stages in the loss."""


class StageFeatures(nn.Module):
    """The output of the last convolution of each stage of a VGG, before its activation; in VGG19, layers 1-2, 2-2, 3-4, 4-4 and 5-4.

    The mean absolute difference of two outputs is the sum of the stages' mean absolute differences, weighted with `STAGE_WEIGHTS`.

    Args:
        vgg: the trained network.
    """

    def __init__(self, vgg: VGGFeatures) -> None:
        super().__init__()
        self.vgg = vgg
        layers = list(vgg.features)
        pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        # A stage ends with a convolution, its activation, and the next stage's pooling.
        self.ends = [end - 2 for end in (*pools, len(layers))]

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1] to the weighted features of all stages, (N, M)."""
        features = ((image + 1) / 2 - self.vgg.mean) / self.vgg.deviation
        stages = []
        for index, layer in enumerate(self.vgg.features[: self.ends[-1] + 1]):
            features = layer(features)
            if index in self.ends:
                stages.append(features.flatten(1))
        total = sum(stage.shape[1] for stage in stages)
        return torch.cat([weight * total / stage.shape[1] * stage for weight, stage in zip(STAGE_WEIGHTS, stages, strict=True)], 1)
