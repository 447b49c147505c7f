"""What is behind people: rooms, streets, greenery, walls, paper rolls; mostly far out of focus, lit like the people."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fdf.synth.geometry import Floats, linear, smoothstep
from fdf.synth.light import Light


def make_backdrop(light: Light, width: int, height: int, rng: np.random.Generator) -> Floats:
    """What is behind the people (height, width, 3), linear, middle grey about 0.2, out of focus to some degree."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    if light.place == "night":
        picture = _night(x, y, rng)
    elif light.place in ("overcast", "sun"):
        picture = _outdoors(x, y, rng, bright=light.place == "sun")
    elif light.place == "studio" and rng.random() < 0.75:
        picture = _plain(x, y, rng)
    else:
        picture = _room(x, y, rng)
    if light.back and light.place != "night":
        glow = np.exp(-((x - rng.uniform(0.1, 0.9)) ** 2 + (y - rng.uniform(0, 0.4)) ** 2) / 0.06)
        picture = picture + 0.9 * glow[..., None]
    blur = float(np.exp(rng.uniform(np.log(0.013), np.log(0.055)))) * max(width, height)
    picture = picture * (1 + 0.35 * _sideways(light) * (x - x.mean()))[..., None]
    return np.asarray(_blurred(picture, blur) * rng.uniform(0.7, 1.2))


def _sideways(light: Light) -> float:
    """Which side the light comes from: −1 the picture's left to 1 its right."""
    columns = light.environment.mean(axis=(0, 2))
    side = np.sin((np.arange(len(columns)) + 0.5) / len(columns) * 2 * np.pi)
    return float((columns * side).sum() / columns.sum())


def _blurred(picture: Floats, sigma: float) -> Floats:
    """Out of focus: a disc, so that bright points become discs, too."""
    import cv2

    size = max(1, int(sigma * 2) | 1)
    grid = np.hypot(*np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1])
    disc = np.clip(max(size / 2, 0.5) - grid + 0.5, 0, 1).astype(np.float32)
    source = np.ascontiguousarray(picture, dtype=np.float32)
    return np.asarray(cv2.filter2D(source, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT))


def _noise(shape: tuple[int, ...], cells: float, rng: np.random.Generator, octaves: int = 3) -> Floats:
    """Smooth noise (height, width), about ±1, `cells` features over the long side."""
    import cv2

    height, width = shape[:2]
    total, weight = np.zeros((height, width)), 0.0
    for octave in range(octaves):
        per_side = cells * 2**octave
        rows = max(2, round(per_side * height / max(height, width)) + 1)
        columns = max(2, round(per_side * width / max(height, width)) + 1)
        small = rng.standard_normal((rows, columns)).astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
        weight += 0.55**octave
    return np.asarray(total / weight * 1.4)


def _paint(rng: np.random.Generator, low: float = 0.15, high: float = 0.9, vivid: float = 0.15) -> Floats:
    """A colour people build and paint with: mostly greys, whites and earth colours, now and then a stronger one."""
    tints = np.array(
        [[1, 0.94, 0.84], [1, 0.97, 0.92], [1, 0.88, 0.74], [0.9, 0.95, 1], [0.88, 0.95, 0.88], [1, 0.8, 0.7]]
    )
    tint = tints[rng.choice(len(tints), p=[0.27, 0.27, 0.18, 0.14, 0.07, 0.07])]
    level = linear(rng.uniform(low, high))
    calm = level * (tint * 0.75 + 0.25 * rng.uniform(0.8, 1, 3))
    hue = rng.dirichlet([1.6, 1.3, 1.0])
    strong = level * (0.25 + 0.75 * hue / hue.max())
    return np.asarray(calm * (1 - vivid) + strong * vivid)


