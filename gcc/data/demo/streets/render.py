"""Renders a street scene as a photograph and as a map of class labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gcc.data.demo.painting import Array, Mask, Where, band, dice, mix, noise, rgb, soft_noise, stripes
from gcc.data.demo.streets.canvas import EYE, FOCAL, Canvas
from gcc.data.demo.streets.scene import FAR, FLOOR, Block, Light, Scene, Thing

ROAD, SIDEWALK, BUILDING, POLE, SIGN, VEGETATION, TERRAIN, SKY, PERSON, CAR = range(10)

OVERSAMPLING = 2
HAZE = 170.0
"""Depth in metres at which the haze leaves 1/e of a colour."""

CAR_LENGTH = 4.2
PLINTH = 0.3
"""Height of the ground floor above the pavement in metres."""
AWNINGS = ((0.62, 0.20, 0.17), (0.20, 0.38, 0.33), (0.66, 0.25, 0.19), (0.22, 0.36, 0.42), (0.84, 0.80, 0.70))


def render(scene: Scene, size: int, random: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the photograph (size, size, 3) and the labels (size, size); `random` is the sensor's noise."""
    canvas = Canvas(scene, size * OVERSAMPLING)
    _sky(canvas, scene)
    _skyline(canvas, scene)
    _ground(canvas, scene)
    for block in scene.blocks:
        _block(canvas, scene, block)
    for thing in scene.things:
        _PAINTERS[thing.kind](canvas, thing, scene.light)
    fine = _developed(canvas, scene)
    photo = fine.reshape(size, OVERSAMPLING, size, OVERSAMPLING, 3).mean((1, 3))
    photo += 0.012 * random.standard_normal((size, size, 3), dtype=np.float32)
    labels = canvas.label[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]
    return (photo.clip(0, 1) * 255 + 0.5).astype(np.uint8), np.ascontiguousarray(labels)


def _developed(canvas: Canvas, scene: Scene) -> Array:
    """Return the colours behind haze and lens: (n, n, 3) in [0, 1]."""
    clear = np.exp(canvas.depth / -HAZE)
    clear[canvas.label == SKY] = 1.0
    colour = mix(rgb(scene.light.horizon), canvas.colour, clear)
    radius = (canvas.u + scene.vanishing - 0.5) ** 2 + (canvas.v + scene.horizon - 0.5) ** 2
    colour = colour * (1.04 - 0.22 * radius)[..., None]
    # A gentle shoulder keeps sunlit walls from burning out.
    return np.where(colour > 0.75, 0.75 + 0.25 * np.tanh((colour - 0.75) / 0.25), colour).astype(np.float32)


def _lit(light: Light, share: Array | float) -> Array:
    """Return the light, (3,) or (..., 3), on a surface that receives this share of the sun."""
    return rgb(light.ambient) + rgb(light.sun) * np.asarray(share, dtype=np.float32)[..., None]


def _sky(canvas: Canvas, scene: Scene) -> None:
    light = scene.light
    height = np.clip(-canvas.v, 0.0, 1.0)
    colour = mix(rgb(light.horizon), rgb(light.zenith), np.broadcast_to((height / 0.5).clip(0, 1) ** 0.7, canvas.label.shape))
    # Clouds lie on a plane high above, so that they flatten towards the horizon.
    distance = 9.0 / (height + 0.12)
    x, y = canvas.u * distance * 1.6, distance * 2.2
    density = 0.7 * soft_noise(x, y, scene.seed) + 0.3 * soft_noise(2.7 * x, 2.7 * y, scene.seed + 77) + 1.6 * (light.cloudiness - 0.62)
    cover = np.clip(density * 0.9, 0, 1) * np.clip(height / 0.10, 0, 1) * 0.85
    shade = rgb((0.97, 0.97, 0.97)) * 0.55 + rgb(light.horizon) * 0.45
    canvas.colour[:] = mix(colour, shade, cover.astype(np.float32))
    canvas.label[:] = SKY


