"""Recognizers that attack: independent of the method that hides a face, and told where the face is.

dlib's ResNet is bundled. Any ONNX file with one picture in and a vector out can be added; nothing is known of its licence, so
none is shipped or fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from fdf.errors import ModelError
from fdf.vision.base import Detections, Floats, Keypoints, Pixels
from fdf.vision.dlib_models import DlibEmbedder
from fdf.vision.facemesh import FaceMesh, five_points
from fdf.vision.insightface_pack import ARCFACE
from fdf.vision.sessions import session
from fdf.vision.warp import Square, fit, sample
from fdf.vision.zoo import local_model, path_of

_ALIGNED: Final = 112  # pixels: networks of this side take faces aligned as ArcFace does
_LOOSE: Final = 1.25  # side of the crop of all others, over the longer side of the box
_LEAST: Final = 64  # numbers of a vector: shorter outputs are ages and the like


@dataclass(frozen=True, eq=False)
class Sight:
    """Where one face of a picture is: its box as far as it lies in the picture, and its mesh."""

    found: Detections
    points: Keypoints

    @property
    def five(self) -> Floats:
        """Eyes, nose, mouth corners, (5, 2)."""
        if self.points.mesh is None:
            raise ValueError("A sight needs a mesh.")
        return np.asarray(five_points(self.points.mesh)[0])


class Recognizer(Protocol):
    """Anything that makes a vector of a face; vectors compare by Euclidean distance."""

    @property
    def name(self) -> str:
        """For tables."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    def embed(self, picture: Pixels, sight: Sight) -> Floats:
        """float32 (d,)."""
        ...


class Aim:
    """Lays the mesh on a face."""

    def __init__(self) -> None:
        self._mesh = FaceMesh()

    def __call__(self, picture: Pixels, box: Floats, five: Floats | None) -> Sight | None:
        """Where a face with this box, (4,), and five points, (5, 2), is; None if it lies outside the picture."""
        cut = np.clip(box, 0, np.array(picture.shape[1::-1] * 2)).astype(np.float32)
        if (cut[2:] - cut[:2]).min() < 2:
            return None
        found = Detections(cut[None], np.ones(1, dtype=np.float32), None if five is None else five[None])
        mesh = self._mesh.meshes([picture], [found])[0]
        return Sight(found, Keypoints(np.zeros((1, 7, 3), dtype=np.float32), mesh.points, mesh.presence))


class DlibRecognizer:
    """dlib's ResNet of 2017: 128 numbers."""

    def __init__(self) -> None:
        self._network = DlibEmbedder()
        self.name = self._network.id
        self.sha256 = self._network.models[0].sha256

    def embed(self, picture: Pixels, sight: Sight) -> Floats:
        """float32 (128,)."""
        return np.asarray(self._network.embed([picture], [sight.found], [sight.points])[0][0])


class OnnxRecognizer:
    """A network in an ONNX file. The side of its input says what it wants.

    112: RGB, (x − 127.5) / 128, the five points where ArcFace has them. Any other: RGB, 0–255, a square of 1.25 × the box.
    Its first output of 64 numbers or more is the vector, brought to unit length.

    Raises:
        ModelError: no such file, no ONNX, or not one picture in and a vector out.
    """

    def __init__(self, path: Path) -> None:
        row = local_model(
            path,
            model_id=path.stem,
            task="embedder",
            code_license="NOASSERTION",
            weight_license="NOASSERTION",
        )
        self.name, self.sha256 = row.id, row.sha256
        self._network = session(path_of(row))
        entries, outputs = self._network.get_inputs(), self._network.get_outputs()
        shape = list(entries[0].shape)
        self._channels_first = len(shape) == 4 and shape[1] == 3
        sides = shape[2:] if self._channels_first else shape[1:3]
        vectors = [k for k, out in enumerate(outputs) if _length(out.shape) >= _LEAST]
        square = len(shape) == 4 and 3 in (shape[1], shape[3]) and sides[0] == sides[1] and isinstance(sides[0], int)
        if len(entries) != 1 or not square or not vectors:
            raise ModelError(
                f"{path.name} is no recognizer that can be used here",
                expected=f"one input (N, S, S, 3) or (N, 3, S, S), and an output (N, {_LEAST} or more)",
                got=f"{[entry.shape for entry in entries]} → {[out.shape for out in outputs]}",
            )
        self._entry, self._size, self._pick = entries[0].name, int(sides[0]), vectors[0]
        self._copies = shape[0] if isinstance(shape[0], int) else 1  # some exports have a fixed batch

    def embed(self, picture: Pixels, sight: Sight) -> Floats:
        """float32 (d,), of unit length."""
        if self._size == _ALIGNED:
            crop = (sample(picture, fit(ARCFACE, sight.five), self._size).astype(np.float32) - 127.5) / 128
        else:
            crop = sample(picture, _around(sight.found.boxes[0]), self._size).astype(np.float32)
        if self._channels_first:
            crop = crop.transpose(2, 0, 1)
        rows = np.repeat(np.ascontiguousarray(crop, dtype=np.float32)[None], self._copies, axis=0)
        vector = np.asarray(self._network.run(None, {self._entry: rows})[self._pick][0], dtype=np.float32)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def _length(shape: Any) -> int:
    return int(shape[-1]) if len(shape) == 2 and isinstance(shape[-1], int) else 0


def _around(box: Floats) -> Square:
    x0, y0, x1, y1 = (float(value) for value in box)
    return Square((x0 + x1) / 2, (y0 + y1) / 2, _LOOSE * max(x1 - x0, y1 - y0))