def _plain(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """Paper or cloth of a studio, or a bare wall: light falls off over it."""
    base = _paint(rng, 0.15, 0.92, float(rng.choice([0.05, 0.35])))
    glow = np.exp(-((x - rng.uniform(0.2, 0.8)) ** 2 + (y - rng.uniform(0.2, 0.7)) ** 2) / rng.uniform(0.1, 0.6))
    clouds = rng.choice([0.03, 0.16]) * _noise(x.shape, rng.uniform(3, 7), rng)
    return np.asarray(base * (0.5 + 0.65 * glow[..., None]) * (1 + clouds[..., None]))


def _box(
    picture: Floats, x: Floats, y: Floats, left: float, top: float, wide: float, high: float, color: Floats
) -> None:
    inside = (x > left) & (x < left + wide) & (y > top) & (y < top + high)
    picture[inside] = (color * np.ones(3)) if np.ndim(color) == 1 else color[inside]


def _room(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """A wall, or the depth of a room, with some of: windows, shelves, posters, curtain, door, lamps, a plant."""
    zoom = rng.uniform(0.6, 1.3)
    x, y = (x - 0.5) * zoom + 0.5, (y - 0.3) * zoom + 0.3
    wall = _paint(rng, 0.35, 0.9, float(rng.choice([0.05, 0.3], p=[0.7, 0.3])))
    lit = np.exp(-((x - rng.uniform(-0.1, 1.1)) ** 2 + (y - rng.uniform(-0.1, 0.6)) ** 2) / rng.uniform(0.25, 1.0))
    shade = (0.55 + 0.6 * lit) * (1 + 0.03 * _noise(x.shape, 5, rng))
    picture = wall * shade[..., None]
    if rng.random() < 0.4:  # another wall, seen behind a corner
        corner, side = rng.uniform(0.1, 0.9), rng.random() < 0.5
        picture[(x > corner) == side] *= rng.uniform(0.45, 0.85)
    if rng.random() < 0.35:
        level = rng.uniform(0.55, 0.9)
        picture[y > level] = (_paint(rng, 0.1, 0.6) * shade[..., None])[y > level]
    if rng.random() < 0.25:
        _box(
            picture,
            x,
            y,
            rng.uniform(-0.1, 0.9),
            rng.uniform(0.0, 0.15),
            rng.uniform(0.2, 0.35),
            2,
            _paint(rng, 0.1, 0.8),
        )
    if rng.random() < 0.4:
        _window(picture, x, y, rng)
    if rng.random() < 0.3:
        _shelf(picture, x, y, rng)
    for _ in range(int(rng.integers(0, 4))):
        left, top = rng.uniform(-0.1, 0.95), rng.uniform(0, 0.45)
        wide, high = rng.uniform(0.08, 0.25), rng.uniform(0.08, 0.3)
        _box(picture, x, y, left, top, wide, high, _paint(rng, 0.05, 0.6, 0.1))
        inside = _paint(rng, 0.2, 0.9, 0.45) * (1 + 0.4 * _noise(x.shape, 9, rng)[..., None])
        rim = rng.uniform(0.004, 0.014)
        _box(picture, x, y, left + rim, top + rim, wide - 2 * rim, high - 2 * rim, np.clip(inside, 0.01, 1))
    if rng.random() < 0.3:
        edge = rng.uniform(0.0, 0.25) if rng.random() < 0.5 else rng.uniform(0.75, 1.0)
        folds = np.sin(x * rng.uniform(80, 160) + 2 * _noise(x.shape, 3, rng))
        side_on = (x < edge) if edge < 0.5 else (x > edge)
        picture[side_on] = (_paint(rng, 0.2, 0.9, 0.25) * (0.75 + 0.25 * folds)[..., None] * shade[..., None])[side_on]
    if rng.random() < 0.3:
        leaves = _noise(x.shape, 18, rng, 3) - 9 * ((x - rng.uniform(0, 1)) ** 2 + (y - rng.uniform(0.4, 0.9)) ** 2)
        _foliage(picture, leaves > -0.4, leaves, rng)
    for _ in range(int(rng.choice([0, 1, 2, 5], p=[0.55, 0.2, 0.15, 0.1]))):
        away = (x - rng.uniform(0, 1)) ** 2 + (y - rng.uniform(-0.05, 0.45)) ** 2
        warm = np.array([1.0, 0.8, 0.55])
        picture += (rng.uniform(0.5, 3) * np.exp(-away / 0.0008) + 0.2 * np.exp(-away / 0.03))[..., None] * warm
    return np.asarray(np.clip(picture, 0.003, 4))


def _window(picture: Floats, x: Floats, y: Floats, rng: np.random.Generator) -> None:
    """Bright, with a view that is hardly seen."""
    left, top = rng.uniform(-0.2, 0.8), rng.uniform(-0.2, 0.1)
    wide, high = rng.uniform(0.25, 0.5), rng.uniform(0.4, 0.7)
    _box(picture, x, y, left - 0.015, top - 0.02, wide + 0.03, high + 0.04, _paint(rng, 0.5, 0.95, 0.05))
    view = 1 + 0.25 * _noise(x.shape, 7, rng)
    pane = np.array([0.85, 0.94, 1.05]) * (rng.uniform(0.7, 1.8) * view)[..., None]
    green = (y > top + high * rng.uniform(0.4, 0.9)) & (rng.random() < 0.6)
    pane[green] *= [0.45, 0.55, 0.3]
    for half in (0, 1):
        _box(picture, x, y, left + half * wide / 2 + 0.01, top, wide / 2 - 0.02, high, pane)


def _shelf(picture: Floats, x: Floats, y: Floats, rng: np.random.Generator) -> None:
    left, wide, step = rng.uniform(-0.3, 0.6), rng.uniform(0.4, 0.9), rng.uniform(0.13, 0.22)
    wood = linear(np.array([0.45, 0.32, 0.2]) * rng.uniform(0.5, 1.5))
    _box(picture, x, y, left, -0.1, wide, 1.4, wood * 0.35)
    for row in np.arange(-0.05, 1.1, step):
        at = left
        while at < left + wide:
            thick, high = rng.uniform(0.01, 0.03), step * rng.uniform(0.55, 0.85)
            if rng.random() < 0.85:
                _box(picture, x, y, at, row + step - high - 0.012, thick, high, _paint(rng, 0.08, 0.75, 0.35))
            at += thick * (1 if rng.random() < 0.9 else 4)
        _box(picture, x, y, left, row + step - 0.012, wide, 0.014, wood)


def _foliage(picture: Floats, where: npt.NDArray[np.bool_], leaves: Floats, rng: np.random.Generator) -> None:
    """Leaves in light and shade, with gaps that let the sky through as bright points."""
    green = np.array([0.09, 0.15, 0.035]) * rng.uniform(0.5, 1.5)
    green = green * np.array([rng.uniform(0.7, 1.6), 1, rng.uniform(0.6, 1.5)])
    bright = np.clip(0.55 + 0.6 * leaves, 0.08, 2.4) * (1 + 0.25 * rng.standard_normal(leaves.shape))
    picture[where] = (green * np.clip(bright, 0.05, 3)[..., None])[where]
    gaps = where & (rng.random(leaves.shape) < rng.uniform(0, 0.004))
    picture[gaps] = np.array([0.9, 0.95, 0.8]) * rng.uniform(2, 9)


def _outdoors(x: Floats, y: Floats, rng: np.random.Generator, *, bright: bool) -> Floats:
    """Sky, something green or built before it, ground."""
    horizon = rng.uniform(0.35, 0.8)
    blue = rng.uniform(0, 1) if bright else rng.uniform(0, 0.3)
    top = np.array([0.75, 0.8, 0.85]) * (1 - blue) + np.array([0.2, 0.36, 0.66]) * blue
    t = np.clip(y / horizon, 0, 1)[..., None]
    picture = top * (1 - t) + np.array([0.85, 0.88, 0.9]) * t
    clouds = smoothstep(0.0, 1.2, _noise(x.shape, 3, rng, 4))[..., None] * rng.uniform(0, 0.8)
    picture = picture * (1 - clouds) + np.array([0.95, 0.95, 0.96]) * clouds
    kind = rng.choice(["trees", "street", "hills", "wall"], p=[0.4, 0.33, 0.12, 0.15])
    if kind == "wall":
        picture = _masonry(x, y, rng) if rng.random() < 0.6 else _plain(x, y, rng)
        return np.asarray(picture * (1.0 if bright else 0.75))
    if kind == "hills":
        far = y > horizon - 0.12 + 0.05 * _noise(x.shape, 4, rng, 3)
        picture[far] = np.array([0.2, 0.25, 0.24]) * rng.uniform(0.7, 1.4)
    elif kind == "street":
        _houses(picture, x, y, horizon, rng)
    if kind == "trees" or rng.random() < 0.35:
        edge = (rng.uniform(-0.2, 0.3) if kind == "trees" else horizon - 0.15) + 0.12 * _noise(x.shape, 4, rng, 4)
        leaves = 0.6 * _noise(x.shape, 24, rng, 3) + 0.9 * _noise(x.shape, 5, rng, 2)
        _foliage(picture, y > edge, leaves, rng)
    floor = _paint(rng, 0.35, 0.6, 0.05) if kind == "street" else np.array([0.14, 0.17, 0.06]) * rng.uniform(0.6, 1.6)
    depth = np.clip((y - horizon) / 0.4, 0, 1)
    ground = y > horizon + (0.0 if kind == "street" else 0.02 * _noise(x.shape, 8, rng))
    lit = (1.25 - 0.5 * depth) * (1 + 0.15 * _noise(x.shape, 10, rng, 4))
    picture[ground] = (floor * lit[..., None])[ground]
    return np.asarray(np.clip(picture, 0.003, 9) * (1.0 if bright else 0.75))


def _houses(picture: Floats, x: Floats, y: Floats, horizon: float, rng: np.random.Generator) -> None:
    """House fronts with windows in perspective of their own, shop signs, parked cars as blots."""
    at = -0.15
    while at < 1.1:
        wide, roof = rng.uniform(0.12, 0.5), horizon - rng.uniform(0.15, 0.9)
        front = _paint(rng, 0.25, 0.8, 0.12) * rng.uniform(0.4, 1)
        inside = (x > at) & (x < at + wide) & (y > roof)
        slope = rng.uniform(-0.5, 0.5)
        picture[inside] = (front * (1 + slope * (x - at) / wide)[..., None])[inside]
        across, down = rng.uniform(0.05, 0.1), rng.uniform(0.08, 0.14)
        tall = (y - roof) + slope * 0.3 * (x - at)
        panes = inside & (((x - at) / across) % 1 > 0.4) & ((tall / down) % 1 > 0.35)
        picture[panes] = front * rng.uniform(0.12, 0.5) + 0.02
        at += wide
    for _ in range(int(rng.integers(0, 7))):
        size = rng.uniform(0.03, 0.12)
        left, color = rng.uniform(-0.1, 1), _paint(rng, 0.05, 0.8, 0.5)
        _box(picture, x, y, left, horizon - rng.uniform(0.3, 1.0) * size, 1.8 * size, size, color)


def _masonry(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    size = rng.uniform(0.04, 0.09)
    row = np.floor(y / (size / 2.6))
    shifted = x / size + 0.5 * (row % 2)
    joint = ((shifted % 1) < 0.06) | ((y / (size / 2.6)) % 1 < 0.12)
    brick = linear(np.array([0.62, 0.36, 0.28]) if rng.random() < 0.6 else rng.uniform(0.45, 0.8) * np.ones(3))
    value = np.sin(np.floor(shifted) * 12.9898 + row * 78.233) * 43758.5453
    shade = 0.85 + 0.3 * (value - np.floor(value)) + 0.06 * _noise(x.shape, 40, rng)
    return np.asarray(np.where(joint[..., None], linear(np.full(3, 0.6)), brick * shade[..., None]))


def _night(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """Dark walls and sky, and lamps out of focus: discs of much the same size."""
    base = np.array([0.016, 0.016, 0.02]) * rng.uniform(0.7, 3)
    picture = base * (1 + 0.6 * _noise(x.shape, 4, rng)[..., None])
    warm = np.exp(-((x - rng.uniform(0, 1)) ** 2 + (y - rng.uniform(0.2, 0.8)) ** 2) / 0.15)
    picture = picture + warm[..., None] * np.array([0.09, 0.05, 0.025]) * rng.uniform(0, 1.5)
    size = rng.uniform(0.01, 0.04)
    for _ in range(int(rng.integers(8, 45))):
        away = np.hypot(x - rng.uniform(0, 1), y - rng.beta(2, 2.5) * 0.9) / (size * rng.uniform(0.85, 1.1))
        disc = np.clip((1.05 - away) * 8, 0, 1) * (0.75 + 0.25 * np.clip(away, 0, 1) ** 4)
        hue = linear(np.array([1.0, rng.uniform(0.62, 0.95), rng.uniform(0.3, 0.9)]))
        hue = hue[::-1] if rng.random() < 0.12 else hue
        picture = picture + disc[..., None] * hue * rng.exponential(0.25)
    return np.asarray(np.clip(picture, 0.002, 3))
