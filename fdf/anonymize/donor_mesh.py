"""The face mesh as a shape: its triangles, who somebody is in it and what the face does, and how a photo is warped by it.

`donor_shape.npz` holds the mean of MediaPipe's 468 points over renders of people who do not exist, an orthonormal basis of
how points move with expressions, and the main ways in which people differ; `manifests/make_donors.py` makes it. A mesh is
brought to the mean's frame by a similarity through points that hardly move with expressions. There, a donor keeps their shape
and takes over the coordinates of the target's expression alone. Triangles are our own: Delaunay's of the mean seen from the
front with an open mouth, so that the inside of lips has some.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.errors import DataError
from fdf.vision.base import Floats, Pixels

SHAPE: Final = Path(__file__).resolve().parent / "donor_shape.npz"
SHAPE_SHA256: Final = "484cc9900f5058e3970f7bc0027ddbbb47d283c7ed1f5b27fb3605e8f5733bbd"
POINTS: Final = 468

# Outer to inner: points of forehead, temples, nose and cheekbones, which expressions hardly move.
STABLE: Final = (
    10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 33, 133, 263, 362, 127, 356, 234, 454, 116, 345, 123, 352, 98, 327, 64, 294,
    129, 358, 67, 297, 54, 284, 103, 332, 109, 338,
)  # fmt: skip
LIPS: Final = (13, 14)
"""Middle of the upper and the lower lip's inner edge."""
FOREHEAD, CHIN = 10, 152
"""The outline's highest and lowest point."""
EYES: Final = (33, 263)
"""Outer corners of the eyes, the picture's left one first."""

Array = npt.NDArray[np.float64]
Mesh = npt.NDArray[np.floating]
_DRAWN, _MOST_DRAWN = 1.5, 2.5  # of a seeded shape, standard deviations between people
_FEATHER: Final = 0.11  # over the distance of the eyes' outer corners
_SIDE, _CROWN = 0.05, 0.24  # how far donors are drawn beyond the mesh


@dataclass(frozen=True, eq=False)
class Shape:
    """What is known of the mesh in general.

    Attributes:
        mean: (468, 3), x right, y down, z away, unit the distance of the eyes' outer corners.
        expressions: (k, 468, 3), orthonormal as rows.
        people: (m, 468, 3), each one standard deviation long.
        triangles: int (t, 3), clockwise as they are seen from the front.
        mirror: (468,) index of each point's mirror image.
        skin: (468,) bool: no eyes, brows, lips, nostrils.
        rim: (r,) points of the outline, clockwise.
        reach: (r, 2) how far beyond each of them a donor is drawn: away from their middle, over the distance from it; and
            towards the crown, over the height from chin to forehead.
    """

    mean: Array
    expressions: Array
    people: Array
    triangles: npt.NDArray[np.int64]
    mirror: npt.NDArray[np.int64]
    skin: npt.NDArray[np.bool_]
    rim: npt.NDArray[np.int64]
    reach: Array

    @property
    def cover(self) -> npt.NDArray[np.int64]:
        """Triangles of an `extended` mesh: those of the face and two for each edge of the rim."""
        near, far = self.rim, POINTS + np.arange(len(self.rim))
        ahead, beyond = np.roll(near, -1), np.roll(far, -1)
        strip = [np.stack([near, far, beyond], axis=1), np.stack([near, beyond, ahead], axis=1)]
        return np.concatenate([self.triangles, *strip])


@cache
def load_shape() -> Shape:
    """The bundled shape, once a process.

    Raises:
        DataError: the file is missing or altered.
    """
    try:
        packed = SHAPE.read_bytes()
    except OSError as error:
        raise DataError(f"{SHAPE} can't be read ({error})", action="Install fdf again") from error
    found = hashlib.sha256(packed).hexdigest()
    if found != SHAPE_SHA256:
        raise DataError(f"{SHAPE} is not the file that fdf ships", expected=f"SHA-256 {SHAPE_SHA256}", got=found)
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        mean, mirror = arrays["mean"].astype(np.float64), arrays["mirror"].astype(np.int64)
        moves, people = arrays["expressions"].astype(np.float64), arrays["people"].astype(np.float64)
        triangles = arrays["triangles"].astype(np.int64)
    flat = np.linalg.qr(moves.reshape(len(moves), -1).T)[0].T  # rounding to 16 bits left it nearly orthonormal
    rim, reach = _rim(mean)
    return Shape(mean, flat.reshape(moves.shape), people, triangles, mirror, skin_points(mean), rim, reach)


