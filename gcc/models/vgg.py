"""The classifier whose features a perceptual loss compares (Johnson et al. 2016; Ledig et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from gcc.utils.weights import Weights, read_matching

CHANNELS = (64, 128, 256, 512, 512)
DEPTHS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
"""Number of convolutions in each of the five stages; the size is halved between stages."""
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours in [0, 1]."""


class VGGFeatures(nn.Module):
    """The convolutions of a VGG (Simonyan & Zisserman 2015) up to and including the last ReLU, with torchvision's layer names.

    For VGG19, the output is that of layer 5-4.

    Args:
        depths: number of convolutions in each stage.
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
        features: Tensor = self.features(self._normalised(image))
        return features

    def outputs(self, image: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of layers for images (N, 3, H, W) in [-1, 1]; `layers` are rising numbers in `features`."""
        outputs = [self._normalised(image)]
        for start, end in pairwise((0, *(layer + 1 for layer in layers))):
            outputs.append(self.features[start:end](outputs[-1]))
        return outputs[1:]

    def _normalised(self, image: Tensor) -> Tensor:
        return ((image + 1) / 2 - self.mean) / self.deviation


def load_vgg(name: str, weights: Weights, alternative: str) -> VGGFeatures:
    """Return a VGG with the trained weights that `find_vgg` finds, by `read_vgg`."""
    return read_vgg(name, find_vgg(name, weights, alternative))


def find_vgg(name: str, weights: Weights, alternative: str) -> Path:
    """Return the file of a VGG's weights.

    Args:
        name: `vgg19` or `vgg16`.
        weights: finds the file.
        alternative: how to do without these weights, for the message if they are missing.

    Raises:
        GccError: the weights are missing.
    """
    return weights.find(name, f"{name}-*.pth", f"torchvision fetches them (torchvision.models.{name}(weights='DEFAULT')); {alternative}")


def read_vgg(name: str, path: Path) -> VGGFeatures:
    """Return `vgg19` or `vgg16` with the trained weights of a state dict of torchvision, as `.pth` or `.safetensors`.

    Raises:
        ArtifactError: the file does not contain this VGG.
    """
    with torch.random.fork_rng(devices=[]):
        network = VGGFeatures(DEPTHS[name])
    network.load_state_dict(read_matching(path, network.state_dict(), f"{name} of torchvision", ignored_prefixes=("classifier.",)))
    return network
