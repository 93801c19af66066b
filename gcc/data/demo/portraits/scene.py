"""Draws the person of a demo portrait at random, as lit blobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from gcc.data.demo.portraits.blobs import Blob, Picture, Pose

Array = npt.NDArray[Any]
T = TypeVar("T")
Style = Literal["bald", "short", "crop", "curly", "bob", "long", "bun", "tails"]
STYLES: tuple[Style, ...] = ("short", "short", "crop", "curly", "bald")
FEMININE_STYLES: tuple[Style, ...] = ("bob", "long", "long", "curly", "bun", "tails", "short")


def _colours(*colours: tuple[float, float, float]) -> Array:
    return np.array(colours, dtype=np.float32)


SKINS = _colours((0.98, 0.84, 0.75), (0.93, 0.74, 0.61), (0.82, 0.61, 0.46), (0.64, 0.44, 0.32), (0.42, 0.28, 0.21))
"""From light to dark."""
HAIRS = _colours(
    (0.10, 0.08, 0.09),
    (0.22, 0.14, 0.10),
    (0.38, 0.24, 0.15),
    (0.55, 0.27, 0.13),
    (0.88, 0.70, 0.38),
    (0.72, 0.72, 0.73),
    (0.80, 0.42, 0.18),
)
DARK_HAIRS = HAIRS[:3]
IRISES = _colours((0.25, 0.15, 0.09), (0.36, 0.24, 0.12), (0.25, 0.47, 0.68), (0.30, 0.48, 0.30))
CLOTHES = _colours(
    (0.80, 0.25, 0.25),
    (0.20, 0.36, 0.62),
    (0.93, 0.91, 0.86),
    (0.20, 0.45, 0.38),
    (0.24, 0.24, 0.30),
    (0.93, 0.70, 0.25),
    (0.55, 0.36, 0.60),
)
BACKDROPS = _colours(
    (0.55, 0.75, 0.88),
    (0.95, 0.80, 0.62),
    (0.62, 0.78, 0.62),
    (0.86, 0.70, 0.76),
    (0.66, 0.64, 0.80),
    (0.30, 0.40, 0.50),
    (0.88, 0.87, 0.84),
)
WHITE, BLACK, LIP, GOLD = _colours((1.0, 0.99, 0.97), (0.09, 0.07, 0.08), (0.80, 0.28, 0.32), (0.88, 0.70, 0.38))


@dataclass(frozen=True)
class Person:
    """Properties that the parts of a portrait share."""

    skin: Array
    hair: Array
    style: Style
    face: Blob
    feminine: bool
    light: float
    """Direction of the light: -1 from the left, 1 from the right."""

    @property
    def cap(self) -> Blob:
        """The hair on the skull, before the face is cut out of it."""
        thick = 0.05 if self.style == "crop" else 0.10
        below = 0.75 if self.loose else 0.14
        return Blob(0.0, -0.02, self.face.width + thick * 0.6, 0.53 + thick, self.hair, below=below, power=2.3, relief=0.6)

    @property
    def loose(self) -> bool:
        """Whether the hair falls over the ears."""
        return self.style in ("bob", "long")


def draw_portrait(random: np.random.Generator) -> Picture:
    """Draw a portrait."""
    person = _person(random)
    backdrop = _pick(random, BACKDROPS)
    figure = [
        *_hair_behind(person),
        *_shoulders(person, random),
        *_head(person, random),
        *_nose(person, random),
        *_mouth(person, random),
        *([] if person.feminine or random.random() < 0.6 else _beard(person, random)),
        *_eyes(person, random),
        *_hair_before(person, random),
        *(_glasses(random) if random.random() < 0.22 else []),
        *(_hat(person, random) if random.random() < 0.15 else []),
    ]
    return Picture(
        top=_mix(backdrop, WHITE, random.uniform(0.0, 0.4)),
        bottom=_mix(backdrop, BLACK, random.uniform(0.0, 0.35)),
        lights=_bokeh(random) if random.random() < 0.5 else [],
        figure=figure,
        pose=Pose(random.uniform(1.0, 1.12), random.normal(0.0, 0.04), random.normal(0.0, 0.02), random.normal(0.04, 0.02)),
        light=(0.55 * person.light, -0.3),
    )


def _person(random: np.random.Generator) -> Person:
    place = random.uniform(0, len(SKINS) - 1)
    skin = _mix(SKINS[int(place)], SKINS[int(place) + 1], place % 1)
    feminine = random.random() < 0.5
    power = random.uniform(1.95, 2.2) if feminine else random.uniform(2.1, 2.5)
    return Person(
        skin=skin,
        hair=_pick(random, DARK_HAIRS if place > 2 else HAIRS),
        style=_one_of(random, FEMININE_STYLES if feminine else STYLES),
        face=Blob(0.0, 0.06, random.uniform(0.40, 0.46), 0.56, skin, below=random.uniform(0.55, 0.63), power=power, relief=0.5),
        feminine=feminine,
        light=_one_of(random, (-1, 1)) * random.uniform(0.5, 1.0),
    )


def _bokeh(random: np.random.Generator) -> list[Blob]:
    lights = []
    for _ in range(random.integers(5, 12)):
        radius = random.uniform(0.08, 0.26)
        colour = _mix(_pick(random, BACKDROPS), WHITE, 0.4)
        x, y = random.uniform(-1, 1, 2)
        lights.append(Blob(x, y, radius, radius, colour, soft=0.06, opacity=random.uniform(0.15, 0.5)))
    return lights


def _hair_behind(person: Person) -> list[Blob]:
    hair, width = _dark(person.hair, 0.85), person.face.width
    cap = replace(person.cap, colour=hair)
    match person.style:
        case "curly":
            return [Blob(0.0, -0.12, width + 0.26, 0.66, hair, below=0.70 if person.feminine else 0.45, curls=13, relief=0.5)]
        case "bob":
            return [Blob(0.0, 0.0, width + 0.15, 0.72, hair, below=0.66, power=2.8, relief=0.4)]
        case "long":
            return [Blob(0.0, 0.1, width + 0.16, 0.82, hair, below=1.2, power=2.6, relief=0.4)]
        case "bun":
            return [Blob(0.0, -0.70, 0.22, 0.20, hair, relief=0.6), cap]
        case "tails":
            return [cap, *(Blob(side * (width + 0.17), 0.30, 0.15, 0.44, hair, turn=-0.25 * side, relief=0.6) for side in (-1, 1))]
        case "short" | "crop":
            return [cap]
        case "bald":
            return []


def _shoulders(person: Person, random: np.random.Generator) -> list[Blob]:
    cloth = _pick(random, CLOTHES)
    width = 0.74 if person.feminine else 0.88
    body = Blob(0.0, 1.36, width, 0.56, cloth, power=2.6, relief=0.4)
    throat = _dark(person.skin, 0.9)
    neck = Blob(0.0, 0.62, 0.17 if person.feminine else 0.22, 0.42, throat, power=4.0, relief=0.3)
    shadow = Blob(0.0, 0.66, 0.26, 0.17, _dark(person.skin, 0.6), soft=0.12, opacity=0.7, within=(neck,))
    match _one_of(random, ("open", "round", "folded", "rolled")):
        case "open":
            collar = [Blob(0.0, 0.80, neck.width, 0.30, throat, power=1.2)]
        case "round":
            collar = [Blob(0.0, 0.84, neck.width + 0.08, 0.13, _dark(cloth, 0.75)), Blob(0.0, 0.81, neck.width + 0.02, 0.11, throat)]
        case "folded":
            collar = [Blob(side * neck.width, 0.90, 0.17, 0.07, _mix(cloth, WHITE, 0.6), turn=-0.7 * side, power=3.0) for side in (-1, 1)]
        case _:
            collar = [Blob(0.0, 0.86, neck.width + 0.05, 0.13, _dark(cloth, 0.9), power=3.0, relief=0.6)]
    return [neck, shadow, body, *collar]


def _head(person: Person, random: np.random.Generator) -> list[Blob]:
    face, skin = person.face, person.skin
    blush = _mix(skin, LIP, 0.45)
    cheeks = [Blob(side * 0.25, 0.25, 0.13, 0.10, blush, soft=0.16, opacity=0.5) for side in (-1, 1)]
    if person.loose:
        return [face, *cheeks]
    ears = [Blob(side * (face.width + 0.01), 0.08, 0.07, 0.13, _dark(skin, 0.88), relief=0.4) for side in (-1, 1)]
    rings = [Blob(side * (face.width + 0.03), 0.25, 0.035, 0.045, GOLD, relief=0.6) for side in (-1, 1)]
    return [*ears, face, *cheeks, *(rings if person.feminine and random.random() < 0.5 else [])]


def _eyes(person: Person, random: np.random.Generator) -> list[Blob]:
    iris = DARK_HAIRS[1] if person.skin[0] < 0.75 else _pick(random, IRISES)
    apart, open_, gaze = random.uniform(0.185, 0.215), random.uniform(0.05, 0.07), random.normal(0.0, 0.012)
    slant, lift = random.normal(0.05, 0.05), random.uniform(0.0, 0.03)
    brow = _dark(_mix(person.hair, person.skin, 0.15), 0.75)
    thick = random.uniform(0.018, 0.026) if person.feminine else random.uniform(0.026, 0.04)
    eyes = []
    for side in (-1, 1):
        x = side * apart
        white = Blob(x, 0.02, 0.108, open_, WHITE, power=1.8, turn=-side * slant)
        eyes += [
            Blob(x, 0.0, 0.14, 0.09, _dark(person.skin, 0.75), soft=0.12, opacity=0.5),
            Blob(x, 0.005, 0.12, open_ + 0.012, BLACK, power=1.8, turn=-side * slant, opacity=0.9 if person.feminine else 0.65),
            white,
            Blob(x + gaze, 0.015, 0.056, 0.058, iris, within=(white,)),
            Blob(x + gaze, 0.015, 0.030, 0.031, BLACK, within=(white,)),
            Blob(x + gaze + 0.018 * person.light, -0.005, 0.014, 0.014, WHITE),
            Blob(x * 1.04, -0.125 - lift, 0.115, thick, brow, bend=-2.5, turn=side * random.normal(0.08, 0.05), power=1.8),
        ]
    return eyes


def _nose(person: Person, random: np.random.Generator) -> list[Blob]:
    wide, shadow = random.uniform(0.07, 0.10), _dark(person.skin, 0.72)
    away = -1 if person.light > 0 else 1
    return [
        Blob(away * 0.05, 0.13, 0.035, 0.16, shadow, soft=0.06, opacity=0.6),
        Blob(0.0, 0.235, wide, 0.055, _dark(person.skin, 0.97), relief=0.5, soft=0.03),
        *(Blob(side * wide * 0.55, 0.265, 0.022, 0.014, _dark(person.skin, 0.45), opacity=0.8) for side in (-1, 1)),
        Blob(-away * 0.015, 0.21, 0.03, 0.03, WHITE, soft=0.05, opacity=0.35),
    ]


def _mouth(person: Person, random: np.random.Generator) -> list[Blob]:
    painted = random.uniform(0.5, 0.95) if person.feminine else random.uniform(0.2, 0.4)
    lip, width, smile = _mix(_dark(person.skin, 0.85), LIP, painted), random.uniform(0.14, 0.20), random.uniform(1.0, 3.0)
    if random.random() < 0.5:
        inside = Blob(0.0, 0.42, width * 0.9, 0.035, WHITE, bend=smile, power=1.8)
        return [Blob(0.0, 0.42, width, 0.058, lip, below=0.066, bend=smile, power=1.8), inside]
    line = Blob(0.0, 0.42, width, 0.012, _dark(lip, 0.5), bend=smile, power=1.8)
    return [Blob(0.0, 0.42, width * 0.85, 0.045, lip, below=0.055, bend=smile, power=1.8), line]


def _beard(person: Person, random: np.random.Generator) -> list[Blob]:
    width, colour, opacity = person.face.width, _dark(person.hair, 0.9), _one_of(random, (0.35, 0.9))
    lips = Blob(0.0, 0.43, 0.15, 0.05, LIP, bend=2.0)
    cheeks = Blob(0.0, 0.05, width * 0.86, 0.9, colour, below=0.27, power=3.0)
    moustache = Blob(0.0, 0.335, 0.16, 0.032, colour, bend=-1.2, power=1.8, opacity=opacity)
    whole = Blob(0.0, 0.45, width * 0.98, 0.5, colour, below=0.27, power=2.4, opacity=opacity, soft=0.03)
    full = replace(whole, within=(person.face,), without=(cheeks, lips))
    return _one_of(random, ([moustache], [full], [full, moustache]))


def _hair_before(person: Person, random: np.random.Generator) -> list[Blob]:
    if person.style == "bald":
        return []
    cap, part = person.cap, _one_of(random, (-1, 0, 1))
    inner = person.face.width * (0.88 if person.loose else 0.96)
    if person.feminine and random.random() < 0.3:
        opening = Blob(0.0, 0.3, inner, 0.46, WHITE, below=1.2, power=5.0)
    else:
        opening = Blob(part * 0.03, 0.2, inner, random.uniform(0.52, 0.62), WHITE, below=1.2, power=2.6, turn=part * 0.2)
    shine = Blob(0.25 * person.light, -0.42, 0.18, 0.06, _mix(person.hair, WHITE, 0.5), bend=-1.0, soft=0.12, opacity=0.5)
    return [replace(cap, without=(opening,)), replace(shine, within=(cap,), without=(opening,))]


def _glasses(random: np.random.Generator) -> list[Blob]:
    frame = _pick(random, np.concatenate([CLOTHES[[0, 4]], DARK_HAIRS]))
    power, height = _one_of(random, (2.0, 4.0)), random.uniform(0.105, 0.13)
    dark = random.random() < 0.3
    glasses = [Blob(0.0, 0.0, 0.06, 0.016, frame)]
    for side in (-1, 1):
        lens = Blob(side * 0.205, 0.02, 0.14, height, BLACK if dark else WHITE, power=power, opacity=0.9 if dark else 0.12)
        rim = Blob(side * 0.205, 0.02, 0.165, height + 0.025, frame, power=power, without=(lens,))
        glasses += [lens, rim, Blob(side * 0.40, 0.0, 0.06, 0.016, frame, power=4.0)]
    return glasses


def _hat(person: Person, random: np.random.Generator) -> list[Blob]:
    colour = _pick(random, CLOTHES)
    dark, width = _dark(colour, 0.7), person.face.width
    match _one_of(random, ("knitted", "brimmed", "peaked")):
        case "knitted":
            tassel = Blob(0.0, -0.74, 0.11, 0.11, WHITE, relief=0.5)
            cuff = Blob(0.0, -0.28, width + 0.10, 0.10, _mix(colour, WHITE, 0.25), power=4.0, bend=-0.2, relief=0.5)
            return [tassel, Blob(0.0, -0.26, width + 0.08, 0.50, colour, below=0.1, relief=0.6), cuff]
        case "brimmed":
            crown = Blob(0.0, -0.36, width + 0.05, 0.42, colour, below=0.12, power=2.8, relief=0.6)
            ribbon = Blob(0.0, -0.36, width + 0.06, 0.07, dark, power=4.0, bend=0.2)
            return [crown, ribbon, Blob(0.0, -0.30, width + 0.42, 0.09, colour, bend=0.15, relief=0.5)]
        case _:
            peak = Blob(0.0, -0.25, width + 0.04, 0.09, dark, bend=-0.6, power=2.6, relief=0.4)
            return [Blob(0.0, -0.30, width + 0.06, 0.44, colour, below=0.08, relief=0.6), peak]


def _one_of(random: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(random.integers(len(options)))]


def _pick(random: np.random.Generator, colours: Array) -> Array:
    """Return one of the colours (n, 3), varied a little."""
    picked: Array = np.clip(colours[random.integers(len(colours))] + random.normal(0, 0.025), 0.03, 1).astype(np.float32)
    return picked


def _mix(a: Array, b: Array, share: float) -> Array:
    mixed: Array = a + (b - a) * np.float32(share)
    return mixed


def _dark(colour: Array, share: float) -> Array:
    darker: Array = colour * np.float32(share)
    return darker
