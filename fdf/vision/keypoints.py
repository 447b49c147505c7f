"""The seven COCO keypoints of a face from bundled models: the face mesh for nose and eyes, MoveNet for ears and shoulders.

On labelled faces the mesh's eyes and nose are the most exact of all that the bundle offers, MoveNet's ears too
(docs/models.md). MoveNet looks at a crop three faces wide and at times takes a neighbour for the person: its eyes then lie
away from the mesh's, and it is asked again with a tighter crop. If that does not help, the ears come from the mesh, and
the shoulders get confidence 0. Shoulders it is not sure of are put where they usually are relative to the face: on renders
that is off by 17 % of the face's height in the median, MoveNet's own guess by 54 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Detections, Floats, Keypoints, Pixels, check_batch
from fdf.vision.facemesh import EARS, FaceMesh, five_points
from fdf.vision.movenet import TIGHT, MoveNet
from fdf.vision.zoo import Model

CLEAR: Final = 0.5
"""Presence of the mesh from which on its points are used."""

SEEN: Final = 0.3
"""Score of MoveNet from which on its shoulders are used; under it they lie where shoulders usually are."""

_APART: Final = 0.12  # MoveNet's eyes from the mesh's, over the box's longer side: about a quarter of the eye distance
_SHOULDERS: Final = np.array(
    [[0.81, 0.97], [-0.81, 0.97]]
)  # from the box's centre, over its longer side (renders' median)


class BundledKeypoints:
    """Keypointer of the default build.

    Confidence of nose and eyes is the mesh's presence; where it is under 0.5 the points are the detector's own, if it has any.
    Confidence of ears and shoulders is MoveNet's score; a shoulder under 0.3 is a guess from the box, not a finding.
    """

    id = "movenet-thunder+facemesh468"

    def __init__(self, *, threads: int = 1, cuda: bool = False) -> None:
        self._mesh = FaceMesh(threads=threads, cuda=cuda)
        self._body = MoveNet(threads=threads, cuda=cuda)
        self.models: tuple[Model, ...] = (*self._body.models, *self._mesh.models)

    def keypoints(self, pictures: Sequence[Pixels], detections: Sequence[Detections]) -> list[Keypoints]:
        """Keypoints, mesh and presence of each picture's faces, in the order of its detections."""
        check_batch(pictures, detections)
        meshes = self._mesh.meshes(pictures, detections)
        bodies = self._body.points(pictures, detections)
        faces = [_inner(mesh.points, mesh.presence, found) for mesh, found in zip(meshes, detections, strict=True)]
        again = [
            np.flatnonzero(_apart(body, face, found))
            for body, face, found in zip(bodies, faces, detections, strict=True)
        ]
        if any(len(rows) for rows in again):
            retried = self._body.points(pictures, [_pick(d, r) for d, r in zip(detections, again, strict=True)], TIGHT)
            for body, rows, tight in zip(bodies, again, retried, strict=True):
                body[rows] = tight
        return [
            Keypoints(_joined(body, face, mesh.points, mesh.presence, found), mesh.points, mesh.presence)
            for body, face, mesh, found in zip(bodies, faces, meshes, detections, strict=True)
        ]


def _inner(mesh: Floats, presence: Floats, found: Detections) -> Floats:
    """Nose, left eye, right eye (N, 3, 2)."""
    five = five_points(mesh)
    if found.landmarks5 is not None:
        five = np.where((presence >= CLEAR)[:, None, None], five, found.landmarks5)
    return np.ascontiguousarray(five[:, [2, 1, 0]])


def _apart(body: Floats, face: Floats, found: Detections) -> npt.NDArray[np.bool_]:
    """Where MoveNet's eyes are not this face's."""
    gap = np.linalg.norm(body[:, 1:3, :2] - face[:, 1:], axis=2).mean(axis=1)
    return np.asarray(gap > _APART * _side(found), dtype=np.bool_)


def _side(found: Detections) -> npt.NDArray[np.float32]:
    return np.asarray((found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1, initial=0), dtype=np.float32)


def _pick(found: Detections, rows: npt.NDArray[np.intp]) -> Detections:
    return Detections(found.boxes[rows], found.scores[rows])


def _joined(body: Floats, face: Floats, mesh: Floats, presence: Floats, found: Detections) -> Floats:
    points = body.copy()
    lost = _apart(body, face, found)
    points[:, :3, :2] = face
    points[:, :3, 2] = presence[:, None]
    points[lost, 3:5, :2] = mesh[lost][:, list(EARS), :2]
    points[lost, 3:5, 2] = 0.3 * presence[lost, None]
    points[lost, 5:, 2] = 0
    centre = found.boxes.reshape(-1, 2, 2).mean(axis=1)
    usual = (centre[:, None] + _SHOULDERS * _side(found)[:, None, None]).astype(np.float32)
    shoulders = points[:, 5:]
    shoulders[..., :2] = np.where(shoulders[..., 2:] < SEEN, usual, shoulders[..., :2])
    return points
