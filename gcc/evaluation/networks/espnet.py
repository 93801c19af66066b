"""mIoU on Cityscapes by ESPNet (Mehta et al. 2018), a segmenter of 0.36 M parameters whose weights are public."""

from __future__ import annotations

from collections import OrderedDict
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from gcc.data.images import to_bytes
from gcc.errors import GccError
from gcc.evaluation.cityscapes import CityscapesSegmentation, has_label_colours, train_ids_by_colour
from gcc.evaluation.networks.trained import file_and_digest, trained
from gcc.recipe import RGB
from gcc.registry.evaluator import EvalContext
from gcc.registry.types import EvalSample

HEIGHT, WIDTH = 512, 1024
"""Size of the images that it was trained on."""
MEAN = (72.39, 82.91, 73.16)
DEVIATION = (45.32, 46.15, 44.91)
"""Statistics of the training images' blue, green and red levels, from 0 to 255."""
HINT = "download pretrained/decoder/espnet_p_2_q_8.pth from https://github.com/sacmehta/ESPNet; miou_small needs no such file"
DILATIONS = (1, 2, 4, 8, 16)
CLASSES = 20
"""Cityscapes' 19 classes and void, which comes last."""
EPSILON = 1e-3
"""Batch norm's epsilon, by which the weights were trained."""


class Pyramid(nn.Module):
    """An efficient spatial pyramid: a convolution reduces the channels to a fifth, and five dilated ones of 3x3 run side by side.

    The results of the dilated convolutions from the second on are added up from one to the next, against gridding, and all five are
    concatenated. The first of them has the channels that a division by five leaves over.
    """

    def __init__(self, before: int, after: int, size: int, stride: int) -> None:
        super().__init__()
        width = after // len(DILATIONS)
        first = after - width * (len(DILATIONS) - 1)
        self.c1 = _named(conv=_convolution(before, width, size, stride))
        for dilation in DILATIONS:
            self.add_module(f"d{dilation}", _named(conv=_convolution(width, first if dilation == 1 else width, 3, dilation=dilation)))

    def pyramid(self, features: Tensor) -> Tensor:
        """Map (N, before, H, W) to (N, after, H / stride, W / stride), without normalisation."""
        reduced = self.c1(features)
        first, *others = (self.get_submodule(f"d{dilation}")(reduced) for dilation in DILATIONS)
        return torch.cat([first, *accumulate(others, torch.add)], 1)


class Downsampling(Pyramid):
    """A pyramid of half the resolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, 2)
        self.bn, self.act = _norm(after), nn.PReLU(after)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, before, H, W) to (N, after, H / 2, W / 2)."""
        activated: Tensor = self.act(self.bn(self.pyramid(features)))
        return activated


class Block(Pyramid):
    """A pyramid of the same resolution, residual if the channels stay the same."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 1, 1)
        self.bn = _activation(after)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, before, H, W) to (N, after, H, W)."""
        result = self.pyramid(features)
        activated: Tensor = self.bn(result + features if result.shape == features.shape else result)
        return activated


