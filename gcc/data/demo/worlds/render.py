"""Renders a meadow in one of the worlds, with its light, its season and the coats of its animals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gcc.data.demo.painting import Array, Where, mix, rgb, soft_noise, stripes
from gcc.data.demo.worlds.scene import Animal, Bush, Ridge, Scene

Colour = tuple[float, float, float]
Point = tuple[float, float]

PERIOD = 0.2
"""Distance from stripe to stripe in heights of the shoulders."""
BEND = 0.45
"""How far the middle of a stripe is ahead of its ends in radii of the body: the animals are seen a little from ahead."""


@dataclass(frozen=True)
class World:
    """The colours of a world.

    Attributes:
        zenith: colour of the sky above.
        haze: its colour at the horizon, and of what is far.
        glow: of the sky around the sun.
        cloud: colour of the clouds.
        hills: colours of the ridges, from the farthest to the nearest.
        meadow: colours of the meadow, far and near.
        bush: colour of the bushes.
        skins: colours between the stripes and of the stripes by what they cover; where both are the same, there are none.
    """

    zenith: Colour
    haze: Colour
    glow: Colour
    cloud: Colour
    hills: tuple[Colour, Colour]
    meadow: tuple[Colour, Colour]
    bush: Colour
    skins: Mapping[str, tuple[Colour, Colour]]


SUMMER = World(
    zenith=(0.25, 0.50, 0.86),
    haze=(0.74, 0.87, 0.97),
    glow=(0.94, 0.97, 0.96),
    cloud=(0.98, 0.98, 1.00),
    hills=((0.42, 0.60, 0.62), (0.30, 0.54, 0.30)),
    meadow=((0.46, 0.68, 0.26), (0.24, 0.50, 0.14)),
    bush=(0.14, 0.36, 0.14),
    skins={"coat": ((0.60, 0.29, 0.12),) * 2, "mane": ((0.22, 0.10, 0.05),) * 2, "hoof": ((0.15, 0.09, 0.06),) * 2},
)
"""Chestnut animals on a green meadow at noon."""
SAVANNAH = World(
    zenith=(0.46, 0.54, 0.76),
    haze=(0.98, 0.78, 0.56),
    glow=(1.00, 0.88, 0.56),
    cloud=(1.00, 0.86, 0.76),
    hills=((0.68, 0.52, 0.52), (0.70, 0.50, 0.32)),
    meadow=((0.90, 0.74, 0.38), (0.70, 0.50, 0.20)),
    bush=(0.44, 0.40, 0.16),
    skins={
        "coat": ((0.95, 0.93, 0.88), (0.07, 0.06, 0.07)),
        "mane": ((0.80, 0.76, 0.70), (0.07, 0.06, 0.07)),
        "hoof": ((0.10, 0.09, 0.09),) * 2,
    },
)
"""Striped animals in dry grass towards evening."""


@dataclass(frozen=True)
class Part:
    """A rounded limb from `start` to `end` in heights of the shoulders, ahead of the middle of the animal and above the ground."""

    start: Point
    end: Point
    radii: Point
    skin: str
    light: float = 1.0


class Picture:
    """Colours (n, n, 3), and the pixels' centres `x` (n,) and `y` (n, 1) in shares of the image from its upper left corner."""

    def __init__(self, size: int) -> None:
        self.pixel = 1.0 / size
        self.x = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.y = self.x[:, None]
        self.colour = np.zeros((size, size, 3), dtype=np.float32)

    def where(self, x: float, y: float, aside: float, above: float, below: float) -> Where:
        """Return the pixels around (`x`, `y`)."""
        rows, columns = np.searchsorted(self.x, ((y - above, x - aside), (y + below, x + aside))).T.tolist()
        return slice(*rows), slice(*columns)

    def paint(self, where: Where, colour: Array, share: Array) -> None:
        """Paint with `colour`, (3,) or (h, w, 3), the `share` (h, w) of each pixel."""
        self.colour[where] = mix(self.colour[where], colour, share)

    def cover(self, inside: Array, unit: float = 1.0) -> Array:
        """Return how much of each pixel is inside an edge that is this far away, in `unit` of the image."""
        return np.clip(inside * (unit / self.pixel) + 0.5, 0, 1)


