"""Draws meadows at random: hills, bushes and animals that both worlds share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Ridge:
    """The skyline of a range of hills, around `top` from the upper edge of the image.

    Attributes:
        waves: amplitude, waves in the width of the image, and phase of each wave.
    """

    top: float
    waves: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Bush:
    """A round bush that stands at (`x`, `ground`)."""

    x: float
    ground: float
    height: float


@dataclass(frozen=True)
class Animal:
    """An animal whose hooves stand at (`x`, `ground`).

    Attributes:
        height: of its shoulders.
        facing: 1 to the right, -1 to the left.
        nod: from 0, with the head held high, to 1, grazing.
        stride: how far its legs are apart.
        tint: brightness of its coat.
        phase: where its stripes begin.
    """

    x: float
    ground: float
    height: float
    facing: int
    nod: float
    stride: float
    tint: float
    phase: float


@dataclass(frozen=True)
class Scene:
    """A meadow. Positions and sizes are shares of the image, from its upper left corner.

    Attributes:
        horizon: height at which the meadow would vanish.
        sun: where the sun stands.
        cloudiness: from 0 to 1.
        seed: of the textures.
        ridges: from the farthest to the nearest, behind the meadow.
        bushes: from the farthest to the nearest.
        animals: from the farthest to the nearest.
    """

    horizon: float
    sun: tuple[float, float]
    cloudiness: float
    seed: int
    ridges: tuple[Ridge, ...]
    bushes: tuple[Bush, ...]
    animals: tuple[Animal, ...]


def draw_scene(random: np.random.Generator) -> Scene:
    """Draw a meadow."""
    horizon = random.uniform(0.36, 0.46)
    return Scene(
        horizon=horizon,
        sun=(random.uniform(0.1, 0.9), random.uniform(0.08, 0.24)),
        cloudiness=random.uniform(0.2, 0.8),
        seed=int(random.integers(1 << 16)),
        ridges=tuple(_ridge(random, horizon - rise, steepness) for rise, steepness in ((0.10, 0.035), (0.045, 0.025))),
        bushes=tuple(_bush(random, horizon, distance) for distance in sorted(random.uniform(0.03, 0.14, random.integers(2, 6)).tolist())),
        animals=_herd(random, horizon),
    )


def _ridge(random: np.random.Generator, top: float, steepness: float) -> Ridge:
    waves = ((steepness / waves, waves * random.uniform(0.8, 1.2), random.uniform(0, 2 * np.pi)) for waves in (0.8, 1.9, 4.3))
    return Ridge(top + random.uniform(-0.02, 0.02), tuple(waves))


def _bush(random: np.random.Generator, horizon: float, distance: float) -> Bush:
    return Bush(random.uniform(0, 1), horizon + distance, (0.03 + 0.6 * distance) * random.uniform(0.8, 1.3))


def _herd(random: np.random.Generator, horizon: float) -> tuple[Animal, ...]:
    """Draw up to two animals at either side, and one before them."""
    side = int(random.choice((-1, 1)))
    behind = [
        _animal(random, horizon, 0.5 + aside * random.uniform(0.24, 0.42), horizon + random.uniform(0.20, 0.30))
        for aside in (side, -side)[: random.integers(0, 3)]
    ]
    front = _animal(random, horizon, 0.5, random.uniform(0.84, 0.93))
    # Its head has to be in sight.
    front = replace(front, x=0.5 - 0.1 * front.facing + random.uniform(-0.1, 0.1))
    return (*sorted(behind, key=lambda animal: animal.ground), front)


def _animal(random: np.random.Generator, horizon: float, x: float, ground: float) -> Animal:
    return Animal(
        x=x,
        ground=ground,
        height=0.74 * (ground - horizon) * random.uniform(0.92, 1.04),
        facing=int(random.choice((-1, 1))),
        nod=float(random.choice((random.uniform(-0.1, 0.2), random.uniform(0.9, 1.1)))),
        stride=random.uniform(-0.16, 0.16),
        tint=random.uniform(0.85, 1.12),
        phase=random.uniform(0, 1),
    )
