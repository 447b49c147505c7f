"""What a person is made of once they stand before the camera: triangle meshes with colours, each of one material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fdf.synth.geometry import Floats, Ints

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


def one_color(color: Floats | tuple[float, float, float], count: int) -> Floats:
    """The same colour `count` times."""
    return np.repeat(np.asarray(color, dtype=np.float64)[None], count, axis=0)
