"""Distances between the features of all fake images and of all real ones, computed by torch-fidelity."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from gcc.errors import DataError
from gcc.evaluation.networks.effnet import EffNetLite0
from gcc.evaluation.networks.inception import Inception
from gcc.evaluation.networks.vgg import VGG16
from gcc.registry.evaluator import EvalContext, SetEvaluator
from gcc.registry.types import EvalSample
from gcc.utils.optional import needed

SUBSETS = 100
SUBSET = 1000
"""Images in each of KID's subsets; fewer if a set has fewer (Binkowski et al. 2018)."""


class _TorchFidelity(SetEvaluator):
    """Base of the distances: loads torch-fidelity. Features are in float64, since float32 loses digits in means and covariances."""

    name: ClassVar[str]
    """The evaluator's name, for messages."""
    larger_is_better = False

    def __init__(self, context: EvalContext) -> None:
        with needed(self.name, "torch-fidelity"):
            import torch_fidelity
            import torch_fidelity.metric_fid
            import torch_fidelity.metric_kid
        self._library = torch_fidelity

    def check(self, sample: EvalSample, fake: int, real: int) -> None:
        """Refuse sets that are too small for a covariance."""
        if min(fake, real) < 2:
            raise DataError(f"{self.name} compares sets of images: expected 2 or more of each, got {fake} fake and {real} real")


class _Frechet(_TorchFidelity):
    """Fréchet distance `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))` between Gaussians of these means and covariances.

    The trace of the matrix root is the sum of the square roots of the eigenvalues. This also holds for singular covariances, that is, for
    fewer images than features.
    """

    @property
    def protocol(self) -> str:
        return f"torch-fidelity {self._library.__version__}, statistics in float64"

    def distance(self, fake: Tensor, real: Tensor) -> float:
        fid = self._library.metric_fid
        statistics = [fid.fid_features_to_statistics(features.double()) for features in (fake, real)]
        # Rounding can take equal distributions below 0.
        return max(0.0, float(fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]))


class FID(_Frechet):
    """Fréchet inception distance (Heusel et al. 2017); smaller is better."""

    name = "fid"
    extractor = Inception


class FDEffNetLite0(_Frechet):
    """Fréchet distance on features of EfficientNet-Lite0; smaller is better. It is not FID, and cannot be compared with FID."""

    name = "fd_effnetlite0"
    extractor = EffNetLite0


class FDVGG16(_Frechet):
    """Fréchet distance on features of VGG16; smaller is better. It is not FID, and cannot be compared with FID."""

    name = "fd_vgg16"
    extractor = VGG16

    @property
    def protocol(self) -> str:
        return f"not FID, {super().protocol}"


class KID(_TorchFidelity):
    """Kernel inception distance (Binkowski et al. 2018): unbiased squared MMD of the kernel `(x.y / 2048 + 1)^3`; smaller is better.

    The mean over 100 random subsets, drawn with torch-fidelity's fixed seed. For equal distributions it may be slightly negative.
    """

    name = "kid"
    extractor = Inception

    @property
    def protocol(self) -> str:
        size = f"{SUBSET} images, or as many as there are"
        return f"torch-fidelity {self._library.__version__}, mean of {SUBSETS} subsets of {size}"

    def distance(self, fake: Tensor, real: Tensor) -> float:
        kid = self._library.metric_kid
        size = min(SUBSET, len(fake), len(real))
        metrics = kid.kid_features_to_metric(fake.double(), real.double(), kid_subsets=SUBSETS, kid_subset_size=size, verbose=False)
        return float(metrics[kid.KEY_METRIC_KID_MEAN])
