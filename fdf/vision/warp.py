"""Square, possibly rotated, samples of a picture for networks that look at one face.

Coordinates are continuous with the origin at the top left *corner* of a picture, so the centre of its first pixel is
(0.5, 0.5); OpenCV counts from that centre, hence the halves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]

_SHRINK_FIRST = 1.5


@dataclass(frozen=True)
class Square:
    """A square in a picture: centre (x, y), side, and angle in radians, clockwise as the picture is seen."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def matrix(self, size: int) -> npt.NDArray[np.float64]:
        """2 × 3 affine map from coordinates of the size × size sample to coordinates of the picture."""
        scale = self.side / size
        cos, sin = np.cos(self.angle) * scale, np.sin(self.angle) * scale
        half = size / 2
        return np.array([[cos, -sin, self.x - (cos - sin) * half], [sin, cos, self.y - (sin + cos) * half]])

    def to_picture(self, points: Floats, size: int) -> npt.NDArray[np.float64]:
        """Points of the sample, (N, 2 or more) with x and y first, in coordinates of the picture, (N, 2)."""
        matrix = self.matrix(size)
        return np.asarray(points[..., :2] @ matrix[:, :2].T + matrix[:, 2], dtype=np.float64)


def fit(target: Floats, points: Floats) -> Square:
    """The square whose sample shows points (N, 2) of a picture nearest to where they should be (N, 2), in 0–1 of its side.

    Least squares of a rotation, a scale and a shift (no reflection), solved as complex numbers.
    """
    goal, found = (np.asarray(xy, dtype=np.float64) @ [1, 1j] for xy in (target, points))
    a, b = goal - goal.mean(), found - found.mean()
    turn = complex(np.vdot(a, b) / np.vdot(a, a).real)
    centre = complex(found.mean()) + (0.5 + 0.5j - complex(goal.mean())) * turn
    return Square(centre.real, centre.imag, max(abs(turn), 1e-3), float(np.angle(turn)))


def sample(pixels: Pixels, square: Square, size: int) -> Pixels:
    """The square as size × size RGB; black outside the picture.

    When it shrinks by more than 1.5, the part of the picture is averaged down first, or points would move with the noise
    of skipped pixels.
    """
    import cv2

    height, width = pixels.shape[:2]
    matrix = square.matrix(size)
    shrink = square.side / size
    if shrink > _SHRINK_FIRST:
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ matrix[:, :2].T + matrix[:, 2]
        margin = 2 * shrink
        x0, y0 = (int(v) for v in np.clip(np.floor(corners.min(0) - margin), 0, [width - 1, height - 1]))
        x1, y1 = (int(v) for v in np.clip(np.ceil(corners.max(0) + margin), [x0 + 1, y0 + 1], [width, height]))
        w, h = max(1, round((x1 - x0) / shrink)), max(1, round((y1 - y0) / shrink))
        scale = np.array([w / (x1 - x0), h / (y1 - y0)])
        pixels = np.asarray(cv2.resize(pixels[y0:y1, x0:x1], (w, h), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        matrix = np.column_stack([matrix[:, :2] * scale[:, None], (matrix[:, 2] - [x0, y0]) * scale])
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(pixels, matrix, (size, size), flags=flags), dtype=np.uint8)
