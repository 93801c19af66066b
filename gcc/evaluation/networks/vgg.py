"""VGG16: features for a Fréchet distance, with the weights that perceptual losses use too."""

from __future__ import annotations

import torch
from torch import Tensor

from gcc.evaluation.networks.imagenet import RESIZED, resized
from gcc.evaluation.networks.trained import file_and_digest
from gcc.models.vgg import find_vgg, read_vgg
from gcc.registry.evaluator import EvalContext, Extractor

LAYERS = (15, 22)
"""Numbers of relu3_3 and relu4_3."""


class VGG16(Extractor):
    """The 256 and 512 features of relu3_3 and relu4_3 of VGG16 (Simonyan & Zisserman 2015), trained on ImageNet, averaged globally."""

    name = "vgg16"

    def __init__(self, context: EvalContext) -> None:
        path = find_vgg(self.name, context.weights, "fd_effnetlite0 needs no such file")
        self._network = read_vgg(self.name, path).to(context.device).eval().requires_grad_(False)
        self._weights = file_and_digest(path)

    @property
    def protocol(self) -> str:
        return f"{RESIZED}, relu3_3 and relu4_3 of VGG16 {self._weights}"

    def __call__(self, images: Tensor) -> Tensor:
        return torch.cat([features.mean((2, 3)) for features in self._network.outputs(resized(images) / 127.5 - 1, LAYERS)], 1)
