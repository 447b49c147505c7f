"""dlib: its HOG detector, and its ResNet embedding of 128 numbers (bundled).

Both come from Davis King's dlib (King 2009, JMLR 10; HOG: dlib.net/face_detector.py.html; ResNet: dlib-models, CC0). The
embedding compares by Euclidean distance; under 0.6 means the same person by dlib's own rule.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdf.errors import MachineError, ModelError
from fdf.vision.base import (
    Detections,
    Floats,
    Keypoints,
    Pixels,
    check_batch,
    check_pictures,
    make_detections,
)
from fdf.vision.facemesh import LEFT_EYE, RIGHT_EYE
from fdf.vision.warp import Square, fit, sample
from fdf.vision.zoo import Model, local_model, model, path_of

_CHIP: Final = 150
_MAX_SIDE: Final = 1280
_POINTS5, _POINTS68 = 5, 68

# dlib's mean positions of its five points in an unpadded chip (image_transforms/interpolation.h, get_face_chip_details), in
# dlib's order: left eye outer, left eye inner, right eye outer, right eye inner, base of the nose.
_MEAN_FIVE: Final = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
_PADDING: Final = 0.25
_MESH_FIVE: Final = [*LEFT_EYE, *RIGHT_EYE, 2]
_lock = threading.Lock()  # dlib's networks keep state while they run


class DlibHog:
    """Detector: HOG and a linear SVM, frontal faces of 40 pixels and more; boxes are squares from the brows to the chin.

    Args:
        path: dlib shape predictor with 5 or 68 points, for `landmarks5`; None for none. With 5 points the mouth is unknown
            and is put where dlib's mean face has it.
        upsample: 1 enlarges pictures once, so that faces from 40 pixels on are found; 0 from 80 on.
        threshold: of the SVM's margin; the score is 1 − exp(−margin), 0 at margin 0.
        threads: unused, dlib's detector has one.
        cuda: unused.
    """

    id = "dlib-hog"

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        upsample: int = 1,
        threshold: float = 0.0,
        threads: int = 1,  # noqa: ARG002
        cuda: bool = False,  # noqa: ARG002
    ) -> None:
        dlib = _dlib()
        self.upsample, self.threshold = upsample, threshold
        self._detector = dlib.get_frontal_face_detector()
        row = _described(self._detector)
        self.models: tuple[Model, ...] = (row,)
        self._predictor: Any = None
        if path is not None:
            points = local_model(
                path,
                model_id="dlib-shape-predictor",
                task="keypointer",
                code_license="BSL-1.0",
                weight_license=_predictor_license(Path(path)),
            )
            self.models = (row, points)
            try:
                self._predictor = dlib.shape_predictor(str(path_of(points)))
            except RuntimeError as error:
                raise ModelError(f"{path} is no dlib shape predictor", got=str(error).splitlines()[0]) from error

    def detect(self, pictures: Sequence[Pixels]) -> list[Detections]:
        """Faces of each picture; pictures whose long side exceeds 1280 pixels are shrunk to that first."""
        check_pictures(pictures)
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Pixels) -> Detections:
        import cv2

        height, width = picture.shape[:2]
        scale = min(1.0, _MAX_SIDE / max(height, width))
        small = picture
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        back = np.array([width / small.shape[1], height / small.shape[0]])
        with _lock:
            rects, margins, _ = self._detector.run(np.ascontiguousarray(small), self.upsample, self.threshold)
        edges = [(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in rects]
        boxes = np.array(edges, dtype=np.float64).reshape(-1, 4) * [*back, *back]
        scores = 1 - np.exp(-np.maximum(np.array(margins, dtype=np.float64), 0))
        five = None
        if self._predictor is not None:
            found = [_five(self._predictor(small, rect)) for rect in rects]
            five = np.array(found, dtype=np.float64).reshape(-1, 5, 2) * back
        return make_detections(boxes, scores, five, width, height)


class DlibEmbedder:
    """Embedder: dlib's ResNet, 128 numbers, Euclidean distance (not of unit length; its norm is about 1.4).

    The face is aligned by the four eye corners and the base of the nose of the face mesh; without a mesh, by corners guessed
    from the eye centres.
    """

    id = "dlib-resnet128"
    dim = 128

    def __init__(self) -> None:
        row = model("dlib-resnet128")
        self.models: tuple[Model, ...] = (row,)
        self._network = _resnet(str(path_of(row)))

    def embed(
        self, pictures: Sequence[Pixels], detections: Sequence[Detections], keypoints: Sequence[Keypoints]
    ) -> list[Floats]:
        """float32 (N, 128) per picture."""
        check_batch(pictures, detections, keypoints)
        chips = [
            sample(picture, chip_square(five), _CHIP)
            for picture, points in zip(pictures, keypoints, strict=True)
            for five in _corners(points)
        ]
        # One by one: a vector must not depend on which faces it shared a batch with, and a batch is no faster on one core.
        rows = np.zeros((len(chips), self.dim), dtype=np.float32)
        with _lock:
            for row, chip in enumerate(chips):
                rows[row] = np.array(self._network.compute_face_descriptor(chip))
        ends = np.cumsum([0, *(len(points) for points in keypoints)])
        return [rows[a:b] for a, b in itertools.pairwise(ends)]


def chip_square(five: npt.NDArray[np.floating]) -> Square:
    """Where dlib would cut its chip: similarity of five points (5, 2), dlib's order, to its mean face, padding 0.25."""
    return fit((_PADDING + _MEAN_FIVE) / (2 * _PADDING + 1), five)


