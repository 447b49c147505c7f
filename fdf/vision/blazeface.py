"""BlazeFace with a face mesh as its gate: the bundled detector that was not trained on WIDER FACE.

BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047; MediaPipe's back-camera model) is fast and has false hits; the mesh's
presence removes nearly all of them, and gives the five points. One fixed input of 256 × 256 for the whole picture: faces
under about 6 % of the long side are missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Detections, Floats, Pixels, check_pictures, make_detections, nms
from fdf.vision.facemesh import FaceMesh, five_points
from fdf.vision.sessions import run_rows, session
from fdf.vision.zoo import Model, model, path_of

_SIZE: Final = 256


@dataclass(frozen=True)
class BlazeFaceConfig:
    """How BlazeFace decides.

    Attributes:
        score: lowest score of a face, 0–1.
        overlap: two boxes with a greater intersection over union are one face.
        presence: lowest presence of the mesh; 0 for no gate (then seven in 23 pictures without faces show one).
    """

    score: float = 0.5
    overlap: float = 0.3
    presence: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.score < 1 or not 0 < self.overlap < 1 or not 0 <= self.presence < 1:
            raise ValueError("BlazeFaceConfig: score and overlap must lie between 0 and 1, presence from 0 to below 1.")


class BlazeFace:
    """Detector with five points, Apache-2.0 weights. Boxes are squares from the brows to the chin, wider than the face."""

    id = "blazeface-back+facemesh468"

    def __init__(self, config: BlazeFaceConfig | None = None, *, threads: int = 1, cuda: bool = False) -> None:
        self.config = config or BlazeFaceConfig()
        row = model("blazeface-back")
        self._network = session(path_of(row), threads=threads, cuda=cuda)
        self._mesh = FaceMesh(threads=threads, cuda=cuda)
        self.models: tuple[Model, ...] = (row, *self._mesh.models)

    def detect(self, pictures: Sequence[Pixels]) -> list[Detections]:
        """Faces of each picture, boxes clipped to it."""
        check_pictures(pictures)
        raw = [self._raw(picture) for picture in pictures]
        found = []
        for picture, faces, mesh in zip(pictures, raw, self._mesh.meshes(pictures, raw), strict=True):
            kept = mesh.presence >= self.config.presence
            five = five_points(mesh.points[kept])
            height, width = picture.shape[:2]
            found.append(make_detections(faces.boxes[kept], faces.scores[kept], five, width, height))
        return found

    def _raw(self, picture: Pixels) -> Detections:
        height, width = picture.shape[:2]
        side = max(height, width)
        left, top = (side - width) // 2, (side - height) // 2
        regressors, logits = run_rows(self._network, _blob(picture))
        score = 1 / (1 + np.exp(-np.clip(logits[0, :, 0].astype(np.float64), -80, 80)))
        above = score >= self.config.score
        values, anchors, score = regressors[0, above].astype(np.float64) / _SIZE, _anchors()[above], score[above]
        centre = values[:, :2] + anchors
        box = np.concatenate([centre - values[:, 2:4] / 2, centre + values[:, 2:4] / 2], axis=1)
        box = box * side - [left, top, left, top]
        six = (values[:, 4:].reshape(-1, 6, 2) + anchors[:, None]) * side - [left, top]
        keep = nms(box, score, self.config.overlap)
        # Two eyes, nose, mouth and ears: the mouth has one point, which stands for both corners in the mesh's crop.
        return make_detections(box[keep], score[keep], six[keep][:, [0, 1, 2, 3, 3]], width, height)


def _blob(picture: Pixels) -> Floats:
    """The picture centred in a black square, at 256 × 256, −1 to 1."""
    import cv2

    height, width = picture.shape[:2]
    side = max(height, width)
    scale = _SIZE / side
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, (w, h), interpolation=how)
    square = np.zeros((_SIZE, _SIZE, 3), dtype=np.uint8)
    left, top = (_SIZE - w) // 2, (_SIZE - h) // 2
    square[top : top + h, left : left + w] = small
    return square[None].astype(np.float32) / np.float32(127.5) - np.float32(1)


@cache
def _anchors() -> npt.NDArray[np.float64]:
    """Anchor centres (896, 2), 0–1: two at every 16th pixel, six at every 32nd."""

    def grid(stride: int, repeat: int) -> npt.NDArray[np.float64]:
        steps = (np.arange(_SIZE // stride) + 0.5) * stride / _SIZE
        return np.repeat(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2), repeat, axis=0)

    return np.concatenate([grid(16, 2), grid(32, 6)])
