"""Clothes: a top with a neckline and a pattern, arms in their sleeves, legs, scarves. In the rest frame, before posing."""

from __future__ import annotations

from typing import Final

import numpy as np

from fdf.synth.geometry import Floats, axis_rotation, grid_quads, linear, normals, smoothstep, tube, unit
from fdf.synth.hands import forearm, hand
from fdf.synth.head import SHOULDER, Surface
from fdf.synth.identity import Identity
from fdf.synth.piece import Part, one_color
from fdf.synth.shot import Shot

_ARM_DROP: Final = 36.0
"""Degrees by which the arms of the base mesh, held away from the body, are lowered."""
_CUT: Final = 2.72
"""Where on the base mesh, across, the upper arm ends."""
# sRGB of dyes that many clothes have, and how often: whites, greys, blues, earths, a few strong ones.
_DYES: Final = (
    ((0.90, 0.89, 0.87), 10), ((0.80, 0.77, 0.71), 5), ((0.62, 0.62, 0.62), 7), ((0.36, 0.37, 0.39), 9),
    ((0.13, 0.13, 0.14), 13), ((0.13, 0.17, 0.28), 11), ((0.28, 0.37, 0.50), 8), ((0.62, 0.71, 0.80), 7),
    ((0.36, 0.38, 0.28), 4), ((0.20, 0.31, 0.26), 4), ((0.44, 0.16, 0.20), 5), ((0.68, 0.22, 0.20), 3),
    ((0.60, 0.38, 0.24), 3), ((0.76, 0.60, 0.30), 2), ((0.78, 0.62, 0.62), 4), ((0.24, 0.46, 0.50), 3),
    ((0.50, 0.44, 0.58), 2), ((0.42, 0.33, 0.27), 4),
)  # fmt: skip
_DARK: Final = ((0.10, 0.11, 0.15), (0.18, 0.22, 0.32), (0.12, 0.12, 0.12), (0.34, 0.31, 0.27), (0.25, 0.26, 0.28))


def dye(rng: np.random.Generator) -> Floats:
    """Colour (3,) of a cloth, linear."""
    shares = np.array([share for _, share in _DYES], dtype=float)
    color = np.array(_DYES[int(rng.choice(len(_DYES), p=shares / shares.sum()))][0])
    return np.asarray(linear(np.clip(color * rng.uniform(0.88, 1.1) + rng.normal(0, 0.02, 3), 0.04, 0.93)))


def lower_arms(points: Floats, rest: Floats) -> Floats:
    """Arms beside the body instead of held out."""
    moved = points.copy()
    for sign in (1, -1):
        share = smoothstep(1.25, 2.3, sign * rest[:, 0])
        pivot = SHOULDER * [sign, 1, 1]
        turned = (points - pivot) @ axis_rotation(2, -sign * _ARM_DROP).T + pivot
        moved += share[:, None] * (turned - points)
    return moved


def neckline(person: Identity, shot: Shot, rest: Floats) -> Floats:
    """How far each point lies above the edge of the clothes at the neck; negative is under them."""
    rng = person.stream(f"neckline {shot.number}")
    kind = str(rng.choice(["crew", "vee", "high", "wide"], p=[0.4, 0.3, 0.15, 0.15]))
    height = rest[:, 1] + 0.45 * rest[:, 2] - 0.42 * np.clip(np.abs(rest[:, 0]) - 0.45, 0, 1.2)
    line = {"crew": rng.uniform(5.95, 6.08), "vee": 6.02, "high": 6.35, "wide": rng.uniform(5.8, 5.92)}[kind]
    edge = np.full(len(rest), line)
    if kind == "vee":
        cut = rng.uniform(0.3, 0.75) * np.clip(1 - np.abs(rest[:, 0]) / 0.5, 0, 1)
        edge -= np.where(rest[:, 2] > 0.1, cut, 0)
    return np.asarray(height - edge)


def clothes(person: Identity, shot: Shot, torso: Surface, points: Floats, share: Floats) -> list[Part]:
    """A top with a neckline, forearms, hands and legs."""
    rng = person.stream(f"clothes {shot.number}")
    rest, quads = torso.rest, torso.quads
    above = neckline(person, shot, rest)
    worn = (above[quads] < 0).any(axis=1) & (np.abs(rest[quads, 0]) < _CUT).all(axis=1)
    used, inverse = np.unique(quads[worn], return_inverse=True)
    cut = inverse.reshape(-1, 4)
    body = lower_arms(points, rest)
    body[:, 1] = np.maximum(body[:, 1], 1.0)
    body[:, 1] -= np.maximum(0, above)  # corners over the neckline come down to it: a clean edge
    outward = normals(body, quads)
    folds = 0.03 * torso.clouds(rng, 0.55) + 0.006 * torso.clouds(rng, 0.25)
    rim = smoothstep(0.0, 0.14, -above)
    thickness = rng.uniform(0.05, 0.1) * (0.55 + 0.45 * rim) + folds * rim
    cloth = body + outward * thickness[:, None]
    color, colors = fabric(rest, rng)
    seam = 1 - 0.22 * smoothstep(0.2, 0.12, -above) * smoothstep(0.02, 0.1, -above)  # the collar's band
    found = [Part("cloth", cloth[used], cut, (colors * seam[:, None])[used], share[used])]
    elbows = {sign: cloth[np.abs(sign * rest[:, 0] - 2.58) < 0.14] for sign in (1, -1)}
    return [*found, *_limbs(person, shot, color, elbows, rng)]


