"""Draws street scenes at random, in metres, independent of any resolution.

X runs to the right from the middle of the road, Y up from the ground, Z along the road away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]
"""Red, green and blue in [0, 1]."""
RoadSide = Literal[-1, 1]
"""Left or right of the road."""

FAR = 120.0
"""Depth at which the street ends."""
FLOOR = 3.1
"""Height of a storey."""

# A building's colour depends on its number of storeys, which the label map shows, so that a generator can infer the colour from it.
FACADES: dict[int, tuple[Colour, ...]] = {
    2: ((0.87, 0.74, 0.53), (0.84, 0.68, 0.50)),
    3: ((0.76, 0.47, 0.37), (0.80, 0.54, 0.41)),
    4: ((0.88, 0.81, 0.69), (0.84, 0.78, 0.66)),
    5: ((0.67, 0.69, 0.62), (0.70, 0.66, 0.60)),
    6: ((0.60, 0.64, 0.70), (0.64, 0.66, 0.69)),
}
PAINTS: tuple[Colour, ...] = (
    (0.66, 0.12, 0.13),
    (0.16, 0.28, 0.50),
    (0.82, 0.83, 0.84),
    (0.25, 0.27, 0.30),
    (0.55, 0.59, 0.62),
    (0.78, 0.63, 0.25),
)
SHIRTS: tuple[Colour, ...] = ((0.75, 0.22, 0.20), (0.20, 0.35, 0.60), (0.85, 0.80, 0.70), (0.25, 0.45, 0.35), (0.35, 0.30, 0.38))
SKINS: tuple[Colour, ...] = ((0.92, 0.75, 0.64), (0.72, 0.53, 0.41), (0.45, 0.31, 0.24))


@dataclass(frozen=True)
class Light:
    """The light of a time of day: colours of sun and sky, and the position of the sun."""

    side: RoadSide
    slope: float
    """Height that casts a shadow one metre long across the road."""
    sun: Colour
    ambient: Colour
    zenith: Colour
    horizon: Colour
    cloudiness: float


@dataclass(frozen=True)
class Block:
    """A building, or a hedge if `storeys` is 0, on one side of the road from `near` to `far`."""

    side: RoadSide
    near: float
    far: float
    storeys: int
    height: float
    nearer: float
    """Height of the neighbour towards the camera, which hides this block's front up to there."""
    wall: Colour
    trim: Colour
    bay: float
    """Distance between windows."""
    seed: int


@dataclass(frozen=True)
class Thing:
    """An upright object in the street at (`x`, `z`)."""

    kind: Literal["car", "oncoming", "person", "tree", "lamp", "sign"]
    x: float
    z: float
    height: float
    colour: Colour
    second: Colour
    seed: int


@dataclass(frozen=True)
class Scene:
    """A street, its light and its camera."""

    light: Light
    horizon: float
    """The horizon's height in the image, from its top, as a share."""
    vanishing: float
    """Position of the vanishing point from the left of the image, as a share."""
    camera: float
    """The camera's X."""
    road: float
    """Half of the road's width."""
    verge: float
    """Width of the grass beside the road; 0 for none."""
    wall: float
    """Distance of the buildings from the middle of the road."""
    blocks: tuple[Block, ...]
    """From far to near."""
    things: tuple[Thing, ...]
    """From far to near."""
    seed: int


def draw_scene(random: np.random.Generator) -> Scene:
    """Draw a street."""
    road = random.uniform(3.7, 4.5)
    verge = random.uniform(1.2, 1.7) if random.random() < 0.4 else 0.0
    wall = road + verge + random.uniform(2.6, 3.6)
    blocks = [block for side in (-1, 1) for block in _blocks(random, -1 if side < 0 else 1)]
    things = [thing for side in (-1, 1) for thing in _roadside(random, side, road, wall, verge)] + _traffic(random, road)
    return Scene(
        light=_light(random),
        horizon=random.uniform(0.50, 0.58),
        vanishing=random.uniform(0.40, 0.60),
        camera=random.uniform(-1.6, 1.6),
        road=road,
        verge=verge,
        wall=wall,
        blocks=tuple(sorted(blocks, key=lambda block: -block.near)),
        things=tuple(sorted(things, key=lambda thing: -thing.z)),
        seed=_seed(random),
    )


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(1 << 16))


