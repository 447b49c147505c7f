"""What our own detectors and networks see in a crop whose face is known.

A crop of a shard shows its face in a known box. `Eyes.look` finds the face that covers that box best; where none does, that is
counted and the box itself is used, so that a fake that no detector takes for a face is still embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Detections, Floats, Keypoints, Pixels
from fdf.vision.blazeface import BlazeFace
from fdf.vision.centerface import CenterFace, CenterFaceConfig
from fdf.vision.dlib_models import DlibEmbedder
from fdf.vision.facemesh import FaceMesh, five_points
from fdf.vision.keypoints import CLEAR
from fdf.vision.pose import pose_from_mesh
from fdf.vision.zoo import Model

SAME_PLACE: Final = 0.3
"""Intersection over union with the known box from which on a detection is that face."""

_CROP: Final = CenterFaceConfig(
    min_side=256, max_side=256, second_pass=False
)  # a face of a crop is then 100–200 px high


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen in N crops.

    Attributes:
        centerface, blazeface: bool (N,), whether the detector found the face.
        clear: bool (N,), whether the mesh is sure of it: only then points and pose are used.
        points: float32 (N, 3, 2), nose, left eye, right eye; the mesh's.
        pose: float32 (N, 3), yaw, pitch, roll in degrees.
        vectors: float32 (N, 128), dlib's descriptor.
    """

    centerface: npt.NDArray[np.bool_]
    blazeface: npt.NDArray[np.bool_]
    clear: npt.NDArray[np.bool_]
    points: Floats
    pose: Floats
    vectors: Floats

    def __len__(self) -> int:
        return len(self.centerface)


def join_seen(parts: Sequence[Seen]) -> Seen:
    """Several one after the other."""
    return Seen(*(np.concatenate([getattr(part, name) for part in parts]) for name in Seen.__dataclass_fields__))


class Eyes:
    """Both detectors, the mesh and the embedder, made once and used from several threads."""

    def __init__(self) -> None:
        self._detector, self._second = CenterFace(_CROP), BlazeFace()
        self._mesh, self._embedder = FaceMesh(), DlibEmbedder()
        used = [*self._detector.models, *self._second.models, *self._mesh.models, *self._embedder.models]
        self.models: tuple[Model, ...] = tuple(dict.fromkeys(used))

    def look(self, pictures: Sequence[Pixels], boxes: Floats, *, embed: bool = True) -> Seen:
        """Look at crops, uint8 (R, R, 3) each, whose faces are at `boxes`, (N, 4) in pixels; without `embed` vectors are 0."""
        faces, found = _at(self._detector.detect(pictures), boxes, pictures)
        _, second = _at(self._second.detect(pictures), boxes, pictures)
        meshes = self._mesh.meshes(pictures, faces)
        five = np.concatenate([five_points(mesh.points) for mesh in meshes])
        presence = np.concatenate([mesh.presence for mesh in meshes])
        pose = [pose_from_mesh(mesh.points[0]) for mesh in meshes]
        nothing = np.zeros((len(pictures), 128), dtype=np.float32)
        return Seen(
            centerface=found,
            blazeface=second,
            clear=found & (presence >= CLEAR),
            points=np.ascontiguousarray(five[:, [2, 1, 0]]),
            pose=np.array([[p.yaw, p.pitch, p.roll] for p in pose], dtype=np.float32),
            vectors=self._vectors(pictures, faces, [mesh.points for mesh in meshes]) if embed else nothing,
        )

    def embed(self, pictures: Sequence[Pixels], boxes: Floats) -> Floats:
        """Only dlib's descriptors, float32 (N, 128)."""
        faces, _ = _at(self._detector.detect(pictures), boxes, pictures)
        return self._vectors(pictures, faces, [mesh.points for mesh in self._mesh.meshes(pictures, faces)])

    def _vectors(self, pictures: Sequence[Pixels], faces: Sequence[Detections], meshes: Sequence[Floats]) -> Floats:
        nothing = np.zeros((1, 7, 3), dtype=np.float32)  # the descriptor is aligned by the mesh
        return np.concatenate(self._embedder.embed(pictures, faces, [Keypoints(nothing, mesh) for mesh in meshes]))


def overlap(boxes: Floats, box: Floats) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes (N, 4) with one."""
    rows, one = np.asarray(boxes, dtype=np.float64).reshape(-1, 4), np.asarray(box, dtype=np.float64)
    shared = np.clip(np.minimum(rows[:, 2:], one[2:]) - np.maximum(rows[:, :2], one[:2]), 0, None).prod(axis=1)
    areas = (rows[:, 2:] - rows[:, :2]).prod(axis=1) + float((one[2:] - one[:2]).prod())
    return cast("npt.NDArray[np.float64]", shared / (areas - shared))


def _at(
    found: Sequence[Detections], boxes: Floats, pictures: Sequence[Pixels]
) -> tuple[list[Detections], npt.NDArray[np.bool_]]:
    """The one face of each picture that lies in its box, else the box; and whether it was found."""
    faces, there = [], []
    for candidates, box, picture in zip(found, boxes, pictures, strict=True):
        shared = overlap(candidates.boxes, box)
        best = int(np.argmax(shared)) if len(shared) else -1
        there.append(best >= 0 and bool(shared[best] >= SAME_PLACE))
        if there[-1]:
            five = None if candidates.landmarks5 is None else candidates.landmarks5[best : best + 1]
            faces.append(Detections(candidates.boxes[best : best + 1], candidates.scores[best : best + 1], five))
        else:
            faces.append(Detections(_inside(box, picture), np.zeros(1, dtype=np.float32)))
    return faces, np.array(there, dtype=np.bool_)


def _inside(box: Floats, picture: Pixels) -> Floats:
    """The box as far as it lies in the picture, at least a pixel of it: (1, 4)."""
    limit = np.array([picture.shape[1], picture.shape[0]] * 2, dtype=np.float32)
    cut = np.clip(np.asarray(box, dtype=np.float32), 0, limit)
    cut[:2] = np.minimum(cut[:2], limit[:2] - 1)
    cut[2:] = np.maximum(cut[2:], cut[:2] + 1)
    return cut[None]