def _skyline(canvas: Canvas, scene: Scene) -> None:
    """Paint far houses and trees around the vanishing point."""
    where = canvas.where(-1, 1, -0.2, 0.02)
    if where is None:
        return
    u, v = canvas.u[where[1]], canvas.v[where[0]]
    zeros = np.zeros_like(u)
    roofs = 0.018 + 0.05 * dice(u * 34 + 50, zeros, scene.seed) ** 2
    tone = 0.9 + 0.2 * dice(u * 34 + 50, zeros, scene.seed + 5)
    houses = rgb((0.50, 0.53, 0.58)) * tone[None, :, None] * np.ones_like(v)[..., None]
    canvas.paint(where, -v < roofs, houses, BUILDING, FAR * 1.2)
    crowns = 0.016 + 0.006 * noise(u * 700 + 300, zeros, scene.seed + 9)
    leaves = rgb((0.27, 0.38, 0.20)) * (1 + 0.12 * noise(u * 900 + 300, v * 900 + 300))[..., None]
    canvas.paint(where, -v < crowns, leaves, VEGETATION, FAR)


def _ground(canvas: Canvas, scene: Scene) -> None:
    where = canvas.where(-1, 1, 0.001, 1)
    if where is None:
        return
    z = EYE * FOCAL / canvas.v[where[0]]
    metre = canvas.pixel * z / FOCAL
    along = metre * z / EYE
    x = canvas.u[where[1]] * z / FOCAL + np.float32(scene.camera)
    aside = np.abs(x)
    grain = noise(x * 24 + 4096, z * 8, scene.seed) * np.clip(0.05 / metre, 0, 1)
    patches = noise(x * 4 + 4096, z * 1.2, scene.seed + 31)
    light = _lit(scene.light, _sunshine(scene, x, z))
    colours = {
        ROAD: _asphalt(scene, x, z, metre, along, patches) * (1 + 0.05 * grain)[..., None],
        SIDEWALK: _pavement(scene, x, z, metre, along) * (1 + 0.03 * grain + 0.02 * patches)[..., None],
        TERRAIN: rgb((0.34, 0.45, 0.18)) * (1 + 0.14 * grain + 0.10 * patches)[..., None],
    }
    kerb = scene.road + scene.verge
    label = np.where(aside < scene.road, ROAD, np.where((aside < kerb) | (aside > scene.wall), TERRAIN, SIDEWALK))
    for kind, colour in colours.items():
        canvas.paint(where, label == kind, colour * light, kind, z)


def _sunshine(scene: Scene, x: Array, z: Array) -> Array:
    """Return the share of the sun that reaches the ground at (`x`, `z`) past buildings and other objects."""
    light = scene.light
    row = [block for block in reversed(scene.blocks) if block.side == light.side]
    edges = np.array([block.far for block in row[:-1]], dtype=np.float32)
    heights = np.array([block.height for block in row], dtype=np.float32)
    from_wall = scene.wall - light.side * x
    # Limit the shadow to half of the road: its side cannot be inferred from the labels.
    reach = np.minimum(heights / np.float32(light.slope), scene.wall - 0.5 * scene.road)[np.searchsorted(edges, z)]
    sun: Array = (0.3 + 0.7 * np.clip((from_wall - reach) / 0.5, 0, 1)).astype(np.float32)
    for thing in scene.things:
        if thing.z > 60:
            continue
        centre, rx, rz, depth = _shade(thing, light)
        rows = slice(*np.searchsorted(-z[:, 0], (-(thing.z + 4 * rz + 4), -(thing.z - 2.5 * rz))))
        spot = ((x[rows] - centre) / rx) ** 2 + ((z[rows] - thing.z - (rz if thing.kind in ("car", "oncoming") else 0)) / rz) ** 2
        sun[rows] *= 1 - depth * np.exp(-(spot**2))
    return sun


def _shade(thing: Thing, light: Light) -> tuple[float, float, float, float]:
    """Return the X, the half width, the half length and the depth of an object's shadow on the ground."""
    away = -light.side
    match thing.kind:
        case "car" | "oncoming":
            return thing.x + 0.35 * away, 1.45, CAR_LENGTH * 0.58, 0.95
        case "tree":
            return thing.x + 0.45 * thing.height / light.slope * away, 2.3, 2.2, 0.8
        case "person":
            return thing.x + 0.35 * away, 0.6, 0.4, 0.75
    return thing.x + 0.6 * away, 0.9, 0.2, 0.5