def fabric(rest: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Colour (3,) of the sleeves, and that of each vertex: plain, striped, checked, a jacket over a shirt."""
    base, second = dye(rng), dye(rng)
    kind = rng.choice(["plain", "stripe", "check", "jacket"], p=[0.6, 0.14, 0.1, 0.16])
    size, x, y = rng.uniform(0.5, 0.85), np.abs(rest[:, 0]), rest[:, 1]
    weight = np.zeros(len(rest))
    if kind == "stripe":
        weight = smoothstep(-0.5, 0.5, np.sin(2 * np.pi * y / size) - rng.uniform(-0.3, 0.6))
    elif kind == "check":
        weight = 0.3 * smoothstep(-0.3, 0.3, np.sin(2 * np.pi * y / size))
        weight = weight + 0.3 * smoothstep(-0.3, 0.3, np.cos(2 * np.pi * x / size))
    elif kind == "jacket":
        opening = np.interp(y, [3.2, 4.2, 5.9], [0.05, 0.3, 0.55])
        weight = smoothstep(0.05, -0.05, x - opening) * (rest[:, 2] > 0.2)
        base = base * min(1.0, 0.3 / float(base.max()))
    colors = base + weight[:, None] * (second - base)
    return base, np.clip(colors * (1 + 0.01 * rng.standard_normal((len(rest), 1))), 0.008, 0.9)


def _limbs(
    person: Identity, shot: Shot, color: Floats, elbows: dict[int, Floats], rng: np.random.Generator
) -> list[Part]:
    """Forearms, hands and legs, for people far enough away to be seen so far down."""
    dark = linear(np.array(_DARK[int(rng.integers(len(_DARK)))]) * rng.uniform(0.8, 1.3))
    found: list[Part] = []
    swing = rng.uniform(0, 0.7)
    for sign in (1, -1):
        elbow = elbows[sign].mean(axis=0)
        shoulder = SHOULDER * [sign, 1, 1]
        wide = 1.42 * float(elbows[sign].std(axis=0)[[0, 2]].mean())
        lower, palm, bend = np.array([-sign * 0.12, -2.1, 0.2 + swing]), np.array([-sign, 0.0, -0.2]), 0.22
        if shot.arms == "crossed":
            lower, palm = (
                np.array([-sign * 1.75, 0.25 - 0.3 * (sign > 0), 1.55 + 0.3 * (sign > 0)]),
                np.array([0, 0, -1.0]),
            )
        elif shot.arms == "folded":
            lower, palm = np.array([-sign * 1.55, -0.9, 1.45 + 0.2 * (sign > 0)]), np.array([0, 0.3, -1.0])
        wrist = elbow + lower * (2.15 / float(np.linalg.norm(lower)))
        found.append(forearm(elbow, wrist, (wide, 0.27), color, 0.0, unit(shoulder - elbow)))
        found += hand(person.monk, wrist - 0.06 * lower, lower, palm, sign, bend, 0.0)
    for sign in (1, -1):
        y = np.linspace(1.5, -8.3, 8)
        path = np.stack([sign * np.linspace(0.55, 0.75, 8), y, np.full(8, 0.2)], axis=1)
        points, quads = tube(path, np.linspace(0.95, 0.45, 8), 12)
        found.append(Part("cloth", points, quads, one_color(dark, len(points)), np.zeros(len(points))))
    return found


def scarf(person: Identity, shot: Shot) -> Part:
    """A thick scarf round the neck; pulled up, it covers the chin."""
    rng = person.stream(f"scarf {shot.number}")
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 48, endpoint=False), np.linspace(0, 2 * np.pi, 13), indexing="ij")
    thick = rng.uniform(0.22, 0.34) * (1 + 0.12 * np.sin(5 * u + rng.uniform(0, 6)) * np.cos(3 * v))
    height = 5.78 + rng.uniform(0, 0.3) + 0.1 * np.sin(u + rng.uniform(0, 6))
    radius = 0.66 + thick * np.cos(v)
    points = np.stack([radius * np.sin(u), height + 1.5 * thick * np.sin(v), 0.25 + 1.15 * radius * np.cos(u)], axis=-1)
    rows = points.reshape(-1, 3)
    quads = grid_quads(48, 13, closed=False)
    last = np.concatenate([np.arange(47 * 13, 48 * 13), np.arange(13)]).reshape(2, 13)
    seam = np.stack([last[0, :-1], last[1, :-1], last[1, 1:], last[0, 1:]], axis=1)
    ribs = 1 - 0.12 * (np.sin(9 * v + 2 * np.sin(3 * u)) > 0.3).reshape(-1, 1)
    return Part("cloth", rows, np.concatenate([quads, seam]), dye(rng) * ribs, smoothstep(5.4, 7.2, rows[:, 1]))
