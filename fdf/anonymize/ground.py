"""What lies under donors' faces: the picture, with what must not be seen continued from its surroundings.

Of a `head` region nothing is left, soft edges included. Of a `face` region the face goes, forehead to chin as the mesh
outlines it and a margin round it; hair, ears and neck are its surroundings. Nothing that goes is ever looked at, nor anything
under the region of a face that the method leaves to another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Job
from fdf.anonymize.donor_mesh import Mesh, span
from fdf.anonymize.membrane import fill
from fdf.anonymize.methods import GREY
from fdf.vision.base import Pixels

GROWTH: Final = 0.08
"""How far the outline of a mesh is moved outwards, over the distance of the eyes' outer corners: meshes are off by less."""

_AROUND: Final = 0.12  # of the box's longer side: how far outside of a region is looked for its surroundings
_LEAST_AROUND: Final = 0.04  # share of the looked-at square that must be known


def cleared(picture: Pixels, jobs: Sequence[Job], meshes: Sequence[Mesh | None]) -> Pixels:
    """The picture without anybody's face, uint8 (H, W, 3), a new array; pixels outside of all regions stay.

    Args:
        picture: the original.
        jobs: all of those that are hidden in it.
        meshes: (468, 3) of each in the picture, or None: its whole region goes.
    """
    height, width = picture.shape[:2]
    unseen = [unseen_of(job, mesh) for job, mesh in zip(jobs, meshes, strict=True)]
    known = np.ones((height, width), dtype=np.bool_)
    for job, mask in zip(jobs, unseen, strict=True):
        known[job.region.slices][mask] = False
    out = np.array(picture)
    for job in jobs:
        x0, y0, x1, y1 = job.region.window
        margin = max(2, round(_AROUND * job.face.size))
        rows = slice(max(0, y0 - margin), min(height, y1 + margin))
        columns = slice(max(0, x0 - margin), min(width, x1 + margin))
        there = known[rows, columns]
        hidden = ~there[..., None]
        if there.mean() < _LEAST_AROUND:
            np.copyto(out[rows, columns], np.asarray(GREY, dtype=np.uint8), where=hidden)
        else:
            filled = fill(picture[rows, columns].astype(np.float32), there)
            np.copyto(out[rows, columns], np.rint(filled).astype(np.uint8), where=hidden)
    return out


def unseen_of(job: Job, mesh: Mesh | None) -> npt.NDArray[np.bool_]:
    """Which pixels of a job's window go, bool like its alpha."""
    import cv2

    region = job.region
    touched = region.alpha > 0
    if mesh is None or region.kind == "head":
        return touched
    hull = cv2.convexHull(np.asarray(mesh[:, :2] - region.window[:2], dtype=np.float32))[:, 0]
    face = np.zeros(touched.shape, dtype=np.uint8)
    cv2.fillConvexPoly(face, np.rint((hull - 0.5) * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    reach = max(1, round(GROWTH * span(mesh)))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(touched & (cv2.dilate(face, disk) > 0))