def _asphalt(scene: Scene, x: Array, z: Array, metre: Array, along: Array, patches: Array) -> Array:
    lane = (scene.road - 2.0) / 2
    worn = np.exp(-(((np.abs(np.abs(x) - lane) - 0.75) / 0.3) ** 2))
    colour = rgb((0.37, 0.37, 0.385)) * (1 + 0.035 * patches - 0.07 * worn)[..., None]
    dashes = band(x, -0.08, 0.08, metre) * stripes(z, 6.0, 1.0, 3.0, along)
    edges = band(np.abs(x), scene.road - 2.12, scene.road - 2.0, metre)
    painted = np.clip(dashes + 0.8 * edges, 0, 1) * (0.85 + 0.08 * patches).clip(0.5, 1)
    gutter = band(np.abs(x), scene.road - 0.25, scene.road, metre)
    return mix(mix(colour, rgb((0.86, 0.85, 0.80)), painted), rgb((0.30, 0.30, 0.31)), 0.6 * gutter)


def _pavement(scene: Scene, x: Array, z: Array, metre: Array, along: Array) -> Array:
    inner = np.abs(x) - np.float32(scene.road + scene.verge)
    joints = np.maximum(stripes(inner, 0.9, 0.3, 0.05, metre), stripes(z, 0.9, 0.0, 0.06, along))
    slabs = 0.96 + 0.08 * dice(inner / 0.9, z / 0.9, scene.seed)
    colour = rgb((0.63, 0.60, 0.56)) * (slabs * (1 - 0.28 * joints))[..., None]
    return mix(colour, rgb((0.76, 0.75, 0.73)), band(inner, -1, 0.22, metre))


def _block(canvas: Canvas, scene: Scene, block: Block) -> None:
    """Paint the wall that faces the camera, then the one along the road."""
    if block.near > 2 and block.height > block.nearer:
        _front(canvas, scene, block)
    side = block.side
    away = scene.wall - side * scene.camera
    near = max(block.near, 0.5)
    edges = sorted(side * FOCAL * away / z for z in (near, block.far))
    where = canvas.where(edges[0], edges[1], (EYE - block.height - 1) * FOCAL / near, FOCAL * EYE / near)
    if where is None:
        return
    z = np.float32(FOCAL * away) / (side * canvas.u[where[1]])
    y = EYE - canvas.v[where[0]] * z / FOCAL
    across = canvas.pixel * z / FOCAL
    sun = 0.80 if side != scene.light.side else 0.12
    _wall(canvas, where, Wall(block, z - np.float32(block.near), y, across * z / np.float32(away), across, z), scene.light, sun)


def _front(canvas: Canvas, scene: Scene, block: Block) -> None:
    edges = sorted((block.side * scene.wall, block.side * (scene.wall + 14.0)))
    seen = canvas.upright(0.0, block.near, edges[0], edges[1], block.height + 1)
    if seen is None:
        return
    where, x, y = seen
    metre = np.full_like(x, canvas.pixel * block.near / FOCAL)
    wall = Wall(block, block.side * x - np.float32(scene.wall), y, metre, metre, np.full_like(x, block.near))
    _wall(canvas, where, wall, scene.light, 0.45)


@dataclass(frozen=True)
class Wall:
    """The pixels of one wall of a block.

    All in metres: `along` (w,) and `y`, (h, w) or (h, 1), are their places on it, `wide` and `high` (w,) their sizes there, and `z` (w,)
    their depths.
    """

    block: Block
    along: Array
    y: Array
    wide: Array
    high: Array
    z: Array


