"""mIoU where no trained segmenter is to be had: by a small one that learns from the real pairs."""

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
from gcc.utils.files import replacing
from gcc.utils.seeds import seeded
from gcc.utils.weights import read_tensors

PAIRS = 1000
"""Pairs of the training split that are read at most."""
HELD_OUT = 10
"""One of so many of them is not learned from."""
WIDTHS = (16, 24, 32, 48)
"""Channels of the network, from the full resolution to an eighth."""
STEPS = 1500
BATCH = 16
CROP = 64
"""Pixels on a side of what is learned from."""
RATE = 1e-2
"""Adam's highest learning rate, which falls to zero along a cosine."""
VERSION = 1
"""To be raised when a judge comes about in another way, so that kept ones of the old way are not used."""
SEED = 0
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
    """A segmenter of photographs, and what is to be known of it.

    Attributes:
        network: the segmenter, in evaluation mode.
        key: key of the label maps that it learned from.
        palette: their colours, (K, 3) uint8.
        learned: pairs that it learned from.
        held_out: real photographs that it did not learn from.
        score: its mean IoU on these, in percent.
    """

    network: SmallUNet
    key: str
    palette: Tensor
    learned: int
    held_out: int
    score: float

    def to_tensors(self) -> dict[str, Tensor]:
        """Return all of it as tensors by name."""
        facts = torch.tensor([self.learned, self.held_out, self.score], dtype=torch.float64)
        weights = {NETWORK + name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
        return {"facts": facts, "key": torch.tensor(list(self.key.encode())), "palette": self.palette, **weights}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> SmallSegmenter:
        """Return the judge that `to_tensors` gave."""
        palette = tensors["palette"]
        with torch.random.fork_rng(devices=[]):
            network = SmallUNet(len(palette))
        network.load_state_dict({name.removeprefix(NETWORK): tensor for name, tensor in tensors.items() if name.startswith(NETWORK)})
        learned, held_out, score = tensors["facts"].tolist()
        key = bytes(tensors["key"].tolist()).decode()
        return cls(network.to(device).eval().requires_grad_(False), key, palette, int(learned), int(held_out), score)


class SegmenterMIoU(MeanIoU):
    """Mean IoU by a small segmenter that is trained on the real pairs, in percent; larger is better.

    For paired data one of whose images is a map of flat colours. The palette is found in the training split, and the nearest of its
    colours is a pixel's label. How well the segmenter does on real photographs, without which its verdict on made ones says little, is
    measured on every tenth training pair, which it does not learn from, and told in the protocol. It is kept in the store.
    """

    def __init__(self, context: EvalContext) -> None:
        super().__init__(context)
        self._device = context.device
        source = context.training()
        self._file = context.store / f"judge-{_fingerprint(source)}.safetensors" if context.store and source.identity else None
        self._kept = _read(self._file, context.device) if self._file and self._file.exists() else None
        self._pairs = None if self._kept else labelled_pairs(source, PAIRS)

    @cached_property
    def _judge(self) -> SmallSegmenter:
        """The judge: the one that was kept, else a new one."""
        if self._pairs is None:
            return cast(SmallSegmenter, self._kept)
        judge = train_segmenter(self._pairs, self._device)
        if self._file:
            _keep(judge, self._file)
        return judge

    def check(self, sample: EvalSample, fake: int, real: int) -> None:
        """Refuse label maps that are made from photographs; the judge itself need not be there yet."""
        known = self._pairs or self._judge
        self._require_key(sample, known.key)

    @property
    def classes(self) -> int:  # type: ignore[override]
        return len(self._judge.palette)

    @property
    def protocol(self) -> str:
        judge = self._judge
        return (
            f"judge: a small U-Net trained on {judge.learned} real pairs, {self.classes} classes;"
            f" on {judge.held_out} real photographs held out of the training split it reaches {judge.score:.1f} %"
        )

    def segment(self, images: Tensor, height: int, width: int) -> Tensor:
        scores = self._judge.network(to_bytes(images))
        return interpolate(scores, (height, width), mode="bilinear").argmax(1)

    def truth(self, sample: EvalSample) -> Tensor:
        self._require_key(sample, self._judge.key)
        maps = to_bytes(sample.batch[self._judge.key])
        return nearest(maps, self._judge.palette.to(maps.device))

    @staticmethod
    def _require_key(sample: EvalSample, key: str) -> None:
        if sample.source != key:
            raise GccError(
                f"miou_judge judges photographs that are made from label maps: {key} holds the label maps here, and the images are made"
                f" from {sample.source}; leave it out, or turn the direction round"
            )


def _fingerprint(source: DatasetSource) -> str:
    sizes = {key: tuple(value.shape) for key, value in source.sample(0, None).items()}
    return hashlib.sha256(f"{VERSION} {PAIRS} {STEPS} {sizes} {source.identity}".encode()).hexdigest()[:12]


def _read(file: Path, device: torch.device) -> SmallSegmenter | None:
    """Return the judge that was kept; none where the file is damaged, and a new one has to be trained."""
    try:
        return SmallSegmenter.of_tensors(read_tensors(file), device)
    except (GccError, KeyError, RuntimeError, ValueError):
        return None


def _keep(judge: SmallSegmenter, file: Path) -> None:
    # Data that may only be read has its judge trained anew.
    with suppress(OutputError), replacing(file) as fresh:
        save_file(judge.to_tensors(), fresh)


def train_segmenter(pairs: LabelledPairs, device: torch.device) -> SmallSegmenter:
    """Train a segmenter on pairs and measure it on some that are held out.

    Raises:
        DataError: there is a single pair.
    """
    held = torch.arange(len(pairs.labels)) % HELD_OUT == 0
    learned = int((~held).sum())
    if not learned:
        raise DataError("a judge learns from pairs and is measured on others: this data has a single one")
    task = f"{learned} real pairs, {len(pairs.palette)} classes, {STEPS} steps"
    print(f"training a judge for miou_judge on {task}", file=sys.stderr, flush=True)
    with seeded(SEED, "judge"):
        network = SmallUNet(len(pairs.palette)).to(device)
    _train(network, pairs.photos[~held], pairs.labels[~held], device)
    network.eval().requires_grad_(False)
    answers = [network(photo[None].to(device)).argmax(1).cpu() for photo in pairs.photos[held]]
    score = mean_iou(confusions(torch.cat(answers), pairs.labels[held], len(pairs.palette)).sum(0))
    return SmallSegmenter(network, pairs.key, pairs.palette, learned, int(held.sum()), score)


def _train(network: SmallUNet, photos: Tensor, labels: Tensor, device: torch.device) -> None:
    """Train for a fixed number of steps on random crops, mirrored half the time.

    Classes weigh by the root of how rare they are: the mean IoU counts all alike, but with wholly even weights rare ones are found
    everywhere.
    """
    random = np.random.default_rng(SEED)
    counts = labels.flatten().bincount(minlength=network.head.out_channels).float().clamp(min=1)
    weight = counts.rsqrt()
    weight = (weight / weight.mean()).to(device)
    height, width = (min(CROP, side) for side in labels.shape[-2:])
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
        # Who asks for a judge may be sampling, without gradients.
        with torch.enable_grad():
            loss = cross_entropy(network(photo), label, weight)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
