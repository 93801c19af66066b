"""The features of a classifier that a perceptual loss compares (Johnson et al. 2016; Ledig et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gcc.utils.weights import Weights, matched

CHANNELS = (64, 128, 256, 512, 512)
DEPTHS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
"""Convolutions in each of the five stages, between which the size is halved."""
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet's colours in [0, 1]."""


class VGGFeatures(nn.Module):
    """The convolutions of a VGG (Simonyan & Zisserman 2015), up to and with the last ReLU; layer names are torchvision's.

    For VGG19 that gives the layer 5-4.

    Args:
        depths: convolutions in each stage.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, depths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for stage, (width, depth) in enumerate(zip(CHANNELS, depths, strict=True)):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for _ in range(depth):
                layers += [nn.Conv2d(before, width, 3, 1, 1), nn.ReLU()]
                before = width
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1] to features (N, 512, H/16, W/16)."""
        features: Tensor = self.features(((image + 1) / 2 - self.mean) / self.deviation)
        return features


def load_vgg(name: str, weights: Weights, otherwise: str) -> VGGFeatures:
    """Return a VGG with trained weights: a state dict of torchvision's, as `.pth` or `.safetensors`.

    Args:
        name: `vgg19` or `vgg16`.
        weights: where they are found.
        otherwise: how to do without, to be told where there are none.

    Raises:
        GccError: there are no weights.
        ArtifactError: the file is no VGG's.
    """
    path = weights.find(name, f"{name}-*.pth", f"torchvision fetches them (torchvision.models.{name}(weights='DEFAULT')); {otherwise}")
    with torch.random.fork_rng(devices=[]):
        network = VGGFeatures(DEPTHS[name])
    network.load_state_dict(matched(path, network.state_dict(), f"{name} of torchvision", beside="classifier."))
    return network
