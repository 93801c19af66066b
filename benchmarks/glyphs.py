"""Prepare "glyphs": the 3,926 colour pictures of an emoji font, as a flat folder of images.

A counterpart of CelebA that comes in a package: Noto Color Emoji (OFL), which stores its bitmaps as PNG files in the font.

    apt-get install fonts-noto-color-emoji && pip install fonttools
    python benchmarks/glyphs.py data/glyphs

writes them on white, with 136x136 pixels.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import Image

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
SIDE = 136


def prepare(font: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    glyphs = TTFont(font)["CBDT"].strikeData[0]
    for name, glyph in glyphs.items():
        picture = Image.open(io.BytesIO(glyph.imageData)).convert("RGBA")
        page = Image.new("RGB", (SIDE, SIDE), "white")
        page.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2), picture)
        page.save(out / f"{name}.png")
    print(f"{out}: {len(glyphs)} glyphs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--font", type=Path, default=FONT)
    arguments = parser.parse_args()
    prepare(arguments.font, arguments.out)
