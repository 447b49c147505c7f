"""Light around people, and what is behind them: environment maps and backdrops of the same kind of place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.synth.geometry import Floats, linear, smoothstep
from fdf.synth.recipe import CameraConfig

WARM: Final = np.array([1.0, 0.84, 0.64])
COOL: Final = np.array([0.8, 0.9, 1.0])
PLACES: Final = {"studio": 0.16, "window": 0.22, "indoor": 0.24, "overcast": 0.2, "sun": 0.18}
_ROWS, _COLUMNS = 32, 64


@dataclass(frozen=True, eq=False)
class Light:
    """The light of one photo.

    Attributes:
        place: `studio`, `window`, `indoor`, `overcast`, `sun`, `night`.
        back: whether the main light stands behind the people.
        environment: float32 (rows, columns, 3), latitude–longitude, up is the first row.
    """

    place: str
    back: bool
    environment: npt.NDArray[np.float32]


def make_light(config: CameraConfig, rng: np.random.Generator) -> Light:
    """Draw the light of a photo."""
    night = rng.random() < config.night_share
    back = bool(rng.random() < config.backlight_share)
    place = "night" if night else str(rng.choice(list(PLACES), p=np.array(list(PLACES.values()))))
    directions = _directions()
    mixed = rng.random()
    level = {"overcast": 0.9, "sun": 0.45, "studio": 0.35, "night": 0.08}.get(place, 0.35)
    sky = (
        (COOL * mixed + WARM * (1 - mixed))
        if place in ("window", "indoor", "studio")
        else COOL * rng.uniform(0.9, 1.05, 3)
    )
    sky = sky * level * rng.uniform(0.6, 1.3)
    ground = np.array([0.5, 0.45, 0.4]) * level * rng.uniform(0.25, 0.8)
    up = smoothstep(-0.4, 0.5, directions[..., 1])[..., None]
    light = ground + (sky - ground) * up
    lamps = {"studio": 3, "indoor": 2, "night": 2, "overcast": 0}.get(place, 1)
    for lamp in range(lamps):
        behind = back and lamp == 0
        azimuth = rng.uniform(2.3, 4.0) if behind else rng.uniform(-1.5, 1.5)
        height = rng.uniform(0.1, 0.9) if place != "sun" else rng.uniform(0.35, 1.15)
        towards = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
        sharp = np.exp(
            rng.uniform(*np.log({"sun": (80, 300), "window": (5, 14), "overcast": (2, 4)}.get(place, (6, 45))))
        )
        color = WARM if place in ("night", "indoor") or rng.random() < 0.35 else np.ones(3)
        power = rng.uniform(0.7, 2.0) * (1.6 if behind else 1.0) * (0.8 if place == "night" else 1.0)
        light = light + np.exp(sharp * (directions @ towards - 1))[..., None] * color * np.sqrt(sharp) * power
    return Light(place, back, light.astype(np.float32))


def _directions() -> Floats:
    theta = (np.arange(_ROWS) + 0.5) / _ROWS * np.pi
    phi = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * 2 * np.pi
    sine = np.sin(theta)[:, None]
    return np.stack([sine * np.sin(phi), np.cos(theta)[:, None] + 0 * phi, -sine * np.cos(phi)], axis=-1)


def make_backdrop(light: Light, width: int, height: int, rng: np.random.Generator) -> Floats:
    """What is behind the people (height, width, 3), linear, middle grey about 0.2, out of focus to some degree."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    if light.place == "night":
        picture = _night(x, y, rng)
    elif light.place in ("overcast", "sun"):
        picture = _outdoors(x, y, rng, bright=light.place == "sun")
    elif light.place == "studio" and rng.random() < 0.8:
        picture = _plain(x, y, rng)
    else:
        picture = _room(x, y, rng)
    if light.back and light.place != "night":
        picture = (
            picture
            + 0.9 * np.exp(-((x - rng.uniform(0.1, 0.9)) ** 2 + (y - rng.uniform(0, 0.4)) ** 2) / 0.06)[..., None]
        )
    blur = float(np.exp(rng.uniform(np.log(0.005), np.log(0.04)))) * max(width, height)
    return np.asarray(_blurred(picture, blur) * rng.uniform(0.7, 1.25))


def _blurred(picture: Floats, sigma: float) -> Floats:
    """Out of focus: a disc's blur, near enough three boxes for small ones."""
    import cv2

    size = max(1, int(sigma * 2) | 1)
    grid = np.hypot(*np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1])
    disc = (grid <= max(size / 2, 0.5)).astype(np.float32)
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


