"""The features of a classifier that a perceptual loss compares (Johnson et al. 2016; Ledig et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gcc.errors import ArtifactError, GccError
from gcc.weights import read_tensors

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


def load_vgg(name: str, weights: Path | None) -> VGGFeatures:
    """Return a VGG with trained weights.

    Args:
        name: `vgg19` or `vgg16`.
        weights: a state dict of torchvision's VGG, as `.pth` or `.safetensors`; none takes the one in torch's cache.

    Raises:
        GccError: there are no weights.
        ArtifactError: the file is no VGG's.
    """
    path = _cached(name) if weights is None else weights
    tensors = read_tensors(path)
    with torch.random.fork_rng(devices=[]):
        network = VGGFeatures(DEPTHS[name])
    wanted = network.state_dict()
    for key, tensor in wanted.items():
        if key not in tensors or tensors[key].shape != tensor.shape:
            given = f"has {key} of shape {tuple(tensors[key].shape)}" if key in tensors else f"lacks {key}"
            raise ArtifactError(f"{path} is no {name} of torchvision: it {given}, expected {tuple(tensor.shape)}")
    # torchvision's files also hold the classifier's layers; a convolution more than expected would be another network's.
    more = sorted(key for key in tensors if key.startswith("features.") and key not in wanted)
    if more:
        raise ArtifactError(f"{path} is no {name} of torchvision: it has {more[0]}")
    network.load_state_dict({key: tensors[key] for key in wanted})
    return network


def _cached(name: str) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    found = sorted(folder.glob(f"{name}-*.pth"))
    if not found:
        raise GccError(
            f"the perceptual loss needs the weights of {name}, and there are none in {folder}: let torchvision fetch them there "
            f"(torchvision.models.{name}(weights='DEFAULT')), name a file of them with --weights, or do without by "
            "--set perceptual=pixel or --set perceptual=none"
        )
    return found[0]