def _wall(canvas: Canvas, where: Where, wall: Wall, light: Light, sun: float) -> None:
    block, y = wall.block, wall.y
    if block.storeys:
        lit = _lit(light, sun)
        colour = _shops(wall, _windows(wall, _plaster(wall), light, lit), lit)
        colour *= (1 - 0.25 * np.exp(-y.clip(0, 9) / 0.5))[..., None]
        canvas.paint(where, (y >= 0) & (y <= block.height), colour, BUILDING, wall.z)
    else:
        top = block.height + 0.35 * noise(wall.along * 16, np.zeros_like(wall.along), block.seed)
        leaves = noise(wall.along * 20, y * 20 + 512, block.seed) * np.clip(0.15 / wall.wide, 0.2, 1)
        colour = rgb(block.wall) * (0.95 + 0.22 * leaves + 0.12 * (y / block.height - 0.6))[..., None] * _lit(light, 0.5 * sun + 0.3)
        canvas.paint(where, (y >= 0) & (y <= top), colour, VEGETATION, wall.z)


def _plaster(wall: Wall) -> Array:
    """Return the colours of the wall with its mouldings, not lit: (h, w, 3)."""
    block, y = wall.block, wall.y
    stain = noise(wall.along * 5, y * 5 + 512, block.seed)
    colour = rgb(block.wall) * (0.93 + 0.035 * stain + 0.07 * (y / block.height).clip(0, 1))[..., None]
    mouldings = stripes(y, FLOOR, PLINTH - 0.12, 0.22, wall.high) * (y > 1)
    trim = np.maximum(mouldings, band(y, block.height - 0.55, 99, wall.high))
    return mix(colour, rgb(block.trim), 0.75 * trim)


def _windows(wall: Wall, colour: Array, light: Light, lit: Array) -> Array:
    """Return the lit colours of the wall with its windows."""
    block, along, storey = wall.block, wall.along, wall.y - np.float32(PLINTH)
    upper = (storey > FLOOR) & (wall.y < block.height - 0.7)
    margin = 0.5 * (block.bay - 1.25)
    frames = stripes(along, block.bay, margin - 0.14, 1.53, wall.wide) * (stripes(storey, FLOOR, 0.72, 1.93, wall.high) * upper)
    posts = 1 - 0.7 * stripes(along, block.bay, margin + 0.59, 0.07, wall.wide)
    panes = stripes(along, block.bay, margin, 1.25, wall.wide) * posts * (stripes(storey, FLOOR, 0.86, 1.65, wall.high) * upper)
    chance = dice(along / block.bay, storey / FLOOR, block.seed)
    glass = mix(rgb((0.13, 0.16, 0.20)), rgb(light.zenith) * 0.95, ((storey / FLOOR) % 1.0) * 0.35 + 0.30 * chance)
    np.copyto(glass, 0.55 * glass + 0.45 * rgb((0.98, 0.85, 0.55)), where=(chance > 0.93)[..., None])
    # Glass mirrors the sky, so the sun on the wall changes it little.
    return mix(mix(colour, rgb(block.trim), 0.8 * frames) * lit, glass * (0.75 + 0.25 * lit), panes)


def _shops(wall: Wall, colour: Array, lit: Array) -> Array:
    """Return the colours with the shop windows of the ground floor and their awnings."""
    block, along, y, width = wall.block, wall.along, wall.y, 2 * wall.block.bay
    rows = np.flatnonzero(((y > -0.5) & (y < 3.5)).any(1))
    if not len(rows):
        return colour
    ground = slice(rows[0], rows[-1] + 1)
    y = y[ground]
    chance = dice(along / width, np.zeros_like(along), block.seed + 3)
    inside = mix(rgb((0.16, 0.15, 0.15)), rgb((0.72, 0.58, 0.40)), band(y, 0.8, 1.9, wall.high) * (0.15 + 0.35 * chance))
    panes = stripes(along, width, 0.35, width - 0.7, wall.wide) * band(y, 0.55, 2.45, wall.high)
    awning = stripes(along, width, 0.2, width - 0.4, wall.wide) * band(y, 2.45, 3.0, wall.high)
    cloth = rgb(AWNINGS)[(chance * len(AWNINGS)).astype(np.int32)]
    colour[ground] = mix(mix(colour[ground], inside * (0.6 + 0.4 * lit), panes), cloth * lit, awning)
    return colour


