"""Does a hidden face flicker? How much it changes from frame to frame beyond what the face itself did.

The faces of two frames that follow each other are laid over each other by their boxes, and their luma is compared: a warping
error as in Lai et al. 2018 (Learning Blind Video Temporal Consistency, arXiv:1808.00449), warped by the motion of the box
instead of an optical flow, which a face that was made anew in every frame would lead astray. The original's own difference
stands beside it: it holds speech, light and the box's jitter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.evaluate.exposure import inner_area
from fdf.vision.base import Floats, Pixels
from fdf.vision.warp import Square, sample

Levels = npt.NDArray[np.float32]

_SIDE: Final = 64  # pixels of a face when it is compared
_BINS: Final = 4  # of the histogram, a grey level


@dataclass(frozen=True)
class Flicker:
    """Mean absolute differences of luma from one frame to the next within the inner area of a face, grey levels of 255.

    Attributes:
        pairs: of one face in two frames that follow each other.
        anonymized: mean over the pairs.
        original: the same before anonymizing.
        excess: mean of what each pair changes more than the original does; 0 where it changes less.
        excess_p95: the excess that 5 % of the pairs exceed, to a quarter of a level.
    """

    pairs: int
    anonymized: float
    original: float
    excess: float
    excess_p95: float


class FlickerCount:
    """Adds up pairs; keeps the last look at each face and a histogram, however long the film is."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, Levels, Levels]] = {}
        self._sums = np.zeros(3)
        self._pairs = 0
        self._histogram = np.zeros(256 * _BINS, dtype=np.int64)

    def add(self, frame: int, track: int, box: Floats, source: Pixels, picture: Pixels) -> None:
        """A face, (4,), of a frame before and after; frames come in order."""
        before, after, mask = _face(box, source), _face(box, picture), _mask(box)
        last = self._last.get(track)
        self._last[track] = (frame, before, after)
        if last is None or last[0] != frame - 1:
            return
        original, anonymized = (
            float(np.abs(now - then)[mask].mean()) for now, then in ((before, last[1]), (after, last[2]))
        )
        excess = max(0.0, anonymized - original)
        self._sums += [anonymized, original, excess]
        self._pairs += 1
        self._histogram[min(int(excess * _BINS), len(self._histogram) - 1)] += 1

    def forget(self, before: int) -> None:
        """Faces last seen before a frame are over."""
        self._last = {track: kept for track, kept in self._last.items() if kept[0] >= before}

    def result(self) -> Flicker | None:
        """The means; None without a pair."""
        if not self._pairs:
            return None
        means = self._sums / self._pairs
        reached = np.searchsorted(self._histogram.cumsum(), 0.95 * self._pairs)
        return Flicker(self._pairs, float(means[0]), float(means[1]), float(means[2]), float(reached) / _BINS)


def _face(box: Floats, picture: Pixels) -> Levels:
    import cv2

    x0, y0, x1, y1 = (float(value) for value in box)
    square = Square((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0))
    return np.asarray(cv2.cvtColor(sample(picture, square, _SIDE), cv2.COLOR_RGB2GRAY), dtype=np.float32)


def _mask(box: Floats) -> npt.NDArray[np.bool_]:
    """The inner area in the square of `_face`."""
    size = np.asarray(box[2:] - box[:2], dtype=np.float64) / float((box[2:] - box[:2]).max()) * _SIDE
    inner = inner_area(np.concatenate([_SIDE / 2 - size / 2, _SIDE / 2 + size / 2]), _SIDE, _SIDE)
    mask = np.zeros((_SIDE, _SIDE), dtype=np.bool_)
    (x, y), (h, w) = inner.corner, inner.mask.shape
    mask[y : y + h, x : x + w] = inner.mask
    return mask
