"""The materials of scenes: colours of brick, tiles, windows, leaves and stones at points of a surface.

A material takes places `u` to the right and `v` downwards in metres, shaped so that they broadcast to (...), and gives colours (..., 3) in
[0, 1]. `seed` moves its pattern about.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from gcc.data.demo.painting import Array, dice, mix, noise, rgb, soft_noise

GRAIN = 512
"""Height and width of the patterns of leaves and stones in texels; they repeat after it."""
LETTERS = {
    "A": ".#. #.# ### #.# #.#",
    "B": "##. #.# ##. #.# ##.",
    "C": ".## #.. #.. #.. .##",
    "E": "### #.. ##. #.. ###",
    "F": "### #.. ##. #.. #..",
    "H": "#.# #.# ### #.# #.#",
    "I": "### .#. .#. .#. ###",
    "L": "#.. #.. #.. #.. ###",
    "N": "##. #.# #.# #.# #.#",
    "O": ".#. #.# #.# #.# .#.",
    "R": "##. #.# ##. #.# #.#",
    "T": "### .#. .#. .#. .#.",
}
"""Letters of 3 x 5 dots, by rows."""


def brick(u: Array, v: Array, seed: int, colour: Array, length: float = 0.25, height: float = 0.085, joint: float = 0.014) -> Array:
    """Return bricks in running bond, or slabs if they are long."""
    row = np.floor(v / height)
    column = u / length + row % 2 / 2
    tone = 0.78 + 0.34 * dice(column, row, seed) + 0.05 * noise(u * 90, v * 90, seed)
    across, down = column % 1 * length, v % height
    lit = tone + 0.16 * (down < 0.2 * height)
    mortar = (across < joint) | (down > height - joint)
    return np.where(mortar[..., None], 0.35 * colour + 0.40, colour * lit[..., None])


def shingles(u: Array, v: Array, seed: int, colour: Array, width: float = 0.22) -> Array:
    """Return overlapping roof tiles with round lower edges."""
    rows = v / (0.85 * width)
    row = np.floor(rows)
    columns = u / width + row % 2 / 2
    across, down = columns % 1 - 0.5, rows % 1
    beyond = down > 0.98 - 1.5 * across**2
    # Beyond its edge a tile lets the next row be seen, in its shade.
    tone = 0.72 + 0.42 * dice(columns + np.where(beyond, 0.5, 0.0), row + beyond, seed) - 0.9 * across**2 + 0.14 * down
    tone = np.where(beyond, 0.42 * tone, tone) + 0.04 * noise(u * 60, v * 60, seed)
    return colour * tone[..., None]


def plaster(u: Array, v: Array, seed: int, colour: Array) -> Array:
    """Return rendered wall with stains."""
    return colour * (1 + 0.035 * noise(u * 60, v * 60, seed) + 0.05 * soft_noise(u * 9, v * 5, seed))[..., None]


def panes(across: Array, down: Array, width: float, height: float, tone: Array, bars: int) -> Array:
    """Return a window at points from its upper left corner: frame, glazing bars, and glass whose reflection `tone` in [0, 1] sets."""
    frame = 0.06
    column, row = across / width * 2, down / height * bars
    bar = np.minimum(np.minimum(column % 1, 1 - column % 1) * width / 2, np.minimum(row % 1, 1 - row % 1) * height / bars) < 0.022
    edge = np.minimum(np.minimum(across, width - across), np.minimum(down, height - down)) < frame
    shine = ((across + 0.6 * down + 3 * tone) % 1.3 < 0.35) * 0.16 + 0.30 * (1 - down / height) * tone
    glass = mix(rgb((0.10, 0.13, 0.17)), rgb((0.72, 0.82, 0.90)), shine + 0.25 * tone)
    glass *= np.where((down < frame + 0.14) | (across < frame + 0.06), 0.55, 1.0)[..., None]
    return np.where((bar | edge)[..., None], rgb((0.93, 0.92, 0.88)), glass)


def foliage(u: Array, v: Array, seed: int, dark: Array, bright: Array) -> Array:
    """Return leaves, about 0.1 m long, in light and shade."""
    tone = _grain(_leaves(), u * 150, v * 150, seed) * (0.75 + 0.22 * soft_noise(u * 6, v * 6, seed))
    return mix(dark, bright, tone)


def gravel(u: Array, v: Array, seed: int, colour: Array) -> Array:
    """Return pebbles, about 0.05 m wide."""
    tone = _grain(_pebbles(), u * 300, v * 300, seed)
    tint = rgb((0.05, 0.0, -0.05)) * noise(u * 12, v * 12, seed)[..., None]
    pebbles: Array = colour * (0.25 + 1.05 * tone)[..., None] + tint * tone[..., None]
    return pebbles


def lettering(word: str, u: Array, v: Array) -> Array:
    """Return whether points lie inside the letters of `word`, which are 1 high and 0.8 apart from (0, 0) on."""
    dots = np.concatenate([[[dot == "#" for dot in row] + [False] for row in LETTERS[letter].split()] for letter in word], axis=1)
    column, row = np.floor(u * 5).astype(int), np.floor(v * 5).astype(int)
    inside = (column >= 0) & (column < dots.shape[1]) & (row >= 0) & (row < 5)
    within: Array = dots[row.clip(0, 4), column.clip(0, dots.shape[1] - 1)] & inside
    return within


def _grain(pattern: Array, u: Array, v: Array, seed: int) -> Array:
    columns, rows = np.floor(u + seed % GRAIN).astype(np.int32), np.floor(v + seed // GRAIN).astype(np.int32)
    texels: Array = pattern[rows % GRAIN, columns % GRAIN]
    return texels


@cache
def _leaves() -> Array:
    return _scattered(count=5000, length=9.0, slimness=2.2, pointed=1.0)


@cache
def _pebbles() -> Array:
    return _scattered(count=3500, length=8.5, slimness=1.3, pointed=0.5)


def _scattered(count: int, length: float, slimness: float, pointed: float) -> Array:
    """Return the tones of overlapping leaves or stones, lit from the upper left, (GRAIN, GRAIN) in [0, 1]; the lower ones are darker.

    Args:
        count: how many there are.
        length: half of the longest's length in texels.
        slimness: length over width.
        pointed: 0.5 for ellipses, 1 for the shape of a leaf.
    """
    random = np.random.default_rng(20213)
    tones = np.zeros((GRAIN, GRAIN), dtype=np.float32)
    reach = np.arange(-int(length) - 1, int(length) + 2)
    for number in range(count):
        x, y = random.integers(GRAIN, size=2)
        angle, half = random.uniform(0, 2 * np.pi), length * random.uniform(0.55, 1.0)
        along = (np.cos(angle) * reach + np.sin(angle) * reach[:, None]) / half
        across = (np.cos(angle) * reach[:, None] - np.sin(angle) * reach) / half * slimness
        inside = np.abs(across) < np.maximum(1 - along**2, 0) ** pointed
        light = 0.62 - 0.22 * (reach + reach[:, None]) / half + 0.14 * np.sign(across) * pointed + random.normal(0, 0.14)
        depth = 0.30 + 0.70 * number / count
        where = np.ix_((y + reach) % GRAIN, (x + reach) % GRAIN)
        tones[where] = np.where(inside, np.clip(light * depth, 0, 1), tones[where])
    return tones