def _tree(canvas: Canvas, thing: Thing, light: Light) -> None:
    radius = 0.30 * thing.height
    seen = canvas.upright(thing.x, thing.z, -1.5 * radius, 1.5 * radius, thing.height + 0.6)
    if seen is None:
        return
    where, x, y = seen
    trunk = (np.abs(x - 0.06 * np.sin(2 * y)) < 0.16 + 0.06 * np.exp(-y / 0.4)) & (y < 0.6 * thing.height) & (y >= 0)
    bark = mix(
        rgb(thing.second) * 0.7, rgb(thing.second) * 1.35, np.broadcast_to((0.5 - light.side * x / 0.4 * -1).clip(0, 1), trunk.shape)
    )
    canvas.paint(where, trunk, bark * _lit(light, 0.5), VEGETATION, thing.z)
    random = np.random.default_rng(thing.seed)
    angles = np.linspace(0, 2 * np.pi, 7, endpoint=False) + random.uniform(0, 1)
    centres_x = np.append(0.55 * radius * np.cos(angles) * random.uniform(0.7, 1.2, 7), 0.0)
    centres_y = np.append(0.62 * thing.height + 0.62 * radius * np.sin(angles) * random.uniform(0.7, 1.3, 7), 0.66 * thing.height)
    sizes = np.append(random.uniform(0.45, 0.68, 7) * radius, 0.75 * radius)
    inside, glow = np.full(trunk.shape, -9.0, dtype=np.float32), np.zeros(trunk.shape, dtype=np.float32)
    for cx, cy, size in zip(centres_x, centres_y, sizes, strict=True):
        dx, dy = (x - np.float32(cx)) / np.float32(size), (y - np.float32(cy)) / np.float32(size)
        depth = (1 - dx * dx - dy * dy) * np.float32(size)
        nearest = depth > inside
        np.copyto(inside, depth, where=nearest)
        np.copyto(glow, 0.62 * dy + 0.42 * light.side * dx, where=nearest)
    fine = np.clip(0.12 * FOCAL / (canvas.pixel * thing.z) / 4, 0.25, 1)
    leaves = noise(x * 26 + 512, y * 26 + 512, thing.seed)
    crown = (inside + 0.20 * leaves > 0.02) & (y > 0.28 * thing.height)
    sun = (0.45 + 0.42 * glow + 0.17 * fine * leaves).clip(0.0, 1.15)
    green = rgb(thing.colour) * (1 + 0.10 * fine * leaves)[..., None]
    canvas.paint(where, crown, green * _lit(light, sun.astype(np.float32)) * 1.05, VEGETATION, thing.z)


def _lamp(canvas: Canvas, thing: Thing, light: Light) -> None:
    inwards = -1 if thing.x > 0 else 1
    seen = canvas.upright(thing.x, thing.z, -1.6, 1.6, thing.height + 0.3)
    if seen is None:
        return
    where, x, y = seen
    slim = max(0.07, 0.55 * canvas.pixel * thing.z / FOCAL)
    reach = inwards * x
    arm = (np.abs(y - thing.height + 0.08 * (1.3 - reach)) < slim) & (reach > 0) & (reach < 1.3)
    post = (np.abs(x) < slim * (1 + 0.6 * (y < 0.9))) & (y < thing.height) & (y >= 0)
    metal = rgb(thing.colour) * _lit(light, 0.45 + 0.4 * np.clip(light.side * x / 0.07, -1, 1)) * np.ones_like(y)[..., None]
    canvas.paint(where, arm | post, metal, POLE, thing.z)
    head = (np.abs(reach - 1.25) < 0.36) & (np.abs(y - thing.height + 0.02) < 0.11)
    canvas.paint(where, head, rgb(thing.second), POLE, thing.z)


