"""Eyes, teeth and tongue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fdf.synth.geometry import Floats, axis_rotation, grid_quads, smoothstep
from fdf.synth.head import load_head, surface
from fdf.synth.identity import IRIS, Identity
from fdf.synth.piece import Part, one_color

_IRIS_ANGLE: Final = 0.49
"""Half angle of the iris seen from the middle of the eyeball, radians: 11.7 mm across on a ball of 24 mm (anatomy)."""


@dataclass(frozen=True, eq=False)
class Ball:
    """An eyeball: its centre in the rest frame and its radius, decimetres."""

    centre: Floats
    radius: float


def eyeballs(base: Floats) -> dict[str, Ball]:
    """Least-squares spheres through the mesh's own eyes, by side."""
    found = {}
    for side in ("left", "right"):
        points = base[np.unique(load_head().parts[f"eye_{side}"])]
        matrix = np.concatenate([2 * points, np.ones((len(points), 1))], axis=1)
        solution = np.linalg.lstsq(matrix, (points**2).sum(axis=1), rcond=None)[0]
        centre = solution[:3]
        found[side] = Ball(centre, float(np.sqrt(solution[3] + centre @ centre)))
    return found


def eye_parts(person: Identity, balls: dict[str, Ball], gaze: tuple[float, float]) -> list[Part]:
    """Both eyes, turned by the gaze (degrees to the subject's left, up)."""
    found = []
    for side, sign in (("left", 1), ("right", -1)):
        turned = axis_rotation(1, gaze[0] - sign * 1.5) @ axis_rotation(0, -gaze[1])
        found.append(_ball(person, balls[side], turned))
    return found


def _ball(person: Identity, ball: Ball, turned: Floats) -> Part:
    rng = person.stream("iris")
    rings, sides = 40, 48
    theta = np.concatenate([np.linspace(0, 0.62, 26), np.linspace(0.66, 2.2, rings - 26)])
    phi = np.arange(sides) / sides * 2 * np.pi
    sine, cosine = np.sin(theta)[:, None], np.cos(theta)[:, None]
    points = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine + 0 * phi], axis=-1)
    points *= (1 + 0.055 * np.exp(-((theta / 0.42) ** 4)))[:, None, None]  # the cornea stands out
    rays = rng.random(sides)
    rays = 0.6 * rays + 0.4 * np.roll(rays, 1)
    pupil = rng.uniform(0.17, 0.26)
    u = theta[:, None]
    iris = np.array(IRIS[person.iris]) * rng.uniform(0.8, 1.2)
    depth = 1.15 - 0.5 * ((u - pupil) / (_IRIS_ANGLE - pupil))
    colors = iris * depth[..., None] * (0.65 + 0.75 * rays[None, :, None])
    colors = colors * (1 - 0.8 * np.exp(-(((u - _IRIS_ANGLE) / 0.06) ** 2)))[..., None]  # the dark ring around it
    yellow = np.clip((person.age - 50) / 60, 0, 0.4) + 0.03 * (person.monk - 1) / 9
    white = np.array([0.50, 0.465, 0.435]) * rng.uniform(0.85, 1.05) * (1 - yellow * np.array([0.2, 0.3, 0.6]))
    red = np.array([1, 0.94, 0.92]) ** (2 * smoothstep(0.6, 1.3, u)[..., None])
    white = white * (1 - 0.3 * smoothstep(0.8, 1.5, u))[..., None] * red + 0 * colors
    colors = np.where((u < pupil)[..., None], 0.004, np.where((u < _IRIS_ANGLE + 0.02)[..., None], colors, white))
    placed = (points.reshape(-1, 3) @ turned.T) * ball.radius + ball.centre
    return Part("eye", placed, grid_quads(rings, sides), colors.reshape(-1, 3), np.ones(len(placed)))


def mouth_parts(person: Identity, base: Floats) -> list[Part]:
    """Teeth and tongue."""
    rng = person.stream("teeth")
    stain = np.clip((person.age - 30) / 60, 0, 1) * rng.uniform(0.2, 1)
    teeth = np.array([0.66, 0.62, 0.55]) * rng.uniform(0.85, 1.05) * (1 - stain * np.array([0.12, 0.2, 0.38]))
    found = []
    for name, color in (("teeth_upper", teeth), ("teeth_lower", teeth * 0.85), ("tongue", (0.32, 0.09, 0.08))):
        part = surface(name, 1)
        points = np.asarray(part.matrix @ base)
        found.append(Part("teeth", points, part.quads, one_color(color, len(points)), np.ones(len(points))))
    return found
