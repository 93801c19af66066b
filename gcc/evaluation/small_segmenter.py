"""mIoU without a downloaded segmenter: by a small one that trains on the real pairs."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, max_pool2d

from gcc.data.images import to_bytes
from gcc.errors import DataError, GccError, OutputError
from gcc.evaluation.palette import LabelledPairs, labelled_pairs, nearest
from gcc.evaluation.segmentation import MeanIoU, confusions, mean_iou
from gcc.registry.dataset import DatasetSource
from gcc.registry.evaluator import EvalContext
from gcc.registry.types import EvalSample
from gcc.utils.distributed import Ranks
from gcc.utils.files import replacing
from gcc.utils.seeds import seeded
from gcc.utils.weights import read_tensors

PAIRS = 1000
"""Maximum number of pairs that are read from the training split."""
HELD_OUT = 10
"""One pair in this many is held out from training."""
WIDTHS = (16, 24, 32, 48)
"""Channels of the network, from full resolution to an eighth."""
STEPS = 1500
BATCH = 16
CROP = 64
"""Height and width of the training crops."""
RATE = 1e-2
"""Adam's initial learning rate; it decays to zero along a cosine."""
VERSION = 1
"""Raise this number when training changes, so that stored segmenters are not used any more."""
SEED = 0
SEED_NAME = "judge"
"""What version 0.1 called the segmenter: names its random numbers and its file, which stay the same."""
NETWORK = "network."


class Stage(nn.Sequential):
    """Two convolutions 3x3 with batch norm and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        layers: list[nn.Module] = []
        for channels in (before, after):
            layers += [nn.Conv2d(channels, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers)


class SmallUNet(nn.Module):
    """A U-Net of about 120,000 parameters that halves the resolution three times, for images of 8 pixels or more."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(Stage(before, after) for before, after in pairwise((3, *WIDTHS)))
        self.up = nn.ModuleList(Stage(inner + skip, skip) for inner, skip in pairwise(reversed(WIDTHS)))
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, levels: Tensor) -> Tensor:
        """Map images (N, 3, H, W) of 8-bit RGB to the classes' scores (N, classes, H, W)."""
        features, skips = levels / 127.5 - 1, list[Tensor]()
        for stage in self.down:
            features = stage(max_pool2d(features, 2) if skips else features)
            skips.append(features)
        skips.pop()
        for stage in self.up:
            skip = skips.pop()
            features = stage(torch.cat([interpolate(features, size=skip.shape[-2:]), skip], 1))
        scores: Tensor = self.head(features)
        return scores