def _sign(canvas: Canvas, thing: Thing, light: Light) -> None:
    seen = canvas.upright(thing.x, thing.z, -0.6, 0.6, thing.height + 0.5)
    if seen is None:
        return
    where, x, y = seen
    slim = max(0.045, 0.55 * canvas.pixel * thing.z / FOCAL)
    post = (np.abs(x) < slim) & (y < thing.height) & (y >= 0)
    canvas.paint(where, post, rgb(thing.colour) * _lit(light, 0.5), POLE, thing.z)
    up = y - np.float32(thing.height)
    lit = _lit(light, 0.75)
    # A sign's shape determines its colours, as on real traffic signs.
    match thing.seed % 3:
        case 0:
            reach = np.sqrt(x * x + up * up) / 0.42
            colour = np.where((reach > 0.72)[..., None], rgb((0.78, 0.12, 0.13)), rgb((0.93, 0.93, 0.91)))
        case 1:
            reach = np.maximum(np.abs(x), np.abs(up)) / 0.40
            colour = np.where(((np.abs(x) < 0.1) | (up > 0.1))[..., None], rgb((0.93, 0.94, 0.95)), rgb((0.13, 0.32, 0.66)))
        case _:
            reach = (np.abs(x) + np.abs(up)) / 0.52
            colour = np.where((reach > 0.82)[..., None], rgb((0.93, 0.92, 0.88)), rgb((0.95, 0.76, 0.14)))
    canvas.paint(where, reach <= 1, (colour * lit).astype(np.float32), SIGN, thing.z)


def _person(canvas: Canvas, thing: Thing, light: Light) -> None:
    seen = canvas.upright(thing.x, thing.z, -0.5, 0.5, thing.height)
    if seen is None:
        return
    where, x, y = seen
    x, y = x * np.float32(1.75 / thing.height), y * np.float32(1.75 / thing.height)
    stride = 0.05 + 0.10 * (thing.seed % 7) / 6
    lower = (0.9 - y).clip(0, 1)
    legs = (np.minimum(np.abs(x - stride * lower - 0.06), np.abs(x + stride * lower + 0.06)) < 0.085) & (y < 0.9) & (y >= 0)
    torso = (np.abs(x) < 0.17 + 0.07 * ((y - 0.8) / 0.6).clip(0, 1)) & (y > 0.82) & (y < 1.42)
    arms = (np.abs(np.abs(x) - 0.24 - 0.06 * (1.4 - y).clip(0, 1)) < 0.055) & (y > 0.8) & (y < 1.40)
    head = (x / 0.115) ** 2 + ((y - 1.58) / 0.15) ** 2 < 1
    round_ = (0.55 + 0.9 * light.side * x).clip(0.1, 1)
    lit = _lit(light, round_.astype(np.float32))
    trousers = rgb(((0.17, 0.20, 0.30), (0.30, 0.27, 0.24), (0.15, 0.15, 0.17))[thing.seed % 3])
    colour = np.where((torso | arms)[..., None], rgb(thing.colour), trousers)
    hair = (y > 1.62) | (np.abs(x) > 0.095)
    colour = np.where(head[..., None], np.where(hair[..., None], rgb((0.20, 0.14, 0.10)), rgb(thing.second)), colour)
    canvas.paint(where, legs | torso | arms | head, (colour * lit).astype(np.float32), PERSON, thing.z)


def _car(canvas: Canvas, thing: Thing, light: Light) -> None:
    _car_side(canvas, thing, light)
    if thing.kind == "oncoming":
        # The windscreen stands behind the bonnet.
        _car_end(canvas, thing, light, thing.z + 1.2, 0.6, thing.height)
        _car_end(canvas, thing, light, thing.z, 0.0, 0.92)
    else:
        _car_end(canvas, thing, light, thing.z, 0.0, thing.height)


def _half_width(y: Array, roof: float) -> Array:
    """Return half of a car's width at the height `y`."""
    return np.interp(y, (0.22, 0.34, 0.62, 0.95, 1.04, roof - 0.1, roof), (0.80, 0.88, 0.90, 0.87, 0.81, 0.66, 0.52)).astype(np.float32)


