"""Perceptual similarity of a fake image and its real counterpart."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from gcc.errors import DataError
from gcc.evaluation.networks.trained import file_and_digest
from gcc.losses.ssim import WINDOW, structural_similarity
from gcc.registry.evaluator import EvalContext, ImageEvaluator
from gcc.registry.types import EvalSample
from gcc.utils.optional import needed
from gcc.utils.weights import read_matching

HINT = "torchvision fetches them (torchvision.models.alexnet(weights='DEFAULT'))"
LEAST = 31
"""Height and width below which AlexNet's second pooling has an empty output."""


class LPIPS(ImageEvaluator):
    """Learned perceptual distance of AlexNet's features (Zhang et al. 2018, version 0.1), averaged over images; smaller is better.

    Computed by the authors' own package, which contains the learned heads. The trunk is torchvision's; its weights come from a file of
    the user, because the package would download them. (torchmetrics has a copy of this class, without a public way to load a file.)
    """

    larger_is_better = False
    perceptual = True

    def __init__(self, context: EvalContext) -> None:
        with needed("lpips", "lpips"):
            import lpips
        path = context.weights.find("alexnet", "alexnet-owt-*.pth", HINT)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # The package builds an untrained network with arguments that torchvision has deprecated.
            warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
            self._network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).to(context.device).requires_grad_(False)
        trunk = _named_as_in_torchvision(self._network.net)
        for name, tensor in read_matching(path, trunk, "alexnet of torchvision", ignored_prefixes=("classifier.",)).items():
            trunk[name].copy_(tensor)
        self._weights = file_and_digest(path)

    @property
    def protocol(self) -> str:
        return f"version 0.1, AlexNet {self._weights}"

    def compare(self, sample: EvalSample) -> Tensor:
        _require_size(sample, LEAST, "LPIPS")
        distances: Tensor = self._network(sample.fake.float(), sample.real.float())
        return distances.flatten()


def _named_as_in_torchvision(trunk: Any) -> dict[str, Tensor]:
    """Return the trunk's tensors by torchvision's names; its slices number the layers as torchvision does."""
    return {f"features.{name.partition('.')[2]}": tensor for name, tensor in trunk.state_dict().items()}


class SSIM(ImageEvaluator):
    """Structural similarity (Wang et al. 2004) of values in [0, 1], averaged over channels and images; larger is better.

    A Gaussian window of 11 pixels and deviation 1.5, averaged over the positions where the whole window fits, as by its authors.
    """

    needs_rgb = False
    larger_is_better = True

    @property
    def protocol(self) -> str:
        return "RGB, Gaussian window of 11 pixels where all of it fits"

    def compare(self, sample: EvalSample) -> Tensor:
        _require_size(sample, WINDOW, "SSIM")
        fake, real = ((images.double() + 1) / 2 for images in (sample.fake, sample.real))
        return structural_similarity(fake, real, 1)


def _require_size(sample: EvalSample, least: int, metric: str) -> None:
    height, width = sample.fake.shape[-2:]
    if min(height, width) < least:
        raise DataError(f"an image of {width}x{height} pixels is too small for {metric}: expected at least {least}x{least}")
