"""The views of scenes: a house front, roofs, a garden, mountains by a lake, and the sea."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gcc.data.demo.painting import Array, dice, mix, noise, rgb, soft_noise
from gcc.data.demo.scenes.materials import brick, foliage, gravel, lettering, panes, plaster, shingles

OVERSAMPLING = 2
RIDGES = 4
GRAIN = 0.010
"""Deviation of a photograph's noise."""

STONE = rgb(((0.80, 0.70, 0.54), (0.74, 0.60, 0.50), (0.66, 0.68, 0.70), (0.84, 0.78, 0.66), (0.62, 0.70, 0.66), (0.80, 0.56, 0.46)))
CLAY = rgb(((0.66, 0.33, 0.24), (0.58, 0.28, 0.22), (0.72, 0.48, 0.34), (0.52, 0.42, 0.38)))
SLATE = rgb(((0.78, 0.40, 0.27), (0.66, 0.31, 0.22), (0.42, 0.45, 0.50), (0.60, 0.42, 0.32)))
PAINT = rgb(((0.20, 0.36, 0.30), (0.22, 0.32, 0.46), (0.48, 0.20, 0.17), (0.32, 0.26, 0.22)))
GREENS = rgb(((0.55, 0.68, 0.22), (0.44, 0.62, 0.24), (0.68, 0.70, 0.28), (0.78, 0.52, 0.20)))
SHADE = rgb((0.08, 0.13, 0.06))
WORDS = ("HOTEL", "CAFE", "BAR", "TEA", "LIBRE", "TABAC", "THEATER")


@dataclass(frozen=True)
class Picture:
    """A region of a picture while it is painted.

    Attributes:
        x: places of its pixels from the left, (1, w), in widths of the whole picture.
        y: places of its pixels from the top, (h, 1).
        colour: their colours, (h, w, 3).
    """

    x: Array
    y: Array
    colour: Array

    @classmethod
    def blank(cls, pixels: int) -> Picture:
        """Return a whole picture of `pixels` x `pixels`."""
        places = ((np.arange(pixels) + 0.5) / pixels).astype(np.float32)
        return cls(places[None], places[:, None], np.zeros((pixels, pixels, 3), dtype=np.float32))

    def region(self, left: float, right: float, top: float, bottom: float) -> Picture:
        """Return the region within these bounds; painting on it changes this picture."""
        columns = slice(*np.searchsorted(self.x[0], (left, right)))
        rows = slice(*np.searchsorted(self.y[:, 0], (top, bottom)))
        return Picture(self.x[:, columns], self.y[rows], self.colour[rows, columns])

    def paint(self, where: Array, colour: Array) -> None:
        """Paint the pixels that `where` selects."""
        np.copyto(self.colour, colour, where=where[..., None])

    def shade(self, light: Array) -> None:
        """Multiply every colour by `light`, (h, w) or smaller."""
        self.colour[:] *= light[..., None]