class Encoder(nn.Module):
    """ESPNet-C: three levels, each of half the resolution of the one before; the small image joins the first two."""

    def __init__(self, p: int, q: int) -> None:
        super().__init__()
        self.level1 = _named(conv=_convolution(3, 16, 3, 2), bn=_norm(16), act=nn.PReLU(16))
        self.b1 = _activation(16 + 3)
        self.level2_0 = Downsampling(16 + 3, 64)
        self.level2 = nn.Sequential(*(Block(64, 64) for _ in range(p)))
        self.b2 = _activation(2 * 64 + 3)
        self.level3_0 = Downsampling(2 * 64 + 3, 128)
        self.level3 = nn.Sequential(*(Block(128, 128) for _ in range(q)))
        self.b3 = _activation(2 * 128)
        self.classifier = _named(conv=_convolution(2 * 128, CLASSES, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features at a half and a quarter of the resolution, and scores at an eighth."""
        half = _halved(image)
        first = self.level1(image)
        start = self.level2_0(self.b1(torch.cat([first, half], 1)))
        second = self.b2(torch.cat([self.level2(start), start, _halved(half)], 1))
        start = self.level3_0(second)
        third = self.b3(torch.cat([start, self.level3(start)], 1))
        return first, second, self.classifier(third)


class ESPNet(nn.Module):
    """ESPNet: ESPNet-C and a decoder that merges its scores with the features of the levels before.

    Module paths equal those of sacmehta/ESPNet, so that its weights load by name.

    Args:
        p: number of blocks of the second level.
        q: number of blocks of the third level.
    """

    def __init__(self, p: int = 2, q: int = 8) -> None:
        super().__init__()
        self.encoder = Encoder(p, q)
        self.level3_C = _named(conv=_convolution(2 * 64 + 3, CLASSES, 1))
        self.br = _norm(CLASSES)
        self.up_l3 = nn.Sequential(_doubling())
        self.combine_l2_l3 = nn.Sequential(_activation(2 * CLASSES), Block(2 * CLASSES, CLASSES))
        self.up_l2 = nn.Sequential(_doubling(), _activation(CLASSES))
        self.conv = _named(conv=_convolution(CLASSES + 16, CLASSES, 3), bn=_norm(CLASSES), act=nn.PReLU(CLASSES))
        self.classifier = _doubling()

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to scores (N, 20, H, W), where H and W are multiples of 8."""
        first, second, coarse = self.encoder(image)
        merged = self.combine_l2_l3(torch.cat([self.level3_C(second), self.up_l3(self.br(coarse))], 1))
        scores: Tensor = self.classifier(self.conv(torch.cat([self.up_l2(merged), first], 1)))
        return scores


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def _convolution(before: int, after: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride, dilation * (size // 2), dilation, bias=False)


def _doubling() -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(CLASSES, CLASSES, 2, 2, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EPSILON)


def _activation(channels: int) -> nn.Sequential:
    return _named(bn=_norm(channels), act=nn.PReLU(channels))


def _halved(image: Tensor) -> Tensor:
    return avg_pool2d(image, 3, 2, 1)


class ESPNetMIoU(CityscapesSegmentation):
    """Mean IoU of Cityscapes' 19 classes by ESPNet (p = 2, q = 8), in percent; larger is better. It is not comparable with `miou`.

    Images are resized bilinearly to the 1024x512 pixels that the network was trained on, and the scores of the 19 classes, without void,
    to the size of the labels. The labels are the train ids of the data set `cityscapes` if it has them, and otherwise come from the
    label maps in Cityscapes' colours that images are generated from, such as pix2pix's: the class of the nearest colour.
    """

    reports_real = True

    def __init__(self, context: EvalContext) -> None:
        super().__init__(context)
        path = context.weights.find("espnet", "espnet_p_2_q_8*.pth", HINT)
        self._network = trained(ESPNet, path, "ESPNet (p = 2, q = 8) for Cityscapes of sacmehta/ESPNet", context.device)
        self._mean, self._deviation = (torch.tensor(values, device=context.device).view(1, RGB, 1, 1) for values in (MEAN, DEVIATION))
        self._weights = file_and_digest(path)

    @property
    def protocol(self) -> str:
        return (
            f"19 classes, resized to {WIDTH}x{HEIGHT} (bilinear), scores resized to the labels, ESPNet {self._weights},"
            " not comparable with DRN-D-105's mIoU"
        )

    def scores(self, levels: Tensor) -> Tensor:
        blue_first = interpolate(levels, (HEIGHT, WIDTH), mode="bilinear", antialias=True).flip(1)
        scores: Tensor = self._network((blue_first - self._mean) / self._deviation / 255)
        return scores[:, : self.classes]

    def check(self, sample: EvalSample, fake: int, real: int) -> None:
        """Refuse data without labels, and images that are generated from something other than label maps."""
        maps = sample.batch.get(sample.source)
        if "labels" not in sample.batch and (maps is None or not has_label_colours(to_bytes(maps))):
            raise GccError(
                "miou_espnet evaluates photographs that are generated from Cityscapes' labels: expected the data set 'cityscapes', or label"
                f" maps in its colours, but the images are generated from {sample.source}, which has others; reverse the direction, or"
                " choose miou_small, which learns any colours"
            )
        super().check(sample, fake, real)

    def truth(self, sample: EvalSample) -> Tensor:
        labels = sample.batch.get("labels")
        return train_ids_by_colour(to_bytes(sample.batch[sample.source])) if labels is None else labels
