"""Skin: colour, roughness and small relief at every vertex, from masks in the rest frame and noise of the person's own.

The ten tones follow the Monk Skin Tone scale (Monk 2019) as linear reflectances that render to its swatches in white light.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from fdf.synth.complexion import folded, lumps, shade
from fdf.synth.geometry import Floats, bump, linear, smoothstep
from fdf.synth.head import Surface, load_head
from fdf.synth.identity import BEARD_GREYS, BROW_GREYS, Brows, Identity

_TONES: Final = np.array(
    [
        [0.70, 0.50, 0.41], [0.66, 0.455, 0.355], [0.62, 0.405, 0.295], [0.55, 0.34, 0.235], [0.45, 0.265, 0.17],
        [0.335, 0.18, 0.104], [0.25, 0.124, 0.066], [0.178, 0.082, 0.042], [0.120, 0.053, 0.028], [0.082, 0.037, 0.021],
    ]
)  # fmt: skip
# Where the hair begins: lowest y inside the hair by z, from the back of the neck over the ears to the forehead.
_HAIRLINE_Z: Final = (-1, -0.7, -0.3, 0, 0.3, 0.5, 0.62, 0.75, 0.95, 1.15, 1.3, 1.6)
_HAIRLINE_Y: Final = (6.35, 6.4, 6.55, 6.9, 7.36, 7.4, 7.2, 7.5, 7.72, 7.88, 7.98, 8.02)


@dataclass(frozen=True, eq=False)
class Skin:
    """What `paint` makes, per vertex of the skin surface.

    Attributes:
        colors: (n, 3) linear reflectance.
        roughness: (n,).
        relief: (n,) decimetres outwards.
        scalp: (n,) 0–1, where hair grows.
        beard: (n,) 0–1, density of the beard.
    """

    colors: Floats
    roughness: Floats
    relief: Floats
    scalp: Floats
    beard: Floats


def tone(monk: float) -> Floats:
    """Linear reflectance (3,) of a Monk tone, 1–10."""
    return np.array([np.interp(monk, np.arange(1, 11), _TONES[:, c]) for c in range(3)])


def brow_line(x: Floats, brows: Brows) -> Floats:
    """Height of the brow over the distance from the middle of the face."""
    t = np.clip((x - brows.inner) / (brows.outer - brows.inner), 0, 1)
    return np.asarray(7.465 + brows.height + brows.slope * t + brows.arch * np.sin(np.pi * t**1.35) - 0.025 * t**3)


def brow_mask(rest: Floats, brows: Brows, widen: float = 1.0) -> Floats:
    """Where brows grow, 0–1."""
    x = np.abs(rest[:, 0])
    t = (x - brows.inner) / (brows.outer - brows.inner)
    half = widen * brows.thickness * np.interp(t, [0, 0.15, 0.5, 0.8, 1], [0.6, 1, 0.95, 0.6, 0.2])
    inside = smoothstep(1.3, 0.55, np.abs(rest[:, 1] - brow_line(x, brows)) / half)
    return np.asarray(inside * smoothstep(-0.06, 0.05, t) * smoothstep(1.04, 0.9, t) * (rest[:, 2] > 0.75))


def paint(person: Identity, surface: Surface) -> Skin:
    """Skin of a person on the skin surface of any level."""
    rng = person.stream("skin")
    rest = surface.rest
    mask = {name: np.asarray(surface.matrix @ values) for name, values in load_head().masks.items()}
    ears = smoothstep(0.3, 0.7, mask["ears"])
    lips, mouth = smoothstep(0.25, 0.75, mask["lips"]), smoothstep(0.3, 0.6, mask["inside-mouth"])
    base = tone(person.monk) * (1 + rng.normal(0, 0.035, 3))
    colors = _blood_and_freckles(person, surface, base, ears, rng)
    colors = _lids_and_lips(person, surface, colors, base, mask, lips, mouth, rng)
    scalp, beard = hair_mask(person, surface, ears, rng), beard_mask(person, surface, lips, rng)
    colors = _painted_hair(person, surface, colors, scalp, beard, rng)
    depth = _wrinkles(person, surface, rng)
    colors *= shade(person, surface, smoothstep(0.2, 0.8, mask["eyelids"]))
    colors *= (1 - 0.28 * depth)[:, None] * np.array([1.05, 0.98, 0.97])
    rough = 0.5 - 0.14 * lips + 0.03 * surface.clouds(rng, 0.12) + 0.05 * scalp
    rough -= 0.07 * bump(rest, (0, 7.1, 1.5), (0.13, 0.4, 0.4)) + 0.06 * bump(rest, (0, 7.8, 1.4), (0.4, 0.2, 0.3))
    pores = (0.0004 * surface.grain(rng, 1) + 0.00012 * surface.grain(rng)) * (1 - mouth) * (rest[:, 1] > 5.6)
    relief = pores * (1 + 0.8 * np.clip((person.age - 45) / 40, 0, 1)) - 0.012 * depth
    relief = relief + lumps(person, surface) * (1 - mouth) * (1 - ears)
    return Skin(np.clip(colors, 0.004, 0.92), np.clip(rough, 0.25, 0.75), relief, scalp, beard)


def _blood_and_freckles(
    person: Identity, surface: Surface, base: Floats, ears: Floats, rng: np.random.Generator
) -> Floats:
    """Base colour with redness where blood shows, dark rings, freckles, moles, age spots."""
    rest = surface.rest
    half = folded(rest)
    dark = (person.monk - 1) / 9
    red = 0.9 * bump(half, (0.42, 6.98, 1.2), (0.2, 0.17, 0.35)) + 0.8 * bump(rest, (0, 6.95, 1.62), (0.14, 0.14, 0.2))
    red += (
        0.6 * ears
        + 0.4 * bump(rest, (0, 6.3, 1.45), (0.25, 0.12, 0.2))
        + 0.2 * bump(rest, (0, 7.75, 1.4), (0.4, 0.15, 0.3))
    )
    red *= rng.uniform(0.3, 1.4) * (1 - 0.55 * dark)
    colors = base * (1 + red[:, None] * np.array([0.06, -0.17, -0.15]))
    rings = bump(half, (0.30, 7.13, 1.4), (0.14, 0.05, 0.2)) * rng.uniform(0.2, 1.2)
    colors *= 1 - 0.25 * rings[:, None] * np.array([0.8, 1, 0.85])
    mottled = 0.026 * surface.clouds(rng, 0.4) + 0.016 * surface.clouds(rng, 0.16)
    mottled += 0.013 * surface.grain(rng, 1) + 0.005 * surface.grain(rng)
    colors *= 1 + mottled[:, None] * np.array([0.8, 1.1, 1.2])
    colors *= 1 + (0.02 * surface.clouds(rng, 0.25))[:, None] * np.array([0.3, -1, -1])
    if person.freckles > 0:
        where = smoothstep(0.8, 1.7, surface.grain(rng, 1)) * bump(half, (0.25, 7.08, 1.4), (0.35, 0.25, 0.5))
        colors *= 1 - np.clip(person.freckles, 0, 1) * 0.5 * where[:, None] * np.array([0.6, 1, 1.1])
    front = np.flatnonzero((rest[:, 2] > 0.7) & (rest[:, 1] > 6.2) & (rest[:, 1] < 7.9))
    for _ in range(person.moles):
        centre, size = rest[rng.choice(front)], rng.uniform(0.01, 0.024)
        colors *= 1 - rng.uniform(0.3, 0.7) * bump(rest, centre, (size, size, size))[:, None]
    old = np.clip((person.age - 55) / 30, 0, 1)
    spots = smoothstep(1.1, 1.9, surface.clouds(rng, 0.11)) + smoothstep(1.6, 2.4, surface.grain(rng, 1))
    return np.asarray(colors * (1 - 0.2 * old * spots[:, None] * np.array([0.7, 1, 1.1])))


def _lids_and_lips(
    person: Identity,
    surface: Surface,
    colors: Floats,
    base: Floats,
    mask: dict[str, Floats],
    lips: Floats,
    mouth: Floats,
    rng: np.random.Generator,
) -> Floats:
    rest = surface.rest
    half = folded(rest)
    dark = (person.monk - 1) / 9
    lids = smoothstep(0.2, 0.8, mask["eyelids"])
    shadow = np.array([0.8, 1, 0.9]) if person.makeup < 0.7 else rng.uniform(0.5, 1.1, 3)
    colors = colors * (1 - (0.06 + 0.35 * person.makeup**2) * lids[:, None] * shadow)
    lip = base * (np.array([0.74, 0.44, 0.45]) if dark < 0.6 else np.array([0.82, 0.58, 0.58]))
    lip = lip * np.exp(0.16 * person.trait("lip lightness")) * (1 + 0.07 * person.lip_tint * np.array([0.5, -1, -0.7]))
    if person.makeup > 0.5:
        stick = linear(np.array([rng.uniform(0.45, 0.75), rng.uniform(0.15, 0.38), rng.uniform(0.2, 0.4)]))
        lip = lip * 0.5 + 0.5 * stick * (0.35 + 0.65 * base.mean() / 0.5)
    lip_colors = lip * (1 + 0.05 * surface.grain(rng, 1))[:, None]
    colors = colors + 0.88 * lips[:, None] * (lip_colors - colors)
    colors = colors * (1 - 0.75 * bump(half, (0.10, 6.925, 1.50), (0.045, 0.035, 0.06)))[:, None]
    return np.asarray(colors + mouth[:, None] * (np.array([0.16, 0.035, 0.03]) - colors))


def hair_mask(person: Identity, surface: Surface, ears: Floats, rng: np.random.Generator) -> Floats:
    """Where hair grows on the head, 0–1, with an uneven border; receding temples, bald crowns."""
    rest = surface.rest
    inside = rest[:, 1] - np.interp(rest[:, 2], _HAIRLINE_Z, _HAIRLINE_Y)
    front = smoothstep(0.55, 0.95, rest[:, 2])
    temples = smoothstep(0.18, 0.5, np.abs(rest[:, 0])) * smoothstep(1.45, 1.1, rest[:, 2])
    inside = inside - front * person.hairline * (0.55 + 1.2 * temples)
    inside += 0.03 * surface.clouds(rng, 0.16) + 0.012 * surface.grain(rng, 1)
    scalp = smoothstep(-0.05, 0.11, inside) * (1 - ears)
    if person.hair_style == "balding":
        scalp *= 1 - 0.97 * smoothstep(7.65, 7.98, rest[:, 1]) * smoothstep(-0.6, -0.15, rest[:, 2] + 0.2)
    return np.asarray(np.clip(scalp, 0, 1))


def beard_mask(person: Identity, surface: Surface, lips: Floats, rng: np.random.Generator) -> Floats:
    """Where a beard grows, 0–1, by its form; zero for those who have none."""
    rest = surface.rest
    if person.feminine > 0.55:
        return np.zeros(len(rest))
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    cheek = 6.98 + rng.uniform(-0.14, 0.06) - 0.25 * np.clip(0.9 - z, 0, 1)
    grown = (
        smoothstep(0.06, -0.12, y - cheek)
        * smoothstep(0.35, 0.6, z)
        * smoothstep(6.0, 6.28, y + 0.25 * np.clip(z - 1.2, -0.6, 0) + 0.1)
    )
    grown *= 1 - np.clip(1.3 * lips, 0, 1)
    grown *= 1 - smoothstep(0.16, 0.05, np.abs(y - 6.93)) * smoothstep(0.42, 0.3, x)
    grown *= 1 - np.clip(bump(folded(rest), (0.40, 6.98, 1.25), (0.20, 0.17, 0.4)), 0, 0.5) * 1.96
    grown *= np.clip(0.85 + 0.16 * surface.clouds(rng, 0.12), 0, 1.1)
    if person.beard == "moustache":
        grown *= smoothstep(6.66, 6.72, y) * smoothstep(0.42, 0.3, x)
    elif person.beard == "goatee":
        grown *= smoothstep(0.42, 0.28, x)
    return np.asarray(np.clip(grown, 0, 1))


def _painted_hair(
    person: Identity, surface: Surface, colors: Floats, scalp: Floats, beard: Floats, rng: np.random.Generator
) -> Floats:
    """Roots of brows, hair and beard as colour under the strands."""
    hair = person.hair_rgb
    brows = person.hair_mixed(BROW_GREYS * person.greyed)
    brow = brow_mask(surface.rest, person.brows) * np.clip(0.8 + 0.2 * surface.grain(rng, 1), 0, 1)
    dark = brows * (0.7 if brows.mean() < 0.25 else 0.45)
    colors = colors + (0.5 * person.brows.density * brow)[:, None] * (dark - colors)
    cover = {"bald": 0.1, "buzz": 0.72, "balding": 0.62}.get(person.hair_style, 0.95)
    colors = colors + (cover * scalp)[:, None] * (hair * (0.7 if hair.mean() > 0.1 else 0.9) - colors)
    if person.beard == "none":
        shade, strength = np.array([0.03, 0.03, 0.035]), 0.11 * max(0.0, 1 - 3 * person.feminine)
    else:
        shade = np.minimum(person.hair_mixed(BEARD_GREYS * person.greyed), 0.14) * 0.8 + 0.01
        strength = {"stubble": 0.3, "short": 0.6, "full": 0.75}.get(person.beard, 0.7)
    weight = np.clip(beard * strength * rng.uniform(0.75, 1.15, len(beard)), 0, 0.95)
    return np.asarray(colors + weight[:, None] * (shade - colors))


def _wrinkles(person: Identity, surface: Surface, rng: np.random.Generator) -> Floats:
    """Depth of folds and lines, 0–1: few at 30, deep at 80, each person their own."""
    age = np.clip((person.age - 28) / 50, 0, 1.1)
    rest = surface.rest
    depth = np.zeros(len(rest))
    rows = np.flatnonzero((rest[:, 2] > 0.55) & (rest[:, 1] > 6.1) & (rest[:, 1] < 8.0))
    points = np.abs(rest[rows]) * [1, 0, 0] + rest[rows] * [0, 1, 0]
    wobble = 0.015 * surface.clouds(rng, 0.2)[rows]
    lines: list[tuple[list[tuple[float, float]], float, float]] = [
        ([(0.20, 6.96), (0.30, 6.80), (0.36, 6.60)], 0.026, 0.35 + 0.65 * age),  # nose to mouth
        ([(0.30, 6.50), (0.33, 6.36)], 0.025, 0.8 * age),  # mouth to chin
        ([(0.17, 7.16), (0.27, 7.10), (0.40, 7.13)], 0.02, 0.25 + 0.6 * age),  # under the eye
        ([(0.07, 7.36), (0.06, 7.52)], 0.016, 0.75 * age),  # between the brows
    ]
    for angle in (-35, -12, 12, 35):  # outer corner of the eye
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        lines.append(([(0.53 + 0.02 * c, 7.27 + 0.02 * s), (0.53 + 0.14 * c, 7.27 + 0.14 * s)], 0.012, 0.8 * age))
    for y in (7.62, 7.70, 7.78, 7.86):  # forehead
        lift = rng.normal(0, 0.012)
        lines.append(
            ([(0.0, y + lift), (0.2, y + 0.02 + lift), (0.42, y - 0.02)], 0.014, 0.7 * age * rng.uniform(0.3, 1))
        )
    for path, width, strength in lines:
        distance = np.min([_to_segment(points, a, b) for a, b in pairwise(path)], axis=0) + wobble
        depth[rows] += strength * rng.uniform(0.5, 1.1) * np.exp(-0.5 * (distance / width) ** 2)
    return np.asarray(np.clip(depth, 0, 1.2))


def _to_segment(points: Floats, a: tuple[float, float], b: tuple[float, float]) -> Floats:
    """Distance in x and y from points to a segment."""
    start, step = np.array(a), np.array(b) - np.array(a)
    t = np.clip((points[:, :2] - start) @ step / (step @ step), 0, 1)
    return np.asarray(np.linalg.norm(points[:, :2] - start - t[:, None] * step, axis=1))
