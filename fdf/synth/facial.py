"""Hair of the face: brows and beards, in the person's rest frame."""

from __future__ import annotations

import numpy as np

from fdf.synth.geometry import Floats, smoothstep, unit
from fdf.synth.grow import scatter
from fdf.synth.hair import Hairs, pixel
from fdf.synth.head import Surface
from fdf.synth.identity import BEARD_GREYS, BROW_GREYS, Identity
from fdf.synth.skin import Skin, brow_mask


def brow_hair(
    person: Identity, skin: Skin, points: Floats, normals: Floats, surface: Surface, face_pixels: float
) -> Hairs | None:
    """Hairs of both brows; they fade into the skin where brows are thin."""
    rng = person.stream("brows")
    mask = brow_mask(surface.rest, person.brows, 0.9) * (surface.rest[:, 2] > 0.8)
    count = int(np.clip(4 * face_pixels, 60, 600) * person.brows.density)
    roots = scatter(points, normals, surface, mask, skin.colors, count, rng)
    if roots is None:
        return None
    n = len(roots.points)
    x, side = np.abs(roots.rest[:, :1]), np.sign(roots.rest[:, :1])
    out = side * np.interp(x, [0.1, 0.2, 0.5], [0.5, 1, 1])
    up = np.interp(x, [0.1, 0.25, 0.55], [0.5, 0.22, -0.3])
    direction = unit(np.concatenate([out, up, np.full((n, 1), -0.25)], axis=1) + rng.normal(0, 0.12, (n, 3)))
    flat = direction - (direction * roots.normals).sum(axis=1, keepdims=True) * roots.normals
    direction = unit(flat + 0.1 * roots.normals)
    t = np.linspace(0, 1, 4)[None, :, None]
    length = rng.uniform(0.035, 0.065, (n, 1, 1))
    paths = roots.points[:, None] + t * length * direction[:, None] - 0.012 * t**2 * roots.normals[:, None]
    width = max(0.0022, 0.16 * pixel(face_pixels))
    hair = np.minimum(0.75 * hair_color(person, BROW_GREYS, n, rng), 0.14) * np.exp(rng.normal(0, 0.15, (n, 1)))
    colors = roots.under + (0.5 + 0.4 * roots.mask)[:, None] * (hair - roots.under)
    radius = width * np.array([[1, 1, 0.8, 0.4]]) * np.ones((n, 1))
    return Hairs(paths, radius, np.repeat(colors[:, None], 2, axis=1))


def beard_hair(
    person: Identity, skin: Skin, points: Floats, normals: Floats, surface: Surface, face_pixels: float
) -> Hairs | None:
    """Hairs of the beard: shorter, finer and paler towards its border; stubble is mostly paint."""
    form = {
        "full": (1.0, 0.15), "short": (1.0, 0.05), "goatee": (0.4, 0.10), "moustache": (0.25, 0.09), "stubble": (0.5, 0.014),
    }.get(person.beard)  # fmt: skip
    if form is None:
        return None
    rng = person.stream("beard")
    share, length = form
    count = int(share * np.clip(26 * face_pixels, 400, 4500))
    roots = scatter(points, normals, surface, skin.beard**1.2, skin.colors, count, rng)
    if roots is None:
        return None
    n = len(roots.points)
    direction = unit(0.4 * roots.normals + [0, -0.85, 0.1] + rng.normal(0, 0.16, (n, 3)))
    t = np.linspace(0, 1, 4)[None, :, None]
    thick = smoothstep(0.1, 0.85, roots.mask)
    lengths = length * rng.uniform(0.6, 1.1, n) * np.interp(roots.rest[:, 1], [6.15, 6.6, 6.9], [1, 0.6, 0.35])
    lengths = lengths * (0.35 + 0.65 * thick)
    paths = roots.points[:, None] + lengths[:, None, None] * (t * direction[:, None] + t**2 * np.array([0, -0.35, 0]))
    width = max(0.002, 0.14 * pixel(face_pixels)) if person.beard == "stubble" else max(0.004, 0.3 * pixel(face_pixels))
    hair = (np.minimum(hair_color(person, BEARD_GREYS, n, rng), 0.3) * 0.85 + 0.004) * np.exp(
        rng.normal(0, 0.15, (n, 1))
    )
    cover = (0.25 + (0.2 if person.beard == "stubble" else 0.7) * thick)[:, None]
    colors = roots.under + cover * (hair - roots.under)
    radius = width * np.linspace(1, 0.5, 4)[None] * (0.5 + 0.5 * thick)[:, None]
    return Hairs(paths, radius, np.repeat(colors[:, None], 2, axis=1))


def hair_color(person: Identity, follows: float, n: int, rng: np.random.Generator) -> Floats:
    """Colours (n, 3) of single hairs: each has its pigment or none."""
    return person.hair_mixed(rng.random(n) < follows * person.greyed)
