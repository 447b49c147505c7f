"""Small geometry: subdivision, normals, rotations, tubes, and random streams that depend on names and not on order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

_TINY: Final = 1e-9


def stream(seed: int, *names: object) -> np.random.Generator:
    """Random numbers for one purpose: the same for the same seed and names, whatever was drawn before or elsewhere."""
    text = "\0".join(str(name) for name in (seed, *names))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little"))


def smoothstep(low: float, high: float, value: Any) -> Any:
    """0 at `low`, 1 at `high`, smooth between; falls if `low` > `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(points: Floats, centre: Sequence[float], width: Sequence[float]) -> Floats:
    """Gaussian at each point (n, 3): 1 at `centre`, `width` its standard deviations by axis."""
    scaled = (points - np.asarray(centre)) / np.asarray(width)
    return np.asarray(np.exp(-0.5 * (scaled**2).sum(axis=-1)))


def unit(vectors: Floats) -> Floats:
    """Vectors (…, 3) of length one."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY))


def linear(srgb: Any) -> Floats:
    """sRGB 0–1 → linear light (IEC 61966-2-1)."""
    c = np.asarray(srgb, dtype=np.float64)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def srgb(light: Floats) -> Floats:
    """Linear light → sRGB (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-8) ** (1 / 2.4) - 0.055)


def axis_rotation(axis: int, degrees: float) -> Floats:
    """Right-handed rotation (3, 3) about x (0), y (1) or z (2)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    r = np.eye(3)
    r[i, i], r[i, j], r[j, i], r[j, j] = c, -s, s, c
    return r


def rotation_vector(r: Floats) -> Floats:
    """Axis times angle (radians) of a rotation; its angle must be under 180°."""
    angle = float(np.arccos(np.clip((np.trace(r) - 1) / 2, -1, 1)))
    axis = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    length = float(np.linalg.norm(axis))
    return np.zeros(3) if length < _TINY else axis / length * angle


def turn(points: Floats, vector: Floats, share: Floats) -> Floats:
    """Each point (n, 3) turned about the origin by its share (n,) of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < _TINY:
        return points
    axis = vector / angle
    a = (share * angle)[:, None]
    along = (points @ axis)[:, None]
    return np.asarray(points * np.cos(a) + np.cross(axis, points) * np.sin(a) + axis * along * (1 - np.cos(a)))


def triangles(quads: Ints) -> npt.NDArray[np.uint32]:
    """Two triangles of each quad."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.uint32)


def normals(points: Floats, quads: Ints) -> Floats:
    """Normal of each vertex (n, 3): mean of its quads', weighted by area."""
    across = np.cross(points[quads[:, 2]] - points[quads[:, 0]], points[quads[:, 3]] - points[quads[:, 1]])
    corners = quads.ravel()
    total = [np.bincount(corners, np.repeat(across[:, c], 4), len(points)) for c in range(3)]
    return unit(np.stack(total, axis=1))


def subdivide(quads: Ints, count: int) -> tuple[Any, npt.NDArray[np.int64]]:
    """One step of Catmull and Clark (1978): matrix (n', n) from old to new vertices, and the new quads (4 m, 4).

    Borders stay sharp: their edge points are midpoints, their vertices follow their neighbours along the border.
    """
    from scipy import sparse

    m = len(quads)
    edges = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    unique, inverse, uses = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    e = len(unique)
    rows, ones = np.repeat(np.arange(m), 4), np.ones(4 * m)
    face = sparse.coo_matrix((ones / 4, (rows, quads.ravel())), (m, count)).tocsr()
    middle = sparse.coo_matrix((np.full(2 * e, 0.5), (np.repeat(np.arange(e), 2), unique.ravel())), (e, count)).tocsr()
    beside = sparse.diags(1 / uses) @ sparse.coo_matrix((ones, (inverse, rows)), (e, m)).tocsr()
    inner = uses == 2
    edge = sparse.diags(np.where(inner, 0.5, 1.0)) @ middle + sparse.diags(np.where(inner, 0.5, 0.0)) @ beside @ face

    around = sparse.coo_matrix((ones, (quads.ravel(), rows)), (count, m)).tocsr()
    meets = sparse.coo_matrix((np.ones(2 * e), (unique.ravel(), np.repeat(np.arange(e), 2))), (count, e)).tocsr()
    faces_at = np.maximum(np.asarray(around.sum(axis=1)).ravel(), 1)
    edges_at = np.maximum(np.asarray(meets.sum(axis=1)).ravel(), 1)
    border = meets @ sparse.diags((~inner).astype(float))
    borders_at = np.asarray(border.sum(axis=1)).ravel()
    identity = sparse.identity(count, format="csr")
    inside = (
        sparse.diags(1 / edges_at / faces_at) @ around @ face
        + sparse.diags(2 / edges_at / edges_at) @ meets @ middle
        + sparse.diags((edges_at - 3) / edges_at) @ identity
    )
    along = 0.5 * sparse.diags(1 / np.maximum(borders_at, 1)) @ border @ middle + 0.5 * identity
    is_border = borders_at == 2
    is_inside = borders_at == 0
    vertex = (
        sparse.diags(is_inside.astype(float)) @ inside
        + sparse.diags(is_border.astype(float)) @ along
        + sparse.diags((~is_inside & ~is_border).astype(float)) @ identity
    )
    at_edge, at_face = inverse.reshape(m, 4) + count, np.arange(m) + count + e
    new = [np.stack([quads[:, k], at_edge[:, k], at_face, at_edge[:, (k - 1) % 4]], axis=1) for k in range(4)]
    matrix = sparse.vstack([vertex, edge, face]).tocsr()
    return matrix, np.stack(new, axis=1).reshape(-1, 4).astype(np.int64)


def tube(path: Floats, radius: float | Floats, sides: int = 6) -> tuple[Floats, npt.NDArray[np.int64]]:
    """A tube along a path (k, 3): its vertices (k · sides, 3) and quads. The ends are open."""
    k = len(path)
    along = unit(np.gradient(path, axis=0))
    helper = np.where(np.abs(along[:, 1:2]) < 0.9, np.array([[0.0, 1.0, 0.0]]), np.array([[1.0, 0.0, 0.0]]))
    first = unit(np.cross(along, helper))
    second = np.cross(along, first)
    angle = np.arange(sides) / sides * 2 * np.pi
    ring = first[:, None] * np.cos(angle)[:, None] + second[:, None] * np.sin(angle)[:, None]
    points = path[:, None] + ring * np.broadcast_to(np.asarray(radius, dtype=float), (k,))[:, None, None]
    return points.reshape(-1, 3), grid_quads(k, sides)


def grid_quads(rows: int, columns: int, *, closed: bool = True) -> npt.NDArray[np.int64]:
    """Quads of a grid of vertices in row order; `closed`: the last column meets the first."""
    i = (np.arange(rows - 1) * columns)[:, None]
    j = np.arange(columns if closed else columns - 1)[None]
    following = (j + 1) % columns
    return np.stack([i + j, i + columns + j, i + columns + following, i + following], axis=-1).reshape(-1, 4)


def lattice_noise(points: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Smooth value noise at points (n, 3), features of the size of `scale`; variance about 0.3."""
    side = 24
    values = rng.standard_normal((side, side, side))
    q = points / scale + rng.uniform(0, side, 3)
    cell = np.floor(q).astype(np.int64)
    f = q - cell
    f = f * f * (3 - 2 * f)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(np.array(corner) == 1, f, 1 - f).prod(axis=1)
        total += weight * values[tuple(((cell + corner) % side).T)]
    return total