def _rim(mean: Array) -> tuple[npt.NDArray[np.int64], Array]:
    import cv2

    flat = mean[:, :2].astype(np.float32)
    rim = np.asarray(cv2.convexHull(flat, clockwise=False, returnPoints=False)).ravel().astype(np.int64)
    if _turning(flat[rim].astype(np.float64)) < 0:
        rim = rim[::-1].copy()
    away = flat[rim] - flat[rim].mean(axis=0)
    crown = np.clip(-away[:, 1] / np.linalg.norm(away, axis=1), 0, 1) ** 1.3
    reach = np.stack([np.full(len(rim), _SIDE), _CROWN * crown], axis=1)
    return rim, np.asarray(reach, dtype=np.float64)


def _turning(ring: Array) -> float:
    """Twice the area of a polygon (r, 2): positive if it is clockwise on the screen."""
    ahead = np.roll(ring, -1, axis=0)
    return float((ring[:, 0] * ahead[:, 1] - ahead[:, 0] * ring[:, 1]).sum())


def span(mesh: Mesh) -> float:
    """Distance of the eyes' outer corners."""
    return float(np.linalg.norm(mesh[EYES[0]] - mesh[EYES[1]]))


def extended(mesh: Array, reach: float = 1.0) -> Array:
    """A mesh (468, 3) and, behind its points, those of its rim moved outwards: bald heads have more to give than the mesh.

    Args:
        mesh: of a face.
        reach: share of `Shape.reach`; 1 is most of the forehead.
    """
    shape = load_shape()
    rim = mesh[shape.rim]
    out, up = reach * shape.reach[:, :1], reach * shape.reach[:, 1:]
    return np.concatenate([mesh, rim + out * (rim - rim.mean(axis=0)) + up * (mesh[FOREHEAD] - mesh[CHIN])])


def skin_points(mean: Array) -> npt.NDArray[np.bool_]:
    """Which points of the mean lie on bare skin (N,), by ellipses round eyes with brows, mouth and nostrils."""
    x, y = np.abs(mean[:, 0]), mean[:, 1]
    eyes, mouth = mean[list(EYES), 1].mean(), mean[list(LIPS), 1].mean()
    nose = mean[2, 1]  # the nose's lower end
    spared = ((x - 0.36) / 0.30) ** 2 + ((y - eyes + 0.10) / 0.24) ** 2 < 1
    spared |= (x / 0.42) ** 2 + ((y - mouth) / 0.24) ** 2 < 1
    spared |= (x / 0.17) ** 2 + ((y - nose) / 0.08) ** 2 < 1
    return np.asarray(~spared)


@dataclass(frozen=True, eq=False)
class Similarity:
    """A scale, a rotation (3, 3) and a shift (3,): x → scale · rotation x + shift."""

    scale: float
    rotation: Array
    shift: Array

    def __call__(self, points: Array) -> Array:
        """Moved points (N, 3)."""
        return np.asarray(self.scale * points @ self.rotation.T + self.shift)

    def back(self, points: Array) -> Array:
        """The inverse of points (N, 3)."""
        return np.asarray((points - self.shift) @ self.rotation / self.scale)


def to_mean(mesh: Mesh) -> Similarity:
    """The similarity that brings a mesh (468, 3) nearest to the mean (Umeyama 1991, over `STABLE`)."""
    rows = list(STABLE)
    goal, found = load_shape().mean[rows], np.asarray(mesh, dtype=np.float64)[rows]
    a, b = goal - goal.mean(axis=0), found - found.mean(axis=0)
    u, s, vt = np.linalg.svd(a.T @ b)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float((s * np.diag(sign)).sum() / max((b**2).sum(), 1e-9))
    return Similarity(scale, rotation, goal.mean(axis=0) - scale * rotation @ found.mean(axis=0))


def mirrored(mesh: Mesh, width: float) -> Array:
    """The mesh (468, 3) of the mirrored picture, `width` pixels wide."""
    turned = np.asarray(mesh, dtype=np.float64)[load_shape().mirror].copy()
    turned[:, 0] = width - turned[:, 0]
    return turned


def openness(mesh: Mesh) -> float:
    """Gap between the lips over the distance of the eyes' outer corners, both in space."""
    return float(np.linalg.norm(mesh[LIPS[0]] - mesh[LIPS[1]])) / max(span(mesh), 1e-6)


def recast(target: Mesh, donor: Mesh, mix: float, rng: np.random.Generator) -> Array:
    """The mesh that a donor has in a target's place, (468, 3) in the target's picture.

    Args:
        target: (468, 3).
        donor: (468, 3), of a similar pose, so that what the mesh gets wrong at this pose is the same in both.
        mix: 1 leaves nothing of the target's shape but its expression; less leaves that share, more exaggerates.
        rng: draws a shape of its own on top of the donor's, so that donors can't be told by theirs either.
    """
    shape = load_shape()
    place = to_mean(target)
    goal, own = place(np.asarray(target, dtype=np.float64)), to_mean(donor)(np.asarray(donor, dtype=np.float64))
    drawn = np.clip(rng.normal(0, _DRAWN, len(shape.people)), -_MOST_DRAWN, _MOST_DRAWN)
    own = own + np.tensordot(drawn, shape.people, axes=1)
    apart = goal - own
    moves = shape.expressions.reshape(len(shape.expressions), -1)
    expression = (moves.T @ (moves @ apart.ravel())).reshape(POINTS, 3)
    return place.back(own + expression + (1 - mix) * (apart - expression))