def _paint(rng: np.random.Generator, low: float = 0.15, high: float = 0.9, vivid: float = 0.25) -> Floats:
    """A colour people build and paint with: mostly greys, whites and earth colours, now and then a strong one."""
    tints = np.array(
        [[1, 0.94, 0.84], [1, 0.97, 0.92], [1, 0.88, 0.74], [0.9, 0.95, 1], [0.88, 0.95, 0.88], [1, 0.8, 0.7]]
    )
    tint = tints[rng.choice(len(tints), p=[0.27, 0.27, 0.18, 0.14, 0.07, 0.07])]
    calm = linear(rng.uniform(low, high)) * (tint * 0.75 + 0.25 * rng.uniform(0.8, 1, 3))
    strong = linear(rng.uniform(low, high, 3))
    return np.asarray(calm * (1 - vivid) + strong * vivid)


def _plain(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    base = _paint(rng, 0.1, 0.95, rng.choice([0.03, 0.2]))
    glow = np.exp(-((x - rng.uniform(0.2, 0.8)) ** 2 + (y - rng.uniform(0.2, 0.7)) ** 2) / rng.uniform(0.1, 0.6))
    return np.asarray(base * (0.55 + 0.6 * glow[..., None]) * (1 + 0.03 * _noise(x.shape, 6, rng)[..., None]))


def _box(
    picture: Floats, x: Floats, y: Floats, left: float, top: float, wide: float, high: float, color: Floats
) -> None:
    inside = (x > left) & (x < left + wide) & (y > top) & (y < top + high)
    picture[inside] = (color * np.ones(3)) if np.ndim(color) == 1 else color[inside]


def _room(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """A wall with some of: window, shelf with books, pictures, curtain, door, lamp."""
    wall = _paint(rng, 0.35, 0.92, rng.choice([0.03, 0.15], p=[0.75, 0.25]))
    slope = 1 + rng.uniform(-0.5, 0.5) * (x - 0.5)
    picture = wall * slope[..., None] * (1 + 0.04 * _noise(x.shape, 5, rng)[..., None])
    if rng.random() < 0.35:
        level = rng.uniform(0.55, 0.9)
        picture[y > level] = (_paint(rng, 0.1, 0.6) * slope[..., None])[y > level]
    if rng.random() < 0.4:
        left, top, wide, high = (
            rng.uniform(-0.2, 0.8),
            rng.uniform(-0.2, 0.1),
            rng.uniform(0.25, 0.5),
            rng.uniform(0.4, 0.7),
        )
        _box(picture, x, y, left - 0.015, top - 0.02, wide + 0.03, high + 0.04, _paint(rng, 0.6, 0.95, 0.05))
        pane = (np.array([0.8, 0.92, 1.1]) * rng.uniform(0.7, 1.5)) * (1 + 0.25 * _noise(x.shape, 7, rng)[..., None])
        for half in (0, 1):
            _box(picture, x, y, left + half * wide / 2 + 0.01, top, wide / 2 - 0.02, high, pane)
    if rng.random() < 0.35:
        _shelf(picture, x, y, rng)
    for _ in range(int(rng.integers(0, 4))):
        left, top, wide, high = (
            rng.uniform(-0.1, 0.95),
            rng.uniform(0, 0.45),
            rng.uniform(0.08, 0.25),
            rng.uniform(0.08, 0.25),
        )
        _box(picture, x, y, left, top, wide, high, _paint(rng, 0.05, 0.5, 0.2))
        inside = _paint(rng, 0.2, 0.95, 0.5) * (1 + 0.5 * _noise(x.shape, 9, rng)[..., None])
        _box(picture, x, y, left + 0.012, top + 0.012, wide - 0.024, high - 0.024, np.clip(inside, 0.01, 1))
    if rng.random() < 0.3:
        edge = rng.uniform(0.0, 0.25) if rng.random() < 0.5 else rng.uniform(0.75, 1.0)
        cloth = _paint(rng, 0.1, 0.9, 0.4) * (0.75 + 0.3 * np.sin(x * rng.uniform(80, 160)))[..., None]
        side = (x < edge) if edge < 0.5 else (x > edge)
        picture[side] = np.clip(cloth, 0.005, 1)[side]
    return np.asarray(np.clip(picture, 0.003, 3))


def _shelf(picture: Floats, x: Floats, y: Floats, rng: np.random.Generator) -> None:
    left, wide, step = rng.uniform(-0.3, 0.6), rng.uniform(0.4, 0.9), rng.uniform(0.13, 0.22)
    wood = linear(np.array([0.45, 0.32, 0.2]) * rng.uniform(0.5, 1.5))
    _box(picture, x, y, left, -0.1, wide, 1.4, wood * 0.35)
    for row in np.arange(-0.05, 1.1, step):
        at = left
        while at < left + wide:
            thick, high = rng.uniform(0.008, 0.03), step * rng.uniform(0.55, 0.85)
            if rng.random() < 0.93:
                _box(picture, x, y, at, row + step - high - 0.012, thick, high, _paint(rng, 0.05, 0.8, 0.4))
            at += thick
        _box(picture, x, y, left, row + step - 0.012, wide, 0.014, wood)


def _outdoors(x: Floats, y: Floats, rng: np.random.Generator, *, bright: bool) -> Floats:
    """Sky, something green or built before it, ground."""
    horizon = rng.uniform(0.3, 0.75)
    blue = rng.uniform(0, 1) if bright else rng.uniform(0, 0.3)
    top = np.array([0.75, 0.8, 0.85]) * (1 - blue) + np.array([0.16, 0.33, 0.68]) * blue
    t = np.clip(y / horizon, 0, 1)[..., None]
    picture = top * (1 - t) + np.array([0.85, 0.88, 0.9]) * t
    clouds = smoothstep(0.1, 1.0, _noise(x.shape, 4, rng, 4))[..., None] * rng.uniform(0, 0.8)
    picture = picture * (1 - clouds) + np.array([0.95, 0.95, 0.96]) * clouds
    kind = rng.choice(["trees", "street", "hills", "wall"], p=[0.38, 0.32, 0.15, 0.15])
    edge = horizon + 0.05 * _noise(x.shape, 5, rng, 4)
    if kind == "wall":
        picture = _masonry(x, y, rng)
    elif kind == "trees":
        leaves = 0.5 + 0.42 * _noise(x.shape, 26, rng, 4) + 0.3 * _noise(x.shape, 6, rng, 2)
        green = (
            np.array([0.10, 0.17, 0.04])
            * rng.uniform(0.5, 1.4)
            * np.array([rng.uniform(0.7, 1.6), 1, rng.uniform(0.6, 1.4)])
        )
        crown = y > (rng.uniform(0.0, 0.3) + 0.14 * _noise(x.shape, 7, rng, 4))
        picture[crown] = (green * np.clip(leaves, 0.1, 2.4)[..., None])[crown]
    elif kind == "street":
        at = -0.1
        while at < 1.1:
            wide, roof = rng.uniform(0.1, 0.4), horizon - rng.uniform(0.1, 0.6)
            front = _paint(rng, 0.3, 0.8, 0.06)
            _box(picture, x, y, at, roof, wide, 2, front)
            panes = (
                (np.sin(x * 2 * np.pi / 0.055) > 0.25)
                & (np.sin(y * 2 * np.pi / 0.08) > 0.1)
                & (x > at)
                & (x < at + wide)
                & (y > roof)
            )
            picture[panes] = front * rng.uniform(0.15, 0.5)
            at += wide
    else:
        far = y > edge - 0.12
        picture[far] = np.array([0.16, 0.2, 0.18]) * rng.uniform(0.7, 1.6)
    if kind != "wall":
        floor = (
            linear(np.array([0.42, 0.42, 0.4]))
            if kind == "street"
            else np.array([0.12, 0.15, 0.05]) * rng.uniform(0.6, 1.8)
        )
        ground = y > horizon + (0.0 if kind == "street" else 0.03 * _noise(x.shape, 8, rng))
        picture[ground] = (floor * (1 + 0.15 * _noise(x.shape, 20, rng, 4)[..., None]))[ground]
    return np.asarray(np.clip(picture, 0.003, 3) * (1.0 if bright else 0.75))


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
    """Dark, with lamps as discs."""
    picture = np.array([0.012, 0.014, 0.022]) * (1 + 0.6 * _noise(x.shape, 4, rng)[..., None])
    for _ in range(int(rng.integers(6, 40))):
        radius = rng.uniform(0.008, 0.045)
        inside = (x - rng.uniform(0, 1)) ** 2 + (y - rng.uniform(0, 0.8)) ** 2 < radius**2
        hue = linear(np.array([1.0, rng.uniform(0.4, 1.0), rng.uniform(0.1, 1.0)]))
        picture[inside] += hue * rng.uniform(0.15, 1.1)
    return np.asarray(np.clip(picture, 0.002, 3))
