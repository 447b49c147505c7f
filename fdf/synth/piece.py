"""What a person is made of once they stand before the camera: triangle meshes with colours, each of one material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fdf.synth.geometry import Floats, Ints, triangles, unit

Material = Literal["skin", "eye", "hair", "cloth", "matte", "gloss", "teeth"]


@dataclass(frozen=True, eq=False)
class Piece:
    """One mesh in the frame of the scene.

    Attributes:
        points: (n, 3) decimetres.
        faces: (m, 3) vertex indices.
        colors: (n, 3) linear reflectance, 0–1.
        normals: (n, 3), or None for flat shading.
        roughness: (n,) for `skin`, else None: the material's own.
    """

    material: Material
    points: Floats
    faces: npt.NDArray[np.uint32]
    colors: Floats
    normals: Floats | None = None
    roughness: Floats | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh in the person's rest frame, before posing; `share` (n,) says how far each vertex follows the head."""

    material: Material
    points: Floats
    quads: Ints
    colors: Floats
    share: Floats
    roughness: Floats | None = None


@dataclass(frozen=True, eq=False)
class Strands:
    """Hairs in the person's rest frame.

    Attributes:
        paths: (n, k, 3), root first.
        radius: (n, k).
        colors: (n, 3) linear reflectance of each hair.
        follow: whether the whole hair follows the head (brows, beard) or hangs with gravity over the shoulders.
    """

    paths: Floats
    radius: Floats
    colors: Floats
    follow: bool = True


def one_color(color: Floats | tuple[float, float, float], count: int) -> Floats:
    """The same colour `count` times."""
    return np.repeat(np.asarray(color, dtype=np.float64)[None], count, axis=0)


def ribbons(paths: Floats, radius: Floats, colors: Floats, centre: Floats) -> Piece:
    """Hairs as flat bands that face the camera at the origin: two triangles a segment, shaded as if they were round.

    Args:
        paths: (n, k, 3) in the frame of the scene.
        radius: (n, k) half widths.
        colors: (n, 3).
        centre: middle of the head: the shading normal leans away from it, as that of a mass of hair does.
    """
    n, k = paths.shape[:2]
    along = unit(np.gradient(paths, axis=1))
    view = unit(-paths)
    side = unit(np.cross(along, view)) * radius[..., None]
    points = np.stack([paths - side, paths + side], axis=2)
    outward = unit(unit(paths - centre) + 0.7 * view)
    shading = unit(outward - (outward * along).sum(axis=-1, keepdims=True) * along + 1e-6 * view)
    across = unit(side)
    normals = np.stack([unit(shading - 0.45 * across), unit(shading + 0.45 * across)], axis=2)
    start = (np.arange(n)[:, None] * k + np.arange(k - 1)).reshape(-1) * 2
    quads = np.stack([start, start + 1, start + 3, start + 2], axis=1)
    tint = colors[:, None, None] * np.linspace(0.8, 1.1, k)[None, :, None, None] * np.ones((1, 1, 2, 1))
    return Piece(
        "hair",
        points.reshape(-1, 3),
        triangles(quads),
        np.clip(tint.reshape(-1, 3), 0.002, 0.9),
        normals.reshape(-1, 3),
    )
