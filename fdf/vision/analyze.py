"""One call for the detect stage: pictures in, faces with every measure of the FACES table out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fdf.vision.base import Detections, Detector, Embedder, Floats, Keypointer, Keypoints, Pixels
from fdf.vision.facemesh import five_points
from fdf.vision.keypoints import CLEAR
from fdf.vision.pose import Pose, pose_from_five, pose_from_mesh
from fdf.vision.quality import measure
from fdf.vision.zoo import Model

_GRID: Final = 4.0


@dataclass(frozen=True, eq=False)
class Face:
    """One face of one picture; fields, units and signs as in `fdf.schema.FACES`.

    Attributes:
        box: float32 (4,), [x0, y0, x1, y1), inside the picture.
        score: the detector's, 0–1.
        keypoints: float32 (7, 3), (x, y, confidence).
        landmarks5: float32 (5, 2); the detector's, else the mesh's, else None.
        yaw: degrees; like pitch and roll None if neither a mesh nor five points are there.
        pitch: degrees.
        roll: degrees.
        sharpness: variance of the Laplacian.
        brightness: 0–255.
        contrast: 0–255.
        skin_ita: degrees, or None if no cheek is seen.
        occlusion: 0–1, or None without a mesh.
        embedding: float32 (dim,), or None without an embedder.
    """

    box: Floats
    score: float
    keypoints: Floats
    landmarks5: Floats | None
    yaw: float | None
    pitch: float | None
    roll: float | None
    sharpness: float
    brightness: float
    contrast: float
    skin_ita: float | None
    occlusion: float | None
    embedding: Floats | None


class Analyzer:
    """A detector, a keypointer and perhaps an embedder, run one after the other on batches of pictures."""

    def __init__(self, detector: Detector, keypointer: Keypointer, embedder: Embedder | None = None) -> None:
        self.detector, self.keypointer, self.embedder = detector, keypointer, embedder

    @property
    def models(self) -> tuple[Model, ...]:
        """Every set of weights that touches a face, each once."""
        used = [*self.detector.models, *self.keypointer.models]
        used += self.embedder.models if self.embedder else ()
        return tuple(dict.fromkeys(used))

    def analyze(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Faces of each picture by falling score; an empty list where there is none.

        Raises:
            ValueError: a picture is not upright RGB, uint8 (H, W, 3).
        """
        found = self.detector.detect(pictures)
        points = self.keypointer.keypoints(pictures, found)
        vectors: Sequence[Floats | None] = [None] * len(pictures)
        if self.embedder is not None:
            vectors = self.embedder.embed(pictures, found, points)
        return [
            [_face(picture, row, faces, keys, vector) for row in range(len(faces))]
            for picture, faces, keys, vector in zip(pictures, found, points, vectors, strict=True)
        ]


def face_id(photo_sha256: str, box: Sequence[float] | Floats) -> str:
    """Stable id of a face: 20 hex digits of SHA-256 over the photo's SHA-256 and the box on a coarse grid.

    Centre and size of the box are rounded to whole multiples of 4 pixels. The same weights run without graph optimization
    (other kernels, another order of additions: what another CPU does) move boxes by about 1e-4 pixels at most, so an id differs
    for fewer than one face in 5,000.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    cells = [round(value / _GRID) for value in ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)]
    return hashlib.sha256(f"{photo_sha256}:{cells}".encode()).hexdigest()[:20]


def _face(picture: Pixels, row: int, faces: Detections, keys: Keypoints, vector: Floats | None) -> Face:
    mesh = None if keys.mesh is None else keys.mesh[row]
    presence = None if keys.presence is None else float(keys.presence[row])
    five = None if faces.landmarks5 is None else faces.landmarks5[row]
    if five is None and mesh is not None:
        five = five_points(mesh[None])[0]
    pose: Pose | None = None
    if mesh is not None and (presence is None or presence >= CLEAR):
        pose = pose_from_mesh(mesh)
    elif five is not None:
        pose = pose_from_five(five)
    seen = mesh if presence is None or presence >= CLEAR else None
    quality = measure(picture, faces.boxes[row], five, seen, presence, 0.0 if pose is None else pose.yaw)
    return Face(
        box=faces.boxes[row],
        score=float(faces.scores[row]),
        keypoints=keys.points[row],
        landmarks5=five,
        yaw=None if pose is None else pose.yaw,
        pitch=None if pose is None else pose.pitch,
        roll=None if pose is None else pose.roll,
        sharpness=quality.sharpness,
        brightness=quality.brightness,
        contrast=quality.contrast,
        skin_ita=quality.skin_ita,
        occlusion=quality.occlusion,
        embedding=None if vector is None else np.asarray(vector[row], dtype=np.float32),
    )