def render(scene: Scene, world: World, size: int) -> npt.NDArray[np.uint8]:
    """Return a picture of the scene in the world, (size, size, 3)."""
    picture = Picture(size)
    _sky(picture, scene, world)
    for ridge, colour in zip(scene.ridges, world.hills, strict=True):
        _hills(picture, scene, ridge, rgb(colour))
    _meadow(picture, scene, world)
    for bush in scene.bushes:
        _bush(picture, scene, bush, world)
    for animal in scene.animals:
        _animal(picture, scene, animal, world)
    return (picture.colour.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _sky(picture: Picture, scene: Scene, world: World) -> None:
    where = picture.where(0.5, 0.0, 0.5, 0.0, scene.horizon)
    x, y = picture.x, picture.y[where[0]]
    height = 1 - y / scene.horizon
    colour = mix(rgb(world.haze), rgb(world.zenith), np.broadcast_to(height**0.8, (len(y), len(x))))
    across, down = 3 + 5 * x, 9 / (height + 0.35)
    density = 0.6 * soft_noise(across * 2, down, scene.seed) + 0.35 * soft_noise(across * 5, down * 2.5, scene.seed + 99)
    colour = mix(colour, rgb(world.cloud), np.clip(density + scene.cloudiness - 0.45, 0, 0.85) * np.clip(height * 3, 0, 1))
    distance = (x - scene.sun[0]) ** 2 + (y - scene.sun[1]) ** 2
    picture.colour[where] = mix(colour, rgb(world.glow), 0.6 * np.exp(distance / -0.05))


def _hills(picture: Picture, scene: Scene, ridge: Ridge, colour: Array) -> None:
    where = picture.where(0.5, scene.horizon, 0.5, 0.3, 0.06)
    x, y = picture.x, picture.y[where[0]]
    top, slope = np.full_like(x, ridge.top), np.zeros_like(x)
    for amplitude, waves, phase in ridge.waves:
        angle = 2 * np.pi * waves * x + phase
        top += amplitude * np.sin(angle)
        slope += amplitude * 2 * np.pi * waves * np.cos(angle)
    below = y - top
    towards_sun = slope * np.tanh(6 * (x - scene.sun[0]))
    shade = 1.06 - 0.35 * towards_sun - 1.2 * below + 0.05 * soft_noise(x * 30, y * 90, scene.seed + 7)
    picture.paint(where, colour * shade[..., None], picture.cover(below))


def _meadow(picture: Picture, scene: Scene, world: World) -> None:
    where = picture.where(0.5, scene.horizon, 0.5, 0.0, 1.0)
    x, y = picture.x, picture.y[where[0]]
    near = (y - scene.horizon) / (1 - scene.horizon)
    distance = 1 / (near + 0.12)
    u, v = (x - 0.5) * distance * 16, distance * 20
    patches = soft_noise(u, v, scene.seed + 3)
    blades = soft_noise(u * 5, v * 3, scene.seed + 5) * np.clip(0.03 / (distance * picture.pixel), 0, 1)
    colour = mix(rgb(world.meadow[0]), rgb(world.meadow[1]), np.clip(near + 0.16 * patches, 0, 1))
    picture.colour[where] = colour * (1 + 0.05 * patches + 0.07 * blades)[..., None]


def _bush(picture: Picture, scene: Scene, bush: Bush, world: World) -> None:
    height = bush.height
    _shadow(picture, scene, bush.x, bush.ground, height * 0.8)
    for aside, up, radius in ((-0.42, 0.34, 0.34), (0.45, 0.3, 0.3), (0.0, 0.5, 0.5)):
        centre, middle, reach = bush.x + aside * height, bush.ground - up * height, radius * height
        where = picture.where(centre, middle, reach + picture.pixel, reach + picture.pixel, reach + picture.pixel)
        x, y = (picture.x[where[1]] - centre) / reach, (picture.y[where[0]] - middle) / reach
        leaves = soft_noise(x * 5, y * 5, scene.seed + 11)
        light = 0.95 - 0.4 * y + math.copysign(0.2, scene.sun[0] - bush.x) * x + 0.1 * leaves
        picture.paint(where, rgb(world.bush) * light[..., None], picture.cover(1 - np.hypot(x, y), reach))


def _shadow(picture: Picture, scene: Scene, x: float, ground: float, reach: float) -> None:
    centre = x + 0.5 * reach * (x - scene.sun[0])
    where = picture.where(centre, ground, 2 * reach, 0.5 * reach, 0.5 * reach)
    across = (picture.x[where[1]] - centre) / reach
    along = (picture.y[where[0]] - ground) / (0.2 * reach)
    picture.colour[where] *= 1 - 0.5 * np.exp(-((across**2 + along**2) ** 2))[..., None]


def _animal(picture: Picture, scene: Scene, animal: Animal, world: World) -> None:
    _shadow(picture, scene, animal.x, animal.ground, 0.8 * animal.height)
    sun = math.copysign(0.25, animal.facing * (scene.sun[0] - animal.x))
    for part in _anatomy(animal):
        _limb(picture, animal, part, world.skins[part.skin], sun)


def _limb(picture: Picture, animal: Animal, part: Part, skin: tuple[Colour, Colour], sun: float) -> None:
    """Paint a limb: a tapered capsule, lit as a round body, with rings around it."""
    (x0, y0), (x1, y1), height = part.start, part.end, animal.height
    reach = max(part.radii) + picture.pixel / height
    middle, aside = animal.x + animal.facing * height * (x0 + x1) / 2, height * (abs(x1 - x0) / 2 + reach)
    where = picture.where(middle, animal.ground, aside, height * (max(y0, y1) + reach), height * (reach - min(y0, y1)))
    x = (picture.x[where[1]] - animal.x) * (animal.facing / height) - x0
    y = (animal.ground - picture.y[where[0]]) / height - y0
    length = math.hypot(x1 - x0, y1 - y0)
    ahead, up = (x1 - x0) / length, (y1 - y0) / length
    along = x * ahead + y * up
    on_axis = np.clip(along, 0, length)
    radius = part.radii[0] + (part.radii[1] - part.radii[0]) * on_axis / length
    out_x, out_y = (x - on_axis * ahead) / radius, (y - on_axis * up) / radius
    distance = np.hypot(out_x, out_y)
    out = np.sqrt(np.clip(1 - distance**2, 0, 1))
    rings = stripes(along - BEND * radius * out, PERIOD, animal.phase * PERIOD, PERIOD / 2, picture.pixel / height)
    light = part.light * animal.tint * (0.80 + 0.18 * out + 0.32 * out_y + sun * out_x)
    picture.paint(where, mix(rgb(skin[0]), rgb(skin[1]), rings) * light[..., None], picture.cover((1 - distance) * radius, height))


def _anatomy(animal: Animal) -> list[Part]:
    """Return the parts of an animal that faces right, from the farthest to the nearest."""
    nod, stride = animal.nod, animal.stride
    poll = (0.80 + 0.13 * nod, 1.18 - 0.70 * nod)
    muzzle = (poll[0] + 0.28 - 0.17 * nod, poll[1] - 0.16 - 0.14 * nod)
    return [
        *_leg(-0.34, stride, 0.60),
        *_leg(0.28, -stride, 0.60),
        Part((-0.60, 0.86), (-0.78, 0.42), (0.04, 0.065), "mane"),
        Part((0.26 + 0.18 * nod, 0.92 - 0.03 * nod), (poll[0] - 0.07 + 0.10 * nod, poll[1] + 0.07), (0.07, 0.06), "mane"),
        *_leg(-0.42, -stride, 0.95),
        *_leg(0.36, stride, 0.95),
        Part((-0.38, 0.77), (0.32, 0.74), (0.27, 0.25), "coat"),
        Part((0.34, 0.80), poll, (0.20, 0.10), "coat"),
        Part(poll, (poll[0] - 0.02 - 0.06 * nod, poll[1] + 0.20 - 0.05 * nod), (0.05, 0.02), "coat"),
        Part(poll, muzzle, (0.13, 0.08), "coat"),
        Part((muzzle[0] - 0.02, muzzle[1]), (muzzle[0] + 0.02, muzzle[1] - 0.01), (0.075, 0.07), "hoof"),
        Part((poll[0] + 0.05, poll[1]), (poll[0] + 0.06, poll[1]), (0.025, 0.025), "hoof"),
    ]


def _leg(x: float, step: float, light: float) -> list[Part]:
    return [
        Part((x, 0.64), (x + step, 0.06), (0.14, 0.05), "coat", light),
        Part((x + step, 0.06), (x + step + 0.02, 0.03), (0.055, 0.06), "hoof", light),
    ]