@dataclass(frozen=True)
class SmallSegmenter:
    """A segmenter of photographs and its training record.

    Attributes:
        network: the network, in evaluation mode.
        key: key of the label maps that it was trained on.
        palette: their colours, (K, 3) uint8.
        trained_on: number of training pairs.
        held_out: number of held-out pairs.
        score: mean IoU on the held-out pairs, in percent.
    """

    network: SmallUNet
    key: str
    palette: Tensor
    trained_on: int
    held_out: int
    score: float

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the segmenter as tensors by name."""
        facts = torch.tensor([self.trained_on, self.held_out, self.score], dtype=torch.float64)
        weights = {NETWORK + name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
        return {"facts": facts, "key": torch.tensor(list(self.key.encode())), "palette": self.palette, **weights}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> SmallSegmenter:
        """Return the segmenter that `to_tensors` wrote."""
        palette = tensors["palette"]
        with torch.random.fork_rng(devices=[]):
            network = SmallUNet(len(palette))
        network.load_state_dict({name.removeprefix(NETWORK): tensor for name, tensor in tensors.items() if name.startswith(NETWORK)})
        trained_on, held_out, score = tensors["facts"].tolist()
        key = bytes(tensors["key"].tolist()).decode()
        return cls(network.to(device).eval().requires_grad_(False), key, palette, int(trained_on), int(held_out), score)


class SegmenterMIoU(MeanIoU):
    """Mean IoU by a small segmenter that is trained on the real pairs, in percent; larger is better.

    For pairs of a photograph and a label map in flat colours. The palette comes from the training split; the label of a pixel is the
    nearest colour. Every tenth training pair is held out. The protocol reports the segmenter's score on these real photographs, which
    shows how far to trust its score on fake ones. The store keeps the segmenter for later runs.
    """

    def __init__(self, context: EvalContext) -> None:
        super().__init__(context)
        self._device = context.device
        source = context.training()
        self._file = context.store / f"{SEED_NAME}-{_fingerprint(source)}.safetensors" if context.store and source.identity else None
        self._stored = _load(self._file, context.device) if self._file and self._file.exists() else None
        self._pairs = None if self._stored else labelled_pairs(source, PAIRS)

    @cached_property
    def segmenter(self) -> SmallSegmenter:
        """The stored segmenter; a newly trained one if there is none."""
        if self._pairs is None:
            return cast(SmallSegmenter, self._stored)
        segmenter = train_segmenter(self._pairs, self._device)
        if self._file:
            _store(segmenter, self._file)
        return segmenter

    def prepare(self, ranks: Ranks) -> None:
        """Train the segmenter in the main process, unless it is stored, and send it to the others."""
        tensors = ranks.compute_on_main_process(lambda: self.segmenter.to_tensors())
        if not ranks.is_main_process:
            self._stored, self._pairs = SmallSegmenter.from_tensors(tensors, self._device), None

    def check(self, sample: EvalSample, fake: int, real: int) -> None:
        """Refuse label maps that are generated from photographs, without training the segmenter."""
        trained = self._pairs or self.segmenter
        self._require_key(sample, trained.key)

    @property
    def classes(self) -> int:  # type: ignore[override]
        return len(self.segmenter.palette)

    @property
    def protocol(self) -> str:
        segmenter = self.segmenter
        return (
            f"segmenter: a small U-Net trained on {segmenter.trained_on} real pairs, {self.classes} classes;"
            f" on {segmenter.held_out} real photographs held out of the training split it reaches {segmenter.score:.1f} %"
        )

    def segment(self, images: Tensor, height: int, width: int) -> Tensor:
        scores = self.segmenter.network(to_bytes(images))
        return interpolate(scores, (height, width), mode="bilinear").argmax(1)

    def truth(self, sample: EvalSample) -> Tensor:
        self._require_key(sample, self.segmenter.key)
        maps = to_bytes(sample.batch[self.segmenter.key])
        return nearest(maps, self.segmenter.palette.to(maps.device))

    @staticmethod
    def _require_key(sample: EvalSample, key: str) -> None:
        if sample.source != key:
            raise GccError(
                f"miou_small evaluates photographs that are generated from label maps: {key} contains the label maps here, and the images"
                f" are generated from {sample.source}; leave it out, or reverse the direction"
            )


def _fingerprint(source: DatasetSource) -> str:
    sizes = {key: tuple(value.shape) for key, value in source.sample(0, None).items()}
    return hashlib.sha256(f"{VERSION} {PAIRS} {STEPS} {sizes} {source.identity}".encode()).hexdigest()[:12]


def _load(file: Path, device: torch.device) -> SmallSegmenter | None:
    """Return the stored segmenter; None if the file is damaged."""
    try:
        return SmallSegmenter.from_tensors(read_tensors(file), device)
    except (GccError, KeyError, RuntimeError, ValueError):
        return None


def _store(segmenter: SmallSegmenter, file: Path) -> None:
    # If the data folder is read-only, every run trains a new one.
    with suppress(OutputError), replacing(file) as fresh:
        save_file(segmenter.to_tensors(), fresh)


def train_segmenter(pairs: LabelledPairs, device: torch.device) -> SmallSegmenter:
    """Train a segmenter on pairs and measure it on held-out ones.

    Raises:
        DataError: there is only one pair.
    """
    held = torch.arange(len(pairs.labels)) % HELD_OUT == 0
    trained_on = int((~held).sum())
    if not trained_on:
        raise DataError("miou_small trains on some pairs and holds others out: this data has only one pair")
    task = f"{trained_on} real pairs, {len(pairs.palette)} classes, {STEPS} steps"
    print(f"training a segmenter for miou_small on {task}", file=sys.stderr, flush=True)
    with seeded(SEED, SEED_NAME):
        network = SmallUNet(len(pairs.palette))
    # The loss has no deterministic algorithm on a GPU.
    trains_on = torch.device("cpu") if torch.are_deterministic_algorithms_enabled() else device
    _train(network.to(trains_on), pairs.photos[~held], pairs.labels[~held], trains_on)
    network.to(device).eval().requires_grad_(False)
    predicted = [network(photo[None].to(device)).argmax(1).cpu() for photo in pairs.photos[held]]
    score = mean_iou(confusions(torch.cat(predicted), pairs.labels[held], len(pairs.palette)).sum(0))
    return SmallSegmenter(network, pairs.key, pairs.palette, trained_on, int(held.sum()), score)


def _train(network: SmallUNet, photos: Tensor, labels: Tensor, device: torch.device) -> None:
    """Train for a fixed number of steps on random crops, half of them mirrored.

    A class is weighted by the inverse root of its frequency. The mean IoU weights all classes equally, but with the inverse frequency the
    network predicts rare classes everywhere.
    """
    random = np.random.default_rng(SEED)
    counts = labels.flatten().bincount(minlength=network.head.out_channels).float().clamp(min=1)
    weight = counts.rsqrt()
    weight = (weight / weight.mean()).to(device)
    height, width = (min(CROP, size) for size in labels.shape[-2:])
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    network.train()
    for _ in range(STEPS):
        chosen = random.integers(len(labels), size=BATCH)
        top, left = (int(random.integers(full - part + 1)) for full, part in zip(labels.shape[-2:], (height, width), strict=True))
        photo, label = (stack[chosen, ..., top : top + height, left : left + width].to(device) for stack in (photos, labels))
        if random.random() < 0.5:
            photo, label = photo.flip(-1), label.flip(-1)
        optimizer.zero_grad()
        # The caller may have disabled gradients.
        with torch.enable_grad():
            loss = cross_entropy(network(photo), label, weight)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
