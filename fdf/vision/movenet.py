"""MoveNet Thunder: seventeen body points of one person, of which FDF keeps the first seven.

The crop is three times the face box, its centre half a box lower, so that the shoulders are in it. Bigger or lower crops make
the network jump to a neighbour; even so it does at times, which `fdf.vision.keypoints` looks out for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np

from fdf.vision.base import Detections, Floats, Pixels, check_batch
from fdf.vision.sessions import run_rows, session
from fdf.vision.warp import Square, sample
from fdf.vision.zoo import Model, model, path_of

WIDE: Final = (3.0, 0.5)
"""Side of the crop, and how far its centre lies under the box's, over the box's longer side."""
TIGHT: Final = (2.5, 0.4)
"""The same for a second look at a face whose neighbour was taken for it."""

_SIZE: Final = 256
_CHUNK: Final = 16


class MoveNet:
    """Seven COCO points of every face, as MoveNet sees them."""

    id = "movenet-thunder"

    def __init__(self, *, threads: int = 1, cuda: bool = False) -> None:
        row = model("movenet-thunder")
        self.models: tuple[Model, ...] = (row,)
        self._network = session(path_of(row), threads=threads, cuda=cuda)

    def points(
        self, pictures: Sequence[Pixels], detections: Sequence[Detections], view: tuple[float, float] = WIDE
    ) -> list[Floats]:
        """float32 (N, 7, 3) per picture: (x, y, score 0–1) in COCO order, left is the subject's."""
        check_batch(pictures, detections)
        jobs = [(index, _square(box, *view)) for index, faces in enumerate(detections) for box in faces.boxes]
        rows: list[Floats] = []
        for at in range(0, len(jobs), _CHUNK):
            chunk = jobs[at : at + _CHUNK]
            crops = np.stack([sample(pictures[index], square, _SIZE) for index, square in chunk]).astype(np.float32)
            (found,) = run_rows(self._network, crops)
            for (_, square), points in zip(chunk, found, strict=True):
                xy = square.to_picture(points[:7, 1::-1] * _SIZE, _SIZE)
                rows.append(np.column_stack([xy, np.clip(points[:7, 2], 0, 1)]).astype(np.float32))
        ends = np.cumsum([0, *(len(faces) for faces in detections)])
        return [np.array(rows[a:b], dtype=np.float32).reshape(-1, 7, 3) for a, b in itertools.pairwise(ends)]


def _square(box: Floats, zoom: float, down: float) -> Square:
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(x1 - x0, y1 - y0)
    return Square((x0 + x1) / 2, (y0 + y1) / 2 + down * side, zoom * side)
