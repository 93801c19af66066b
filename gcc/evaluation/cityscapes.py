"""mIoU of Cityscapes' classes by a segmenter that was trained on Cityscapes, and labels from pictures in Cityscapes' colours."""

from __future__ import annotations

import abc

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gcc.data.cityscapes import LABELS, TRAIN_IDS
from gcc.evaluation.flat_colours import FlatColours
from gcc.evaluation.palette import nearest
from gcc.evaluation.segmentation import IGNORED, MeanIoU
from gcc.recipe import RGB

COLOURS = tuple(dict.fromkeys(colour for _, colour in LABELS))
"""The colours of all labels, those without a class included."""
LABEL_MAP = 0.9
"""These colours explain more of a label map than this share, and less of a photograph."""


class CityscapesSegmentation(MeanIoU):
    """Base of the mean IoUs of Cityscapes' 19 classes: the class of a pixel has the highest score after a resize to the labels' size."""

    classes = len(TRAIN_IDS)

    @abc.abstractmethod
    def scores(self, levels: Tensor) -> Tensor:
        """Map an image (1, 3, H, W) of RGB values from 0 to 255 to the classes' scores (1, 19, h, w) at any size."""

    def segment(self, images: Tensor, height: int, width: int) -> Tensor:
        levels = images.float().clamp(-1, 1).add(1).mul(127.5).round()
        # One image at a time: the scores of a single image at full size take 160 MB.
        scores = (interpolate(self.scores(image[None]), (height, width), mode="bilinear", antialias=True) for image in levels)
        return torch.cat([of_image.argmax(1) for of_image in scores])


def has_label_colours(images: Tensor) -> bool:
    """Return whether images (N, C, H, W) uint8 are label maps in Cityscapes' colours, with JPEG noise or without."""
    return images.shape[1] == RGB and FlatColours.of(images).covered(torch.tensor(COLOURS)) > LABEL_MAP


def train_ids_by_colour(maps: Tensor) -> Tensor:
    """Return the train ids of label maps (N, 3, H, W) uint8 by the nearest colour, (N, H, W), with 255 for labels without a class."""
    class_of = {LABELS[number][1]: train_id for train_id, number in enumerate(TRAIN_IDS)}
    classes = torch.tensor([class_of.get(colour, IGNORED) for colour in COLOURS], device=maps.device)
    return classes[nearest(maps, torch.tensor(COLOURS, device=maps.device))]