def normals(mesh: Array) -> Array:
    """Unit normals (468, 3) of a mesh in a picture's axes; towards the camera z < 0."""
    a, b, c = (mesh[load_shape().triangles[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    total = np.zeros_like(mesh)
    for k in range(3):
        np.add.at(total, load_shape().triangles[:, k], across)
    # Clockwise on the screen, y down: the cross product points away from the camera.
    return np.asarray(-total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9))


@dataclass(frozen=True, eq=False)
class Warped:
    """A warped photo: `colors` float32 (h, w, 3) linear light, `alpha` float32 (h, w), 0 where there is no face."""

    colors: Floats
    alpha: Floats


def warp(
    linear: Floats, donor: Array, target: Array, factors: Array, size: tuple[int, int], reach: float = 1.0
) -> Warped:
    """Draw a photo's triangles where a target's are.

    Args:
        linear: the donor's photo, float32 (H, W, 3), linear light.
        donor: (468, 3) mesh in it.
        target: (468, 3) mesh in the window.
        factors: (468, 3) on the light at each point.
        size: height and width of the window.
        reach: of both meshes, see `extended`.
    """
    import cv2

    shape = load_shape()
    goal, own, light_at = extended(target, reach), extended(donor, reach), np.concatenate([factors, factors[shape.rim]])
    labels = _labels(goal, size)
    seen = labels >= 0
    rows, columns = np.nonzero(seen)
    corners = shape.cover[labels[rows, columns]]
    share = _barycentric(goal[:, :2], corners, np.stack([columns + 0.5, rows + 0.5], axis=1))
    source = np.einsum("nk,nkc->nc", share, own[corners, :2]) - 0.5
    light = np.einsum("nk,nkc->nc", share, light_at[corners])
    maps = np.zeros((*size, 2), dtype=np.float32)
    maps[rows, columns] = source
    colors = np.asarray(
        cv2.remap(linear, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )
    colors[rows, columns] *= light
    colors[~seen] = 0
    width = max(1.5, _FEATHER * span(goal[:, :2]))
    padded = cv2.copyMakeBorder(seen.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5))[1:-1, 1:-1]
    t = np.clip(depth / width, 0, 1)
    return Warped(colors.astype(np.float32), (t * t * (3 - 2 * t)).astype(np.float32))


def _labels(mesh: Array, size: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Which triangle each pixel shows, int32 (h, w), −1 for none; the nearest one where they overlap."""
    import cv2

    labels = np.full(size, -1, dtype=np.int32)
    corners = mesh[load_shape().cover]
    first, second = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    front = np.flatnonzero(area > 0)
    fixed = np.rint((corners[:, :, :2] - 0.5) * 16).astype(np.int32)
    for row in front[np.argsort(-corners[front, :, 2].mean(axis=1), kind="stable")]:
        cv2.fillConvexPoly(labels, fixed[row], int(row), cv2.LINE_8, 4)
    return labels


def _barycentric(points: Array, corners: npt.NDArray[np.int64], at: Array) -> Array:
    """Weights (n, 3) of each pixel in its triangle, a little beyond its edges at most."""
    a, b, c = (points[corners[:, k]] for k in range(3))
    u, v, w = b - a, c - a, at - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    area = np.where(np.abs(area) < 1e-6, 1e-6, area)
    second = (w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0]) / area
    third = (u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]) / area
    share = np.stack([1 - second - third, second, third], axis=1)
    inside = np.clip(share, 0, 1)
    inside = inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-9)
    far = np.any(
        np.abs(share - 0.5) > 1, axis=1, keepdims=True
    )  # of a sliver: half a pixel beyond it is many of its widths
    return np.where(far, inside, share)


def shrunk(pixels: Pixels, mesh: Array, factor: float) -> tuple[Pixels, Array]:
    """A photo averaged down by a factor over 1, with its mesh: a warp that skips pixels would flicker."""
    import cv2

    if factor <= 1:
        return pixels, mesh
    height, width = pixels.shape[:2]
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    scaled = mesh.copy()
    scaled[:, 0] *= size[0] / width
    scaled[:, 1] *= size[1] / height
    scaled[:, 2] *= size[0] / width
    return small, scaled
