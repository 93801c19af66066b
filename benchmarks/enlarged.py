"""Draw photographs that a teacher and its student enlarge four times, next to bicubic enlargement and the photographs themselves.

The run compressed `networks_of_others:SRGAN`. Each crop is 240 pixels wide and high; its photograph is reduced first, so that it is sharp:

    python benchmarks/enlarged.py runs/srgan friends_by_Aitzol_Berasategi.jpg:3:190,230 --out enlarged.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from networks_of_others import SRGAN
from PIL import Image, ImageDraw, ImageFont
from torch import nn

import gcc
from gcc.data.images import to_image, to_tensor

SIZE, FACTOR, GAP, TITLE = 240, 4, 6, 26


def crop(text: str) -> Image.Image:
    """Return the crop that `FILE:REDUCTION:LEFT,TOP` describes."""
    path, reduction, corner = text.rsplit(":", 2)
    left, top = map(int, corner.split(","))
    photograph = Image.open(path).convert("RGB").reduce(int(reduction))
    return photograph.crop((left, top, left + SIZE, top + SIZE))


@torch.inference_mode()
def enlarged(network: nn.Module, image: Image.Image) -> Image.Image:
    """Return an image that a network enlarges; it maps [0, 1] to [0, 1]."""
    return to_image(2 * network((to_tensor(image)[None] + 1) / 2)[0] - 1)


def columns(photograph: Image.Image, teacher: nn.Module, student: nn.Module) -> dict[str, Image.Image]:
    """Return the images of one row, by title."""
    small = photograph.resize((SIZE // FACTOR, SIZE // FACTOR), Image.Resampling.BICUBIC)
    return {
        "bicubic": small.resize(photograph.size, Image.Resampling.BICUBIC),
        "teacher": enlarged(teacher, small),
        "student": enlarged(student, small),
        "photograph": photograph,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("crops", nargs="+", metavar="FILE:REDUCTION:LEFT,TOP")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    networks = [gcc.load(arguments.run / role, factory=SRGAN) for role in ("teacher", "student")]
    rows = [columns(crop(text), *networks) for text in arguments.crops]
    sheet = Image.new("RGB", (len(rows[0]) * (SIZE + GAP) - GAP, TITLE + len(rows) * (SIZE + GAP) - GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, title in enumerate(rows[0]):
        draw.text((column * (SIZE + GAP) + SIZE / 2, TITLE / 2), title, "black", font, anchor="mm")
        for row, images in enumerate(rows):
            sheet.paste(images[title], (column * (SIZE + GAP), TITLE + row * (SIZE + GAP)))
    sheet.save(arguments.out, quality=92)
