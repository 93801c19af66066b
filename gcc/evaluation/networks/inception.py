"""Inception v3 of 2015 as torch-fidelity runs it: the features that FID and KID are defined on."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from torch import Tensor

from gcc.evaluation.networks.trained import file_and_digest
from gcc.registry.evaluator import EvalContext, Extractor
from gcc.utils.optional import needed
from gcc.utils.weights import read_matching

HINT = (
    "download weights-inception-2015-12-05-6726825d.pth (91 MB) from https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0,"
    " and the same file as pt_inception-2015-12-05-6726825d.pth from https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights"
)


class Inception(Extractor):
    """The 2048 features before the classifier of Inception v3 (Szegedy et al. 2016), with TensorFlow's weights of 2015-12-05."""

    name = "inception"

    def __init__(self, context: EvalContext) -> None:
        with needed("inception", "torch-fidelity"):
            from torch_fidelity import feature_extractor_inceptionv3 as library
        path = context.weights.find(self.name, "*inception-2015-12-05-*.pth", HINT)
        network = _untrained(library)
        network.load_state_dict(read_matching(path, network.state_dict(), "Inception of torch-fidelity"))
        self._network = network.to(context.device)
        self._weights = file_and_digest(path)

    @property
    def protocol(self) -> str:
        return f"resized to 299 as TensorFlow 1 does (bilinear, not antialiased), Inception v3 {self._weights}"

    def __call__(self, images: Tensor) -> Tensor:
        features: Tensor = self._network(images)[0]
        return features


def _untrained(library: Any) -> Any:
    """Return torch-fidelity's network with random weights.

    Its constructor does not accept tensors: it downloads a file, or unpickles one and would run code in it. Neither may happen.
    """
    with patch.object(library, "load_state_dict_from_url"), patch.object(library.FeatureExtractorInceptionV3, "load_state_dict"):
        return library.FeatureExtractorInceptionV3(Inception.name, ["2048"])