def _choice(random: np.random.Generator, colours: tuple[Colour, ...], spread: float = 0.03) -> Colour:
    red, green, blue = np.array(colours[random.integers(len(colours))]) + random.normal(0, spread)
    return float(red), float(green), float(blue)


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (float(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _light(random: np.random.Generator) -> Light:
    evening = random.beta(1.2, 2.2)
    return Light(
        side=-1 if random.random() < 0.5 else 1,
        slope=random.uniform(2.0, 3.0),
        sun=_mixed((0.56, 0.54, 0.49), (0.66, 0.50, 0.31), evening),
        ambient=_mixed((0.50, 0.54, 0.60), (0.49, 0.47, 0.53), evening),
        zenith=_mixed((0.27, 0.50, 0.82), (0.38, 0.48, 0.72), evening),
        horizon=_mixed((0.80, 0.88, 0.95), (0.99, 0.85, 0.68), evening),
        cloudiness=random.uniform(0.25, 0.75),
    )


def _blocks(random: np.random.Generator, side: RoadSide) -> list[Block]:
    blocks: list[Block] = []
    near = random.uniform(-6.0, 4.0)
    while near < FAR:
        hedge = random.random() < 0.16 and not (blocks and not blocks[-1].storeys)
        far = min(near + random.uniform(9.0, 19.0) * (0.6 if hedge else 1.0), FAR)
        storeys = 0 if hedge else int(random.integers(2, 7))
        height = random.uniform(2.0, 3.4) if hedge else storeys * FLOOR + random.uniform(1.0, 1.5)
        wall = (0.28, 0.40, 0.16) if hedge else _choice(random, FACADES[storeys])
        trim = _mixed(wall, (1.0, 0.98, 0.94), random.uniform(0.45, 0.65))
        nearer = blocks[-1].height if blocks else 0.0
        blocks.append(Block(side, near, far, storeys, height, nearer, wall, trim, random.uniform(2.3, 3.1), _seed(random)))
        near = far
    return blocks


def _roadside(random: np.random.Generator, side: int, road: float, wall: float, verge: float) -> list[Thing]:
    """Draw parked cars, trees, lamps, signs and people on one side of the road."""
    things: list[Thing] = []
    kerb = road + (verge / 2 if verge else 0.5)
    z = random.uniform(6.0, 10.0)
    planted = random.random() < 0.75
    while z < 65.0:
        if planted and random.random() < 0.7:
            green = _choice(random, ((0.30, 0.45, 0.15), (0.26, 0.42, 0.17), (0.36, 0.47, 0.16)), 0.015)
            things.append(Thing("tree", side * kerb, z, random.uniform(5.0, 8.0), green, (0.30, 0.22, 0.16), _seed(random)))
        elif random.random() < 0.5:
            things.append(Thing("lamp", side * kerb, z, random.uniform(5.5, 6.5), (0.27, 0.29, 0.30), (0.95, 0.93, 0.85), _seed(random)))
        elif random.random() < 0.7:
            things.append(Thing("sign", side * kerb, z, random.uniform(2.4, 2.9), (0.55, 0.56, 0.58), (0.9, 0.9, 0.9), _seed(random)))
        z += random.uniform(7.0, 13.0)
    z = random.uniform(6.0, 15.0)
    while z < 60.0:
        if random.random() < 0.6:
            kind: Literal["car", "oncoming"] = "car" if side > 0 else "oncoming"
            things.append(_car(random, kind, side * (road - 1.05), z))
        z += random.uniform(5.6, 9.0)
    for _ in range(random.poisson(2.6)):
        x, z = side * random.uniform(road + verge + 0.6, wall - 0.6), 5.5 + 30.0 * random.beta(1.0, 2.0)
        shirt, skin = _choice(random, SHIRTS), _choice(random, SKINS, 0.0)
        things.append(Thing("person", x, z, random.uniform(1.55, 1.85), shirt, skin, _seed(random)))
    return things


def _traffic(random: np.random.Generator, road: float) -> list[Thing]:
    lane = (road - 2.0) / 2
    ahead = [_car(random, "car", lane, random.uniform(9.0, 35.0))] if random.random() < 0.6 else []
    return ahead + ([_car(random, "oncoming", -lane, random.uniform(9.0, 40.0))] if random.random() < 0.6 else [])


def _car(random: np.random.Generator, kind: Literal["car", "oncoming"], x: float, z: float) -> Thing:
    return Thing(kind, x, z, random.uniform(1.42, 1.58), _choice(random, PAINTS, 0.02), (0.10, 0.12, 0.15), _seed(random))
