"""How like its true image a made one looks."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from gcc.errors import DataError
from gcc.registry.evaluator import EvalContext, ImageEvaluator
from gcc.registry.types import EvalSample
from gcc.utils.optional import needed
from gcc.utils.weights import digest, matched

HINT = "torchvision fetches them (torchvision.models.alexnet(weights='DEFAULT'))"
LEAST = 31
"""Pixels on a side below which AlexNet's second pooling has nothing left."""
WINDOW = 11


class LPIPS(ImageEvaluator):
    """Learned perceptual distance of AlexNet's features (Zhang et al. 2018, version 0.1), averaged over images; smaller is better.

    By the authors' own package, whose learned heads are in it. The trunk is torchvision's, filled from a file of the user, since the
    package would download it. (The class of the same name in torchmetrics is a copy of it, and offers no public way to do so.)
    """

    larger_is_better = False

    def __init__(self, context: EvalContext) -> None:
        with needed("lpips", "lpips"):
            import lpips
        path = context.weights.find("alexnet", "alexnet-owt-*.pth", HINT)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # It asks torchvision for an untrained network in words of an older version.
            warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
            self._network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).to(context.device).requires_grad_(False)
        trunk = _by_torchvisions_names(self._network.net)
        for name, tensor in matched(path, trunk, "alexnet of torchvision", beside="classifier.").items():
            trunk[name].copy_(tensor)
        self._weights = f"{path.name} (sha256 {digest(path)})"

    @property
    def protocol(self) -> str:
        return f"version 0.1, AlexNet {self._weights}"

    def compare(self, sample: EvalSample) -> Tensor:
        _require(sample, LEAST, "LPIPS")
        distances: Tensor = self._network(sample.fake.float(), sample.real.float())
        return distances.flatten()


def _by_torchvisions_names(trunk: Any) -> dict[str, Tensor]:
    """Return the trunk's own tensors, which its slices hold under the numbers of torchvision's layers."""
    return {f"features.{name.partition('.')[2]}": tensor for name, tensor in trunk.state_dict().items()}


class SSIM(ImageEvaluator):
    """Structural similarity (Wang et al. 2004) of RGB values in [0, 1], averaged over channels and images; larger is better.

    By torchmetrics: a Gaussian window of 11 pixels and deviation 1.5. Averaged where the whole window fits, as by its authors, while
    torchmetrics' own average also takes in windows that reach over the border, where it mirrors the image.
    """

    larger_is_better = True

    def __init__(self, context: EvalContext) -> None:
        with needed("ssim", "torchmetrics"):
            from torchmetrics.functional.image import structural_similarity_index_measure
        self._measure = structural_similarity_index_measure

    @property
    def protocol(self) -> str:
        return "RGB, Gaussian window of 11 pixels where all of it fits"

    def compare(self, sample: EvalSample) -> Tensor:
        _require(sample, WINDOW, "SSIM")
        fake, real = ((images.double() + 1) / 2 for images in (sample.fake, sample.real))
        _, similarities = self._measure(fake, real, sigma=1.5, data_range=1.0, reduction="none", return_full_image=True)
        inner = slice(WINDOW // 2, -(WINDOW // 2))
        return similarities[..., inner, inner].flatten(1).mean(1)


def _require(sample: EvalSample, least: int, by: str) -> None:
    height, width = sample.fake.shape[-2:]
    if min(height, width) < least:
        raise DataError(f"an image of {width}x{height} pixels is too small for {by}: expected at least {least}x{least}")
