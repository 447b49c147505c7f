"""Who is it? The vector of a face, and whether it can be seen well enough to say.

A `Recognizer` is an embedder of the zoo behind one alignment: the face mesh through a detector's five points, or through the
box where there are none. Thresholds are fitted for exactly this (`fdf.anonymize.calibration`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from fdf.anonymize.base import Face
from fdf.vision.base import Detections, Embedder, Floats, Keypoints, Pixels, check_pictures
from fdf.vision.facemesh import FaceMesh, five_points
from fdf.vision.keypoints import CLEAR
from fdf.vision.pose import pose_from_mesh
from fdf.vision.quality import measure
from fdf.vision.zoo import load_embedder

_EDGE: Final = 2.0  # pixels: less of a box than this in the picture is no face
_SIDE: Final = 32  # pixels of a glimpse
_ALIKE: Final = 0.1
"""Root mean square by which two glimpses of one person may differ, in standard deviations of the first. The least between two
people was 0.53 in 31,782 pairs (240 rendered faces, 83 real ones), and 0.28 with all of them made equally bright and blurred
by a sixteenth of the face; a face that keeps still in a film differs by 0.01 from one frame to the next."""


@dataclass(frozen=True, eq=False)
class View:
    """What a recognizer sees of one face.

    Attributes:
        vector: float32 (dim,).
        size: longer side of the part of the box that lies in the picture, pixels.
        sharpness: variance of the Laplacian of the box at 64 × 64 (`fdf.vision.quality`).
        yaw: degrees, positive to the subject's own left.
        pitch: degrees, positive up.
        presence: how sure the mesh is that there is a clear face, 0–1.
    """

    vector: Floats
    size: float
    sharpness: float
    yaw: float
    pitch: float
    presence: float


class Recognizes(Protocol):
    """Anything that can tell faces apart."""

    @property
    def id(self) -> str:
        """Zoo id of the embedder."""

    @property
    def sha256(self) -> str:
        """SHA-256 of its weights: thresholds belong to them."""

    def views(self, picture: Pixels, faces: Sequence[Face]) -> list[View | None]:
        """One a face, in order; None where there is nothing to look at."""
        ...


class Recognizer:
    """An embedder of the zoo.

    Args:
        model_id: of an embedder in `fdf.vision.zoo`.
        path: weights of your own, for the embedders that need them.

    Raises:
        UsageError: no such embedder.
        ModelError: its weights are missing or altered.
    """

    def __init__(self, model_id: str = "dlib-resnet128", path: str | Path | None = None) -> None:
        self._embedder: Embedder = load_embedder(model_id, path=path)
        self._mesh = FaceMesh()
        self.id = self._embedder.id
        self.sha256 = self._embedder.models[0].sha256

    def views(self, picture: Pixels, faces: Sequence[Face]) -> list[View | None]:
        """One a face, in order; None for a face outside the picture, or of which less than two pixels lie in it."""
        check_pictures([picture])
        return [self._view(picture, face) for face in faces]

    def _view(self, picture: Pixels, face: Face) -> View | None:
        limit = np.array(picture.shape[1::-1] * 2, dtype=np.float32)
        box = np.clip(face.box, 0, limit).astype(np.float32)
        if (box[2:] - box[:2]).min() < _EDGE:
            return None
        five = None if face.landmarks5 is None else face.landmarks5[None]
        found = Detections(box[None], np.ones(1, dtype=np.float32), five)
        mesh = self._mesh.meshes([picture], [found])[0]
        seen = Detections(box[None], np.ones(1, dtype=np.float32), five_points(mesh.points))
        points = Keypoints(np.zeros((1, 7, 3), dtype=np.float32), mesh.points, mesh.presence)
        vector = np.asarray(self._embedder.embed([picture], [seen], [points])[0][0], dtype=np.float32)
        if not np.isfinite(vector).all() or not vector.any():
            return None
        pose = pose_from_mesh(mesh.points[0])
        presence = float(mesh.presence[0])
        sharp = measure(picture, box, None, None, presence).sharpness
        return View(vector, float((box[2:] - box[:2]).max()), sharp, pose.yaw, pose.pitch, presence)


@dataclass(frozen=True)
class Quality:
    """How well a face must be seen to be recognized.

    Attributes:
        min_size: pixels of the box's longer side.
        min_sharpness: see `View`.
        max_yaw: degrees to either side.
        max_pitch: degrees up or down.
    """

    min_size: float = 48.0
    min_sharpness: float = 60.0
    max_yaw: float = 40.0
    max_pitch: float = 30.0

    def complaint(self, view: View | None) -> str:
        """Why a face can't be recognized, empty if it can."""
        if view is None:
            return "nothing of it can be seen"
        if not view.presence >= CLEAR:
            return f"no clear face (presence {view.presence:.2f})"
        if not view.size >= self.min_size:
            return f"too small ({view.size:.0f} px)"
        if not view.sharpness >= self.min_sharpness:
            return f"not sharp ({view.sharpness:.0f})"
        if not abs(view.yaw) <= self.max_yaw:
            return f"turned away (yaw {view.yaw:.0f}°)"
        if not abs(view.pitch) <= self.max_pitch:
            return f"turned away (pitch {view.pitch:.0f}°)"
        return ""


def glimpse(picture: Pixels, face: Face) -> Floats | None:
    """What is in a face's box, small and grey: float32 (32, 32). None where less than two pixels of it lie in the picture."""
    import cv2

    limit = np.array(picture.shape[1::-1] * 2)
    x0, y0, x1, y1 = (int(v) for v in np.clip(np.rint(face.box), 0, limit))
    if min(x1 - x0, y1 - y0) < _EDGE:
        return None
    grey = cv2.cvtColor(np.ascontiguousarray(picture[y0:y1, x0:x1]), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), dtype=np.float32)


def alike(before: Floats | None, after: Floats | None) -> bool:
    """Whether two glimpses differ so little that they can't be of two people: whoever was recognized in one is in the other."""
    if before is None or after is None:
        return False
    return float(np.sqrt(np.mean((after - before) ** 2))) <= _ALIKE * float(before.std())


def distance(a: Floats, b: Floats) -> float:
    """Euclidean, between two vectors of one embedder; of unit vectors it orders pairs as the cosine does."""
    return float(np.linalg.norm(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)))


def different_pairs(people: Sequence[Sequence[Floats]]) -> list[float]:
    """Distances between all vectors of different people: what a threshold is fitted on."""
    return [distance(a, b) for one, other in itertools.combinations(people, 2) for a in one for b in other]
