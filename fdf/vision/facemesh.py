"""MediaPipe's face mesh: 468 points in three dimensions, and how sure it is that there is a clear face.

The crop is an upright square laid through the detector's five points, so that it does not depend on what a detector calls a
box, nor on a box being cut by the picture's border. Where there are no points (dlib's HOG without a shape predictor) the
network runs twice: first on the box, then on the square through the points it found.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Detections, Floats, Pixels, check_batch
from fdf.vision.sessions import run_rows, session
from fdf.vision.warp import Square, sample
from fdf.vision.zoo import Model, model, path_of

RIGHT_EYE: Final = (33, 133)
"""Outer and inner corner of the subject's right eye, the one on the picture's left."""
LEFT_EYE: Final = (263, 362)
"""Outer and inner corner of the subject's left eye."""
NOSE_TIP: Final = 4
"""The most forward point of the nose; of the candidates 1, 4 and 5 the nearest to labelled nose tips."""
MOUTH: Final = (61, 291)
"""Mouth corners, the picture's left one first."""
EARS: Final = (454, 234)
"""Where the face's outline meets the subject's left and right ear."""

_SIZE: Final = 192
_CHUNK: Final = 16
_SIDE: Final = 3.4  # side of the crop over max(eye distance, eyes-to-mouth distance): 1.25 × a CenterFace box
_BOX_SIDE: Final = 1.5  # first crop where there are no points, over the box's longer side

Job = tuple[int, Square]


@dataclass(frozen=True, eq=False)
class Meshes:
    """Meshes of one picture's faces: `points` float32 (N, 468, 3) in pixels, `presence` float32 (N,) 0–1."""

    points: Floats
    presence: Floats


class FaceMesh:
    """468 points and presence of every face."""

    id = "facemesh468"

    def __init__(self, *, threads: int = 1, cuda: bool = False) -> None:
        row = model("facemesh468")
        self.models: tuple[Model, ...] = (row,)
        self._network = session(path_of(row), threads=threads, cuda=cuda)

    def meshes(self, pictures: Sequence[Pixels], detections: Sequence[Detections]) -> list[Meshes]:
        """The meshes of each picture's faces, in the order of its detections."""
        check_batch(pictures, detections)
        jobs: list[Job] = []
        for index, faces in enumerate(detections):
            if faces.landmarks5 is not None:
                jobs += [(index, through(five)) for five in faces.landmarks5]
                continue
            first = [(index, _around(box)) for box in faces.boxes]
            jobs += [(index, through(five)) for five in five_points(self._run(pictures, first).points)]
        found = self._run(pictures, jobs)
        ends = np.cumsum([0, *(len(faces) for faces in detections)])
        parts = itertools.pairwise(ends)
        return [Meshes(found.points[a:b], found.presence[a:b]) for a, b in parts]

    def _run(self, pictures: Sequence[Pixels], jobs: Sequence[Job]) -> Meshes:
        points, presence = np.zeros((len(jobs), 468, 3), np.float32), np.zeros(len(jobs), np.float32)
        for at in range(0, len(jobs), _CHUNK):
            chunk = jobs[at : at + _CHUNK]
            crops = np.stack([sample(pictures[index], square, _SIZE) for index, square in chunk]).astype(np.float32)
            found, logits = run_rows(self._network, crops / np.float32(255))
            for row, (_, square) in enumerate(chunk):
                mesh = found[row].reshape(468, 3)
                points[at + row, :, :2] = square.to_picture(mesh, _SIZE)
                points[at + row, :, 2] = mesh[:, 2] * (square.side / _SIZE)
                presence[at + row] = 1 / (1 + np.exp(-np.clip(float(logits[row].ravel()[0]), -80, 80)))
        return Meshes(points, presence)


def five_points(mesh: Floats) -> Floats:
    """Eyes, nose tip and mouth corners in the order of `fdf.vocabulary.LANDMARK_NAMES`: (N, 468, 3) → float32 (N, 5, 2)."""
    xy = mesh[..., :2]
    eyes = [xy[:, list(RIGHT_EYE)].mean(axis=1), xy[:, list(LEFT_EYE)].mean(axis=1)]
    return np.stack([*eyes, xy[:, NOSE_TIP], xy[:, MOUTH[0]], xy[:, MOUTH[1]]], axis=1).astype(np.float32)


def through(five: npt.NDArray[np.floating]) -> Square:
    """The crop for five points (5, 2): centred between eyes and mouth, eyes level."""
    eyes, mouth = five[:2].mean(axis=0), five[3:].mean(axis=0)
    across = five[1] - five[0]
    centre = (eyes + mouth) / 2
    side = _SIDE * max(float(np.hypot(*across)), float(np.hypot(*(mouth - eyes))), 1.0)
    return Square(float(centre[0]), float(centre[1]), side, float(np.arctan2(across[1], across[0])))


def _around(box: Floats) -> Square:
    x0, y0, x1, y1 = (float(value) for value in box)
    return Square((x0 + x1) / 2, (y0 + y1) / 2, _BOX_SIDE * max(x1 - x0, y1 - y0))
