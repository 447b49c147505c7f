"""From hairs to meshes: flat strands that face the camera, wider locks that lie on the head, and a cap under both.

Single hairs are far below a pixel. Locks with streaks carry the mass of hair, some strands on top its texture; so the
picture has the smoothness of hair and few triangles.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from fdf.synth.geometry import Floats, Ints, normals, smoothstep, triangles, unit
from fdf.synth.head import Surface
from fdf.synth.piece import Part, Piece

_MIDDLE: Final = np.array([0.0, 7.4, 0.1])
"""Hair above lies round this point, hair below round the vertical through it."""


def mass_normal(points: Floats) -> Floats:
    """Outwards of the mass of hair at points (…, 3) of the rest frame: smooth where single hairs are not."""
    away = points - _MIDDLE
    away[..., 1] = np.maximum(away[..., 1], 0)
    return unit(away * [1, 1, 0.75])


def bands(paths: Floats, outward: Floats, radius: Floats, colors: Floats, *, facing: float = 1.0) -> Piece:
    """Bands along paths, in the frame of the scene.

    Args:
        paths: (n, k, 3), root first.
        outward: (n, k, 3) normals of the mass of hair.
        radius: (n, k) half widths.
        colors: (n, columns, 3): a band has so many vertices across, each with the colour of a streak.
        facing: 1: flat to the camera; 0: flat on the head.
    """
    n, k = paths.shape[:2]
    columns = colors.shape[1]
    along = unit(np.gradient(paths, axis=1))
    up = unit((1 - facing) * outward + (facing + 0.3) * unit(-paths))
    side = unit(np.cross(along, up))
    up = np.cross(side, along)
    u = np.linspace(-1, 1, columns)[:, None]
    flat = radius[:, :, None, None]
    points = paths[:, :, None] + flat * (u * side[:, :, None] + 0.3 * (1 - u * u) * up[:, :, None])
    mass = outward + 0.35 * up
    mass = unit(mass - (mass * along).sum(axis=-1, keepdims=True) * along + 1e-6 * up)
    shading = unit(mass[:, :, None] + 0.3 * u * side[:, :, None])
    tint = colors[:, None] * np.linspace(0.82, 1.08, k)[None, :, None, None]
    corner = np.arange(n * k * columns).reshape(n, k, columns)
    quads = np.stack([corner[:, :-1, :-1], corner[:, :-1, 1:], corner[:, 1:, 1:], corner[:, 1:, :-1]], axis=-1)
    return Piece(
        "hair",
        points.reshape(-1, 3),
        triangles(quads.reshape(-1, 4)),
        np.clip(tint.reshape(-1, 3), 0.002, 0.9),
        shading.reshape(-1, 3),
    )


def cap(
    surface: Surface, points: Floats, lifted: Floats, mask: Floats, under: Floats, color: Floats, grain: Floats
) -> Part | None:
    """Closed under-layer of hair over the scalp: no skin shows between the locks, nor sky through them.

    Args:
        lifted: (n, 3) where the layer lies in the thick of the hair; towards the border it comes down to the skin.
        mask: (n,) where hair grows, 0–1.
        under: (n, 3) colour of the skin, into which the border fades; grain: (n,) unit noise.
    """
    quads: Ints = surface.quads[(mask[surface.quads] > 0.12).all(axis=1)]
    if not len(quads):
        return None
    used, inverse = np.unique(quads, return_inverse=True)
    share = smoothstep(0.15, 0.95, mask[used])[:, None]
    outward = normals(points, surface.quads)[used]
    placed = points[used] + share * (lifted[used] - points[used]) + (0.012 * share - 0.006) * outward
    cover = smoothstep(0.15, 0.8, mask[used])[:, None]
    colors = under[used] + cover * (color * np.exp(0.1 * grain[used])[:, None] - under[used])
    return Part("hair", placed, inverse.reshape(-1, 4), np.clip(colors, 0.002, 0.9), np.ones(len(used)))
