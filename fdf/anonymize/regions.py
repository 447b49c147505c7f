"""Which pixels hide a face: a rounded box, larger than what a detector calls the face.

Detectors' boxes end at the brows or the middle of the forehead and jitter by a tenth of their side. So the box is grown on
all sides, more towards the crown, whose direction is known from eyes and mouth: a face that lies or hangs upside down has
its forehead elsewhere. Wherever the points lie, the whole grown box is always covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face, Region, RegionName

_FEATHER: Final = 0.06  # width of the soft edge outside, over the longer side of the box
_MIN_MARGIN: Final = 2.0  # pixels: boxes of tiny faces are off by whole pixels
_CORNER: Final = 2**0.25  # |u|⁴ + |v|⁴ = 1 passes this much inside the corner of its box: axes are longer by it
_NEAR: Final = 1.0  # points farther than this from the box, over its side, are no points of this face
_SURE: Final = 0.3  # keypoints under this confidence are guesses
_FACE_POINTS: Final = 5  # of seven keypoints the last two are shoulders


@dataclass(frozen=True)
class Growth:
    """How far a region reaches over the box, over its sides: to the sides, to the crown, to the chin."""

    side: float
    crown: float
    chin: float


GROWTH: Final[dict[RegionName, Growth]] = {"face": Growth(0.12, 0.25, 0.12), "head": Growth(0.45, 0.75, 0.30)}


def region_of(face: Face, kind: RegionName, width: int, height: int) -> Region | None:
    """The region of a face in a picture of width × height; None if it lies wholly outside.

    Args:
        face: whose.
        kind: `face` for forehead to chin, `head` for hair and ears too.
        width: of the picture.
        height: of the picture.
    """
    (x0, y0), (x1, y1) = _grown(face, GROWTH[kind])
    centre_x, centre_y = (x0 + x1) / 2, (y0 + y1) / 2
    # One more pixel: a pixel that is only touched belongs to the core.
    a, b = (x1 - x0) / 2 * _CORNER + 1, (y1 - y0) / 2 * _CORNER + 1
    feather = max(1.0, _FEATHER * face.size)
    left, right = max(0, int(centre_x - a - feather)), min(width, int(np.ceil(centre_x + a + feather)))
    top, bottom = max(0, int(centre_y - b - feather)), min(height, int(np.ceil(centre_y + b + feather)))
    if left >= right or top >= bottom:
        return None
    u = ((np.arange(left, right, dtype=np.float32) + np.float32(0.5 - centre_x)) / np.float32(a)) ** 4
    v = ((np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - centre_y)) / np.float32(b)) ** 4
    radius = np.sqrt(np.sqrt(u[None] + v[:, None]))
    short = np.float32(min(a, b) / feather)
    alpha = np.clip((short + np.float32(1)) - radius * short, np.float32(0), np.float32(1))
    return Region((left, top, right, bottom), alpha, kind) if alpha.any() else None


def _grown(face: Face, growth: Growth) -> npt.NDArray[np.float64]:
    """Corners (2, 2) of the grown box: every point of the face in it."""
    low, high = np.asarray(face.box, dtype=np.float64).reshape(2, 2)
    side = high - low
    points = _points(face)
    crown = _to_crown(face)
    # Per axis the growth at the low and the high end, by how much that end looks to the crown.
    to_low, to_high = np.clip(-crown, 0, 1), np.clip(crown, 0, 1)
    across = 1 - np.abs(crown)
    at_low = to_low * growth.crown + to_high * growth.chin + across * growth.side
    at_high = to_high * growth.crown + to_low * growth.chin + across * growth.side
    least = max(_MIN_MARGIN, 0.1 * float(side.min()))
    low = low - np.maximum(at_low * side, least)
    high = high + np.maximum(at_high * side, least)
    if len(points):
        low, high = np.minimum(low, points.min(axis=0) - least), np.maximum(high, points.max(axis=0) + least)
    return np.stack([low, high])


def _points(face: Face) -> npt.NDArray[np.float64]:
    """The face's points that can be its own, (N, 2)."""
    found = [np.zeros((0, 2))]
    if face.landmarks5 is not None:
        found.append(np.asarray(face.landmarks5, dtype=np.float64))
    if face.keypoints is not None:
        points = face.keypoints[:_FACE_POINTS]
        found.append(np.asarray(points[points[:, 2] >= _SURE, :2], dtype=np.float64))
    every = np.concatenate(found)
    away = np.maximum(face.box[:2] - every, every - face.box[2:]).max(axis=1, initial=-np.inf)
    return np.asarray(every[away <= _NEAR * face.size], dtype=np.float64)


def _to_crown(face: Face) -> npt.NDArray[np.float64]:
    """Unit vector from chin to crown; up where nothing is known."""
    if face.landmarks5 is not None:
        five = np.asarray(face.landmarks5, dtype=np.float64)
        up = five[:2].mean(axis=0) - five[3:].mean(axis=0)
        length = float(np.hypot(*up))
        if length > 0.1 * face.size:
            return np.asarray(up / length, dtype=np.float64)
    return np.array([0.0, -1.0])