def render(pixels: int, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the picture of a scene that `random` draws, (pixels, pixels, 3)."""
    picture = Picture.blank(pixels * OVERSAMPLING)
    VIEWS[random.integers(len(VIEWS))](picture, random)
    colour = picture.colour.reshape(pixels, OVERSAMPLING, pixels, OVERSAMPLING, 3).mean(1).mean(2)
    colour *= rgb((1.0, 1.0, 1.0)) + rgb((0.05, 0.0, -0.06)) * random.normal()
    colour *= random.uniform(0.88, 1.08)
    colour += random.normal(0, GRAIN, colour.shape)
    levels: npt.NDArray[np.uint8] = (colour.clip(0, 1) * 255).round().astype(np.uint8)
    return levels


def front(picture: Picture, random: np.random.Generator) -> None:
    """Paint the front of a house, seen aslant."""
    seed, seen, slant = _seed(random), random.uniform(2.6, 5.0), random.uniform(-0.75, 0.75)
    distance = seen / (1 - slant * (picture.x - 0.5))
    u, v = (picture.x - 0.5) * distance, (picture.y - random.uniform(0.3, 0.7)) * distance
    wall = _one(random, CLAY) if random.random() < 0.6 else _one(random, STONE)
    built = random.integers(3)
    if built == 0:
        picture.colour[:] = plaster(u, v, seed, wall)
    else:
        picture.colour[:] = brick(u, v, seed, wall) if built == 1 else brick(u, v, seed, wall, 0.6, 0.3, 0.02)
    _windows(picture, u, v, random)
    if random.random() < 0.5:
        _sign(picture, u, v, random)
    if random.random() < 0.5:
        edge = random.uniform(0.5, 0.75) + 0.2 * (picture.x - 0.5) * random.normal()
        ragged = 0.06 * soft_noise(picture.x * 40, picture.y * 40, seed) + 0.02 * noise(picture.x * 150, picture.y * 150, seed)
        _leaves(picture, picture.y + ragged > edge, random, seen)
    # The shadow of a tree, or of the house across.
    dappled = soft_noise(u * 9 + v * 3, v * 9, seed + 1) + 2.5 * (u + v) / seen > random.uniform(-1.5, 1.5)
    picture.shade(np.where(dappled, 1.08, 0.72))


def roofs(picture: Picture, random: np.random.Generator) -> None:
    """Paint houses behind houses."""
    _sky(picture, 0.6, random)
    top = random.uniform(0.16, 0.30)
    for depth in range(4):
        size = 0.17 * 1.45**depth
        left = random.uniform(-0.6, 0.0) * size
        while left < 1:
            width = size * random.uniform(1.0, 1.7)
            _house(picture, left, width, top + random.normal(0, 0.15) * size, size, depth, random)
            left += width * random.uniform(0.8, 1.0)
        top += size * random.uniform(0.65, 0.85)


def garden(picture: Picture, random: np.random.Generator) -> None:
    """Paint a path through a garden, with trees and a railing."""
    seed, horizon = _seed(random), random.uniform(0.38, 0.52)
    _sky(picture, horizon, random)
    for _ in range(random.integers(2, 5)):
        x, radius = random.uniform(0, 1), random.uniform(0.14, 0.26)
        _tree(picture, x, horizon - radius * random.uniform(0.3, 0.9), radius, horizon + 0.08, random)
    ground = picture.region(0, 1, horizon, 1)
    depth = 0.75 / (ground.y - horizon + 0.02)
    u, v = (ground.x - random.uniform(0.3, 0.7)) * depth, -depth
    blades = 0.50 + 0.14 * noise(u * 60, v * 30, seed) + 0.16 * noise(u * 170, v * 70, seed)
    ground.colour[:] = mix(rgb((0.12, 0.22, 0.06)), rgb((0.52, 0.62, 0.24)), blades.clip(0, 1))
    stones = _one(random, STONE)
    path = gravel(u, v, seed, stones) if random.random() < 0.5 else brick(u, v, seed, stones, 0.5, 0.35, 0.03)
    bend = u + 0.12 * (v + 1.5) * random.normal()
    ground.paint(np.abs(bend) < random.uniform(0.5, 0.9) + 0.02 * noise(u * 10, v * 10, seed), path)
    ground.shade(np.where(soft_noise(u * 9, v * 9, seed) > 0.3, 0.62, 1.05))
    hedge = picture.region(0, 1, horizon - 0.09, horizon + 0.07)
    _leaves(hedge, hedge.y + 0.02 * soft_noise(hedge.x * 60, hedge.y * 60, seed) > horizon - 0.06, random, 6.0)
    if random.random() < 0.6:
        _railing(picture, random)


def mountains(picture: Picture, random: np.random.Generator) -> None:
    """Paint mountains, woods, and the lake that mirrors them."""
    shore = random.uniform(0.58, 0.74)
    haze, snowline = _sky(picture, shore, random), random.uniform(0.40, 0.68)
    x, level = picture.x, np.zeros_like(picture.x)
    for number in range(RIDGES):
        seed, near = _seed(random), (number + 1) / RIDGES
        outline = soft_noise(x * 9, level, seed) + 0.35 * soft_noise(x * 40, level, seed) + 0.12 * noise(x * 160, level, seed)
        ridge = shore * (0.38 + 0.52 * near) - 0.075 * (1.2 - near) * 2 * outline
        slopes = picture.region(0, 1, float(ridge.min()), shore)
        below = slopes.y - ridge
        relief = soft_noise(x * 38 + below * 30, below * 70, seed) * 0.5 + noise(x * 170 + below * 60, below * 200, seed) * 0.25
        rock = mix(rgb((0.20, 0.20, 0.24)), rgb((0.62, 0.56, 0.52)), (0.45 + 0.5 * relief).clip(0, 1))
        snow = slopes.y + 0.4 * below + 0.11 * relief < snowline * shore
        rock[snow] = mix(rgb((0.62, 0.70, 0.84)), rgb((1.0, 0.99, 0.97)), (0.55 + 0.8 * relief[snow]).clip(0, 1))
        green = mix(rgb((0.08, 0.14, 0.08)), rgb((0.34, 0.42, 0.20)), (0.4 + 0.3 * relief).clip(0, 1))
        slopes.paint(below > 0, mix(mix(rock, green, np.full_like(relief, near**2)), haze, np.full_like(relief, 0.5 * (1 - near))))
    _firs(picture, shore, random)
    _water(picture, shore, random)


def sea(picture: Picture, random: np.random.Generator) -> None:
    """Paint waves, sails, and a beach of pebbles."""
    seed, horizon = _seed(random), random.uniform(0.34, 0.50)
    haze = _sky(picture, horizon, random)
    water = picture.region(0, 1, horizon, 1)
    depth = 1 / (water.y - horizon + 0.012)
    u, v = (water.x - 0.5) * depth, depth
    swell = 0.9 * soft_noise(u * 3, v * 9, seed) + 0.7 * soft_noise(u * 11, v * 26, seed + 1) + 0.4 * noise(u * 140, v * 160, seed)
    deep, clear = (
        mix(rgb((0.04, 0.20, 0.32)), rgb((0.05, 0.32, 0.34)), np.asarray(random.random(), dtype=np.float32)),
        haze * rgb((0.85, 0.95, 1.0)),
    )
    water.colour[:] = mix(deep, clear, (0.34 + 0.20 * swell + 0.25 / (1 + 8 * (water.y - horizon))).clip(0, 1))
    water.paint(swell + 0.4 * noise(u * 60, v * 70, seed) > 2.2, rgb((0.94, 0.96, 0.96)))
    for nearer in sorted(random.uniform(0.005, 0.10, random.integers(1, 5))):
        _sail(picture, random.uniform(0.1, 0.9), horizon + nearer, 0.10 + 1.3 * nearer, random)
    if random.random() < 0.7:
        line = (
            random.uniform(0.72, 0.88)
            + 0.015 * soft_noise(water.x * 30, np.zeros_like(water.x), seed)
            + random.normal(0, 0.15) * (water.x - 0.5)
        )
        wet = (water.y - line) / 0.10
        beach = gravel(u * 0.9, v * 1.3, seed, _one(random, STONE)) * (0.55 + 0.45 * wet.clip(0, 1))[..., None]
        water.paint(wet > 0, beach)
        water.paint((np.abs(wet) < 0.25) & (noise(water.x * 300, water.y * 300, seed) + 4 * np.abs(wet) < 0.6), rgb((0.95, 0.96, 0.95)))


VIEWS: tuple[Callable[[Picture, np.random.Generator], None], ...] = (front, roofs, garden, mountains, sea)


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(1 << 16))


def _one(random: np.random.Generator, colours: Array) -> Array:
    colour: Array = colours[random.integers(len(colours))] * np.float32(random.uniform(0.85, 1.1))
    return colour


def _sky(picture: Picture, horizon: float, random: np.random.Generator) -> Array:
    """Paint the sky down to `horizon`, and return its colour there."""
    evening, seed = np.asarray(random.beta(1.0, 2.0), dtype=np.float32), _seed(random)
    zenith = mix(rgb((0.20, 0.42, 0.78)), rgb((0.30, 0.34, 0.60)), evening)
    haze = mix(rgb((0.78, 0.87, 0.95)), rgb((0.99, 0.80, 0.60)), evening)
    sky = picture.region(0, 1, 0, horizon + 0.1)
    far = 1 / (horizon + 0.25 - sky.y)
    billows = soft_noise(sky.x * far * 7, far * 14, seed) + 0.45 * soft_noise(sky.x * far * 28, far * 56, seed)
    cloud = (0.5 * billows + random.uniform(-0.7, 0.5)).clip(0, 1) * 0.9
    white = mix(rgb((0.99, 0.98, 0.97)), haze * rgb((0.80, 0.80, 0.86)), (0.45 * billows - 0.3).clip(0, 1))
    clear = mix(zenith, haze, np.broadcast_to((sky.y / horizon).clip(0, 1) ** 1.3, billows.shape))
    sky.colour[:] = mix(clear, white, cloud)
    return haze


def _windows(picture: Picture, u: Array, v: Array, random: np.random.Generator) -> None:
    seed, bay, storey = _seed(random), random.uniform(1.3, 2.0), random.uniform(2.0, 2.8)
    width, height = random.uniform(0.65, 0.9), random.uniform(1.1, 1.5)
    paint, bars = _one(random, PAINT), int(random.integers(2, 5))
    column, row = u / bay, v / storey
    across, down = column % 1 * bay - (bay - width) / 2, row % 1 * storey - (storey - height) / 2
    lintel = (across > -0.10) & (across < width + 0.10) & (down > -0.14) & (down < height + 0.12)
    picture.paint(lintel, rgb((0.86, 0.83, 0.77)) * (1 - 0.3 * (down > height + 0.08))[..., None])
    if random.random() < 0.5:
        aside = np.maximum(-across, across - width)
        slat = 0.70 + 0.45 * ((down / 0.07) % 1)
        slat *= np.where((aside % (width / 2) < 0.03) | (down % (height / 2) < 0.03), 1.15, 1.0)
        picture.paint(
            (aside > 0) & (aside < min(width / 2, (bay - width) / 2 - 0.02)) & (down > 0) & (down < height), paint * slat[..., None]
        )
    glass = (across > 0) & (across < width) & (down > 0) & (down < height)
    picture.paint(glass, panes(across, down, width, height, dice(column, row, seed), bars))
    if random.random() < 0.5:
        low = (down - height * 0.5) / (height * 0.5)
        rail = (across > -0.2) & (across < width + 0.2) & (low > 0) & (low < 1.1)
        bar = ((across % 0.11) < 0.022) | (low < 0.07) | (low > 1.02) | ((low > 0.8) & (low < 0.84))
        picture.paint(rail & bar, rgb((0.07, 0.07, 0.08)))


def _sign(picture: Picture, u: Array, v: Array, random: np.random.Generator) -> None:
    word = WORDS[random.integers(len(WORDS))]
    size = random.uniform(0.22, 0.42)
    x, y = u / size + 0.4 * len(word), v / size + random.uniform(-1.5, 2.5)
    board = (x > -0.4) & (x < 0.8 * len(word) + 0.2) & (y > -0.4) & (y < 1.4)
    rim = (x > -0.3) & (x < 0.8 * len(word) + 0.1) & (y > -0.3) & (y < 1.3)
    colour, bright = _one(random, PAINT), rgb((0.96, 0.92, 0.80))
    picture.paint((x > -0.25) & (x < 0.8 * len(word) + 0.35) & (y > -0.2) & (y < 1.6), picture.colour * np.float32(0.45))
    picture.paint(board, np.where(rim[..., None], colour, bright))
    picture.paint(lettering(word, x, y), bright)


def _leaves(picture: Picture, where: Array, random: np.random.Generator, seen: float) -> None:
    """Paint leaves on the pixels that `where` selects; the picture is `seen` metres wide."""
    green = _one(random, GREENS)
    picture.paint(where, foliage(picture.x * seen, picture.y * seen, _seed(random), SHADE, green))


def _tree(picture: Picture, x: float, y: float, radius: float, foot: float, random: np.random.Generator) -> None:
    seed = _seed(random)
    trunk = picture.region(x - 0.1 * radius, x + 0.1 * radius, y, foot)
    bark = 0.6 + 0.35 * (trunk.x - x) / (0.1 * radius) + 0.15 * noise(trunk.x * 300, trunk.y * 60, seed)
    trunk.colour[:] = rgb((0.30, 0.23, 0.17)) * bark[..., None]
    crown = picture.region(x - 1.4 * radius, x + 1.4 * radius, y - 1.4 * radius, y + 1.4 * radius)
    right, down = (crown.x - x) / radius, (crown.y - y) / radius
    ragged = 0.14 * soft_noise(right * 8, down * 8, seed) + 0.12 * noise(right * 40, down * 40, seed)
    lit = (0.95 - 0.35 * (right + down)).clip(0.3, 1.4)
    leaves = foliage(crown.x * 4.5, crown.y * 4.5, seed, SHADE, _one(random, GREENS)) * lit[..., None]
    crown.paint(np.hypot(right, down) + ragged < 0.95, leaves)


def _railing(picture: Picture, random: np.random.Generator) -> None:
    top, iron, gap = random.uniform(0.60, 0.72), rgb((0.09, 0.10, 0.11)), random.uniform(0.045, 0.075)
    x, y = picture.x / gap, picture.y - top - 0.08 * random.normal() * (picture.x - 0.5)
    bars = (np.abs(x % 1 - 0.5) < 0.09) & (y > -0.03)
    tips = (np.abs(x % 1 - 0.5) < 0.24 + y * 4) & (np.abs(x % 1 - 0.5) < -y * 6) & (y < 0)
    picture.paint(bars | tips | (np.abs(y - 0.03) < 0.008) | (np.abs(y - 0.30) < 0.010), iron)


def _house(picture: Picture, left: float, width: float, top: float, size: float, depth: int, random: np.random.Generator) -> None:
    """Paint a house whose ridge is at `top`."""
    seed, right = _seed(random), left + width
    eaves, metres = top + size * random.uniform(0.45, 0.6), 3.2 / size
    slope = random.uniform(0.0, 0.25) * width
    chimney = random.uniform(left + slope + 0.1 * width, right - slope - 0.2 * width)
    stack = picture.region(chimney, chimney + 0.10 * size, top - 0.20 * size, top + 0.1 * size)
    stack.colour[:] = brick(stack.x * metres, stack.y * metres, seed, _one(random, CLAY))
    roof = picture.region(left, right, top, eaves)
    inset = slope * (eaves - roof.y) / (eaves - top)
    tiles = shingles((roof.x - left) * metres, (roof.y - top) * metres, seed, _one(random, SLATE))
    roof.paint((roof.x > left + inset) & (roof.x < right - inset), tiles)
    ridge = picture.region(left + slope, right - slope, top, top + 0.03 * size)
    ridge.shade(np.full(ridge.colour.shape[:2], 1.3, dtype=np.float32))
    wall = picture.region(left + 0.02 * size, right - 0.02 * size, eaves, 1)
    u, v = (wall.x - left) * metres, (wall.y - eaves) * metres
    wall.colour[:] = plaster(u, v, seed, _one(random, STONE))
    across, down = u % 1.2 - 0.3, v % 1.7 - 0.35
    inside = (across > 0) & (across < 0.6) & (down > 0) & (down < 0.9)
    wall.paint((across > -0.08) & (across < 0.68) & (down > -0.08) & (down < 1.0), rgb((0.92, 0.90, 0.85)))
    wall.paint(inside, panes(across, down, 0.6, 0.9, dice(u / 1.2, v / 1.7, seed), 2))
    wall.shade(np.where(v < 0.22, 0.6, 1.0))


def _firs(picture: Picture, shore: float, random: np.random.Generator) -> None:
    """Paint a row of firs along the shore."""
    seed = _seed(random)
    strip = picture.region(0, 1, shore - 0.24, shore)
    for gap, tall, tone in ((0.028, 0.16, 0.7), (0.041, 0.20, 1.0)):
        tree = strip.x / gap + seed % 13
        height = tall * (0.3 + 0.7 * dice(tree, np.zeros_like(tree), seed)) * (0.6 + 0.4 * np.sin(strip.x * 7 + seed))
        down = (strip.y - shore + height) / height
        boughs = (0.10 + 0.45 * down) * (0.65 + 0.35 * (down * 9 % 1)) + 0.05 * noise(strip.x * 300, strip.y * 300, seed)
        aside = tree % 1 - 0.5
        needles = (0.5 - 0.6 * aside + 0.16 * noise(strip.x * 400, strip.y * 400, seed)) * tone
        strip.paint((np.abs(aside) < boughs) & (down > 0), mix(rgb((0.03, 0.07, 0.05)), rgb((0.30, 0.42, 0.20)), needles.clip(0, 1)))


def _water(picture: Picture, shore: float, random: np.random.Generator) -> None:
    """Paint the water, which mirrors everything above the shore."""
    seed = _seed(random)
    lake = picture.region(0, 1, shore, 1)
    pixels, rows = picture.colour.shape[0], lake.colour.shape[0]
    below = lake.y - shore
    ripples = noise(lake.x * 40 / (0.1 + below), 14 / (0.1 + below), seed)
    first = pixels - rows
    mirrored = first - 1 - (below * pixels * 1.1 + ripples * 25 * below).astype(int).clip(0, first - 1)
    columns = np.arange(pixels)[None]
    lake.colour[:] = picture.colour[mirrored, columns] * rgb((0.66, 0.76, 0.80)) + (0.05 * ripples * (below > 0.01))[..., None]
    bank = picture.region(0, 1, shore - 0.01, shore + 0.006)
    bank.colour[:] = gravel(bank.x * 6, bank.y * 6, seed, rgb((0.55, 0.52, 0.42)))


def _sail(picture: Picture, x: float, y: float, size: float, random: np.random.Generator) -> None:
    """Paint a sailing boat that floats at (`x`, `y`)."""
    boat = picture.region(x - size, x + size, y - 1.3 * size, y)
    right, up = (boat.x - x) / size, (y - boat.y) / size
    seam = np.where(up * 8 % 1 < 0.12, 0.85, 1.0)
    sails = ((right > 0.02) & (right < 0.55 * (1.15 - up))) | ((right < -0.02) & (right > -0.40 * (1.0 - up)))
    boat.paint(sails & (up > 0.2), _one(random, STONE + np.float32(0.2)) * (seam - 0.25 * (right < 0))[..., None])
    boat.paint((np.abs(right) < 0.018) & (up < 1.22), rgb((0.25, 0.18, 0.12)))
    hull = np.abs(right - 0.05) < 0.42 + 0.8 * up
    boat.paint(hull & (up < 0.13), np.where((up > 0.10)[..., None], rgb((0.95, 0.95, 0.92)), _one(random, PAINT)))