def _corners(points: Keypoints) -> npt.NDArray[np.floating]:
    if points.mesh is not None:
        return points.mesh[:, _MESH_FIVE, :2]
    nose, left, right = (points.points[:, k, :2] for k in range(3))
    across = left - right
    down = np.stack([-across[:, 1], across[:, 0]], axis=1)
    corners = [left + 0.22 * across, left - 0.22 * across, right - 0.22 * across, right + 0.22 * across]
    return np.stack([*corners, nose + 0.12 * down], axis=1)


def _five(shape: Any) -> npt.NDArray[np.float64]:
    xy = np.array([[shape.part(k).x, shape.part(k).y] for k in range(shape.num_parts)], dtype=np.float64) + 0.5
    if len(xy) == _POINTS68:
        return np.stack([xy[36:42].mean(axis=0), xy[42:48].mean(axis=0), xy[30], xy[48], xy[54]])
    if len(xy) == _POINTS5:
        right, left = xy[2:4].mean(axis=0), xy[:2].mean(axis=0)
        across = left - right
        down = np.array([-across[1], across[0]])
        nose = xy[4] - 0.12 * down
        return np.stack([right, left, nose, right + 0.1 * across + 1.1 * down, left - 0.1 * across + 1.1 * down])
    raise ModelError(
        "The dlib shape predictor has the wrong number of points", expected="5 or 68 points", got=f"{len(xy)}"
    )


def _predictor_license(path: Path) -> str:
    # dlib-models: everything CC0, but the 68-point model's training data (iBUG 300-W) excludes commercial use.
    return "LicenseRef-iBUG-300W-noncommercial" if "68" in path.name else "CC0-1.0"


def _described(detector: Any) -> Model:
    """The registry's entry, with hash and size of the detector that this dlib really holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hog.svm"
        detector.save(str(path))
        data = path.read_bytes()
    return dataclasses.replace(model("dlib-hog"), sha256=hashlib.sha256(data).hexdigest(), size=len(data))


@cache
def _resnet(path: str) -> Any:
    return _dlib().face_recognition_model_v1(path)


def _dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise MachineError(
            "dlib can't be imported", got=str(error), action="Install it with `pip install dlib-bin`"
        ) from error
    return dlib
