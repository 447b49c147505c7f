"""Tracing meshes to light: Mitsuba 3 (Jakob et al. 2022), scalar variant, one thread, everything handed over in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from fdf.synth.geometry import Floats
from fdf.synth.head import require_renderer
from fdf.synth.light import Light
from fdf.synth.piece import Material, Piece

_MATERIALS: Final[dict[Material, dict[str, Any]]] = {
    "skin": {
        "type": "principled",
        "roughness": {"type": "mesh_attribute", "name": "vertex_roughness"},
        "specular": 0.25,
    },
    "eye": {"type": "principled", "roughness": 0.35, "specular": 0.5, "clearcoat": 0.5, "clearcoat_gloss": 0.97},
    "hair": {"type": "principled", "roughness": 0.42, "specular": 0.12},
    "cloth": {"type": "diffuse"},
    "matte": {"type": "principled", "roughness": 0.7, "specular": 0.2},
    "gloss": {"type": "principled", "roughness": 0.2, "specular": 0.6},
    "teeth": {"type": "principled", "roughness": 0.25, "specular": 0.5},
}
_GRID: Final = 3
"""Points a pixel, along each side, at which surfaces are looked up."""
_NEAR, _FAR = 0.5, 10_000.0
_DEPTH: Final = 4
"""Bounces: light from the environment, once and twice over skin and clothes."""


@dataclass(frozen=True, eq=False)
class Lens:
    """Camera at the origin looking along −z; `focal` in pixels."""

    width: int
    height: int
    focal: float

    def project(self, points: Floats) -> Floats:
        """Points (n, 3) of the scene → pixels (n, 2), origin at the top left corner of the picture."""
        depth = np.maximum(-points[:, 2], 1e-6)
        x = self.width / 2 + self.focal * points[:, 0] / depth
        y = self.height / 2 - self.focal * points[:, 1] / depth
        return np.stack([x, y], axis=1)


@dataclass(frozen=True, eq=False)
class Layers:
    """What the tracer gives, each (height, width, …), linear.

    Attributes:
        color: radiance of people, black where there are none.
        alpha: 0–1, how much of the pixel they cover.
        albedo: reflectance.
        skin: 0–1, how much of the pixel is skin.
    """

    color: Floats
    alpha: Floats
    albedo: Floats
    skin: Floats


@cache
def _mitsuba() -> Any:
    """Mitsuba, set to its scalar variant and to one thread: the same bytes on any number of workers."""
    require_renderer()
    import drjit
    import mitsuba

    mitsuba.set_variant("scalar_rgb")
    drjit.set_thread_count(1)
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    return mitsuba


class Tracer:
    """One scene, ready to be traced.

    Args:
        pieces: all meshes of all people.
        light: the environment.
        lens: the camera.
    """

    def __init__(self, pieces: Sequence[Piece], light: Light, lens: Lens) -> None:
        mi = _mitsuba()
        self._mi, self._lens, self._pieces = mi, lens, pieces
        bsdfs = {name: mi.load_dict(_bsdf(name)) for name in {piece.material for piece in pieces}}
        shapes = {f"m{k:04d}": _mesh(mi, f"m{k:04d}", piece, bsdfs[piece.material]) for k, piece in enumerate(pieces)}
        film = {
            "type": "hdrfilm",
            "width": lens.width,
            "height": lens.height,
            "pixel_format": "rgba",
            "rfilter": {"type": "box"},
        }
        view = mi.ScalarTransform4f().look_at(origin=[0, 0, 0], target=[0, 0, -1], up=[0, 1, 0])
        path = {"type": "path", "max_depth": _DEPTH, "rr_depth": 3, "hide_emitters": True}
        fov = 2 * np.degrees(np.arctan(lens.height / 2 / lens.focal))
        self._scene = mi.load_dict(
            {
                "type": "scene",
                **shapes,
                "light": {"type": "envmap", "bitmap": mi.Bitmap(light.environment)},
                "integrator": path,
                "sensor": {
                    "type": "perspective", "fov": float(fov), "fov_axis": "y", "to_world": view, "film": film,
                    "near_clip": _NEAR, "far_clip": _FAR, "sampler": {"type": "multijitter"},
                },
            }
        )  # fmt: skip

    def trace(self, samples: int, seed: int) -> Layers:
        """Trace `samples` paths a pixel."""
        image = self._mi.render(self._scene, spp=samples, seed=seed & 0x7FFFFFFF)
        light = np.nan_to_num(np.array(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        albedo, skin = _surfaces(self._pieces, self._lens)
        return Layers(light[..., :3], np.clip(light[..., 3], 0, 1), albedo, skin)

    def visible(self, points: Floats, margin: float) -> Any:
        """Which points (n, 3) the camera sees: nothing lies more than `margin` decimetres before them. bool (n,)."""
        mi = self._mi
        found = np.zeros(len(points), dtype=bool)
        for row, point in enumerate(points):
            distance = float(np.linalg.norm(point))
            direction = (point / distance).tolist()
            ray = mi.Ray3f(o=[0, 0, 0], d=direction, maxt=max(distance - margin, 0.1), time=0.0, wavelengths=[])
            found[row] = not self._scene.ray_test(ray)
        return found


def _surfaces(pieces: Sequence[Piece], lens: Lens) -> tuple[Floats, Floats]:
    """Reflectance (height, width, 3) and share of skin (height, width), by rasterizing.

    Mitsuba's own integrator for them takes ten times as long, and its random points in the pixel make them noisy.
    """
    import cv2

    starts = np.cumsum([0] + [len(piece.points) for piece in pieces[:-1]])
    points = np.concatenate([piece.points for piece in pieces]).astype(np.float32)
    faces = np.concatenate([piece.faces + start for piece, start in zip(pieces, starts, strict=True)]).astype(np.int32)
    colors = np.clip(np.concatenate([piece.colors for piece in pieces]), 0, 1).astype(np.float32)
    # Three channels carry four: no triangle is skin at one corner only, so blue's upper half can say that it is skin.
    is_skin = np.repeat([piece.material == "skin" for piece in pieces], [len(piece.points) for piece in pieces])
    colors[:, 2] = 0.49 * colors[:, 2] + 0.51 * is_skin
    shape = lens.height * _GRID, lens.width * _GRID
    found, depth = np.zeros((*shape, 3), np.float32), np.full(shape, _FAR, np.float32)
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    fov = float(2 * np.arctan(lens.height / 2 / lens.focal))
    cv2.triangleRasterize(points, faces, colors, found, depth, np.eye(4, dtype=np.float32), fov, _NEAR, _FAR, settings)
    skin = found[..., 2] > 0.5
    found[..., 2] = (found[..., 2] - 0.51 * skin) / 0.49
    cells = (lens.height, _GRID, lens.width, _GRID)
    albedo = np.clip(found, 0, 1).reshape(*cells, 3).mean(axis=(1, 3), dtype=np.float64)
    return np.asarray(albedo), np.asarray(skin.reshape(cells).mean(axis=(1, 3)))


def _bsdf(material: Material) -> dict[str, Any]:
    color = {"type": "mesh_attribute", "name": "vertex_color"}
    slot = "reflectance" if _MATERIALS[material]["type"] == "diffuse" else "base_color"
    return {"type": "twosided", "front": {**_MATERIALS[material], slot: color}}


def _mesh(mi: Any, name: str, piece: Piece, bsdf: Any) -> Any:
    """A Mitsuba mesh."""
    properties = mi.Properties()
    properties["mesh_bsdf"] = bsdf
    n = len(piece.points)
    mesh = mi.Mesh(name, n, len(piece.faces), properties, has_vertex_normals=piece.normals is not None)
    mesh.add_attribute("vertex_color", 3, np.ascontiguousarray(piece.colors, dtype=np.float32).ravel())
    if piece.roughness is not None:
        mesh.add_attribute("vertex_roughness", 1, np.ascontiguousarray(piece.roughness, dtype=np.float32))
    values = mi.traverse(mesh)
    values["vertex_positions"] = np.ascontiguousarray(piece.points, dtype=np.float32).ravel()
    values["faces"] = np.ascontiguousarray(piece.faces, dtype=np.uint32).ravel()
    if piece.normals is not None:
        values["vertex_normals"] = np.ascontiguousarray(piece.normals, dtype=np.float32).ravel()
    values.update()
    return mesh