def _car_side(canvas: Canvas, thing: Thing, light: Light) -> None:
    """Paint the flank that the camera sees."""
    side = -1 if thing.x > canvas.camera else 1
    middle = thing.x - canvas.camera
    if side * middle > -1.05:
        return
    edges = FOCAL * (middle + 0.9 * side) / (thing.z + CAR_LENGTH), FOCAL * middle / thing.z
    where = canvas.where(min(edges), max(edges), (EYE - thing.height) * FOCAL / thing.z, EYE * FOCAL / thing.z)
    if where is None:
        return
    u, v = canvas.u[where[1]], canvas.v[where[0]]
    z = np.float32(FOCAL * (middle + 0.88 * side)) / u
    # The flank leans inwards above the doors: its place follows from the height, and the height from its place.
    for _ in range(3):
        y = EYE - v * z / FOCAL
        z = FOCAL * (np.float32(middle) + side * _half_width(y, thing.height).clip(0.66)) / u
    y = EYE - v * z / FOCAL
    along = (z - np.float32(thing.z)) if thing.kind == "car" else np.float32(thing.z + CAR_LENGTH) - z
    roof = thing.height
    outline = np.interp(
        along, (0, 0.12, 0.55, 0.95, 2.3, 3.0, 4.0, CAR_LENGTH), (roof - 0.1, roof - 0.04, roof, roof, roof, 1.0, 0.95, 0.9)
    )
    inner = np.interp(along, (0.2, 0.4, 1.0, 2.25, 2.85), (0.98, roof - 0.2, roof - 0.13, roof - 0.13, 0.98))
    wheel = np.minimum(np.hypot(along - 0.75, y - 0.33), np.hypot(along - 3.4, y - 0.33))
    window = (y > 0.99) & (y < inner) & (np.abs(along - 1.65) > 0.05)
    sun = 0.62 if side == light.side else 0.2
    paint = rgb(thing.colour) * (0.85 + 0.25 * ((y - 0.3) / 0.8).clip(0, 1))[..., None] * _lit(light, sun)
    paint = np.where(window[..., None], rgb((0.12, 0.15, 0.19)) + 0.25 * rgb(light.zenith), paint)
    paint = np.where((wheel < 0.40)[..., None], np.where((wheel < 0.17)[..., None], rgb((0.5, 0.5, 0.52)), rgb((0.07, 0.07, 0.08))), paint)
    body = (((y < outline) & (y > 0.24)) | (wheel < 0.33)) & (along > 0) & (along < CAR_LENGTH)
    canvas.paint(where, body, paint.astype(np.float32), CAR, z)


def _car_end(canvas: Canvas, thing: Thing, light: Light, z: float, low: float, high: float) -> None:
    """Paint the back or the front, at the depth `z`, from the height `low` to `high`."""
    seen = canvas.upright(thing.x, z, -0.95, 0.95, high)
    if seen is None:
        return
    where, x, y = seen
    roof, aside = thing.height, np.abs(x)
    half = _half_width(y, roof)
    tyres = (y < 0.36) & (aside > 0.56) & (aside < 0.82) & (y >= 0)
    lit = _lit(light, 0.42)
    colour = rgb(thing.colour) * (0.80 + 0.35 * ((y - 0.3) / 0.7).clip(0, 1))[..., None] * lit * np.ones_like(x)[..., None]
    sheen = rgb((0.11, 0.13, 0.17)) + rgb(light.zenith) * (0.45 * ((y - 0.95) / 0.4).clip(0, 1))[..., None]

    def over(mask: Mask, paint: Array) -> None:
        np.copyto(colour, paint, where=mask[..., None])

    over((y > 1.0) & (y < roof - 0.12) & (aside < half - 0.10), np.broadcast_to(sheen, colour.shape))
    over((y < 0.44) & (aside < half), rgb((0.12, 0.12, 0.13)) * lit)
    lamps = (low == 0) & (aside > 0.56) & (aside < half - 0.04) & (np.abs(y - 0.76) < 0.09)
    if thing.kind == "car":
        over(lamps, rgb((0.75, 0.10, 0.08)))
    else:
        over((np.abs(y - 0.62) < 0.11) & (aside < 0.48), rgb((0.14, 0.14, 0.15)))
        over(lamps, rgb((0.97, 0.95, 0.86)))
    over((np.abs(y - (0.60 if thing.kind == "car" else 0.48)) < 0.06) & (aside < 0.25), rgb((0.86, 0.86, 0.83)) * lit)
    over(tyres & (y < 0.24), rgb((0.06, 0.06, 0.07)))
    canvas.paint(where, (((aside < half) & (y > 0.22)) | tyres) & (y >= low), colour.astype(np.float32), CAR, z)


_PAINTERS = {"car": _car, "oncoming": _car, "person": _person, "tree": _tree, "lamp": _lamp, "sign": _sign}
