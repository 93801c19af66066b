"""mIoU on Cityscapes by the segmenter that the GAN compression literature uses: DRN-D-105 (Yu et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcc.data.cityscapes import TRAIN_IDS
from gcc.errors import GccError
from gcc.evaluation.cityscapes import CityscapesSegmentation
from gcc.evaluation.networks.trained import file_and_digest, trained
from gcc.registry.evaluator import EvalContext
from gcc.registry.types import Batch, EvalSample

MEAN = (0.29010095242892997, 0.32808144844279574, 0.28696394422942517)
DEVIATION = (0.1829540508368939, 0.18656561047509476, 0.18447508988480435)
"""Statistics of the training images' colours in [0, 1] (fyu/drn, datasets/cityscapes/info.json)."""
HINT = (
    "download drn-d-105_ms_cityscapes.pth from http://go.yf.io/drn-cityscapes-models, which https://github.com/fyu/drn links to;"
    " miou_small needs no such file"
)
EXPANSION = 4


class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions with 4 x `width` output channels."""

    def __init__(self, before: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        after = EXPANSION * width
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = nn.Sequential()
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, before, H, W) to (N, 4 x width, H / stride, W / stride)."""
        inner = self.bn1(self.conv1(features)).relu()
        inner = self.bn2(self.conv2(inner)).relu()
        total: Tensor = self.bn3(self.conv3(inner)) + self.downsample(features)
        return total.relu()


class DRND105(nn.Module):
    """DRN-D-105 for 19 classes: dilation keeps the resolution at an eighth; two convolutions without residuals come last.

    Module paths equal those of fyu/drn's segmenter, so that its weights load by name.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, classes: int = len(TRAIN_IDS)) -> None:
        super().__init__()
        self.base = nn.Sequential(
            _convolution(3, 16, size=7),
            _convolution(16, 16),
            _convolution(16, 32, stride=2),
            _level(32, 64, blocks=3, stride=2),
            _level(256, 128, blocks=4, stride=2),
            _level(512, 256, blocks=23, dilation=2),
            _level(1024, 512, blocks=3, dilation=4),
            _convolution(2048, 512, dilation=2),
            _convolution(512, 512),
        )
        self.seg = nn.Conv2d(512, classes, 1)
        self.up = nn.ConvTranspose2d(classes, classes, 16, 8, 4, groups=classes, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [0, 1] to the classes' scores (N, classes, H, W); H and W are rounded up to multiples of 8."""
        scores: Tensor = self.up(self.seg(self.base((images - self.mean) / self.deviation)))
        return scores


def _convolution(before: int, after: int, size: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(before, after, size, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _level(before: int, width: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    rest = [Bottleneck(EXPANSION * width, width, 1, dilation) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(before, width, stride, dilation), *rest)


class CityscapesMIoU(CityscapesSegmentation):
    """Mean IoU of Cityscapes' 19 classes by DRN-D-105, in percent; larger is better.

    The protocol of GAN Compression (Li et al. 2020, mit-han-lab/gan-compression, metric/cityscapes_mIoU.py), which GCC's authors use too:
    the network reads images at the size at which they were generated, with 8 bits; the scores, not the images, are resized bilinearly to
    the labels' 2048x1024; the class with the highest score there is compared with the label. (The original takes a log-softmax before the
    resize. It shifts the scores of all classes alike and is left out.)
    """

    def __init__(self, context: EvalContext) -> None:
        super().__init__(context)
        path = context.weights.find("drn-d-105", "drn-d-105_ms_cityscapes*.pth", HINT)
        _labels(context.training().sample(0, None))
        self._network = trained(DRND105, path, "DRN-D-105 for Cityscapes of fyu/drn", context.device)
        self._weights = file_and_digest(path)

    @property
    def protocol(self) -> str:
        return f"19 classes, scores resized to the labels, DRN-D-105 {self._weights}"

    def scores(self, levels: Tensor) -> Tensor:
        scores: Tensor = self._network(levels / 255)
        return scores

    def truth(self, sample: EvalSample) -> Tensor:
        return _labels(sample.batch)


def _labels(batch: Batch) -> Tensor:
    if "labels" not in batch:
        raise GccError(
            "miou needs the label ids of Cityscapes, which this data does not have: expected the data set 'cityscapes' with"
            " gtFine/<split>/<city>/<frame>_gtFine_labelIds.png, or .._gtFine_labelTrainIds.png, for every frame; miou_small needs none"
        )
    return batch["labels"]
