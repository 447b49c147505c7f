"""Where a scene ends, as thumbnails show it: the luma of a frame at 160 × 90 or so."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Thumbnail = npt.NDArray[np.uint8]

THUMBNAIL_SIDE = 160
_CELL = 4  # pixels of a thumbnail on a side of the cells that are compared
_ALIKE = 0.5  # correlation of two pictures of one scene; frames before and after a cut lie below
_DIFFERENT = 10.0  # mean difference of grey levels across a cut, at least
_CONFIRM = 3  # frames that must stay different: a flash is no cut


def thumbnail_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a frame's thumbnail, multiples of a cell."""
    scale = THUMBNAIL_SIDE / max(width, height)
    w, h = (max(_CELL, round(v * scale / _CELL) * _CELL) for v in (width, height))
    return w, h


def cells(thumbnail: Thumbnail | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means over squares of 4 × 4 pixels."""
    h, w = thumbnail.shape
    square = np.asarray(thumbnail, dtype=np.float32).reshape(h // _CELL, _CELL, w // _CELL, _CELL)
    return np.asarray(square.mean(axis=(1, 3)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame whose place among the scenes is known."""

    index: int
    thumbnail: Thumbnail
    cut: bool


class CutFinder:
    """Finds hard cuts, three frames late: after one the picture must stay different from what was before.

    What looks like a cut and is none would end tracks too early, so it is declared only when pictures neither correlate
    (light may change) nor are close, and did so a frame before. A cut that is missed, or a dissolve, only makes covers
    linger: tracks end by themselves.
    """

    def __init__(self) -> None:
        self._frames: deque[tuple[int, Thumbnail, npt.NDArray[np.float32]]] = deque()
        self._before: npt.NDArray[np.float32] | None = None
        self._calm = 1.0

    def add(self, index: int, thumbnail: Thumbnail) -> Iterator[Seen]:
        """Add a frame; gives the frames that are decided."""
        self._frames.append((index, thumbnail, cells(thumbnail)))
        if len(self._frames) > _CONFIRM:
            yield self._decide()

    def finish(self) -> Iterator[Seen]:
        """The frames that are left."""
        while self._frames:
            yield self._decide()

    def _decide(self) -> Seen:
        index, thumbnail, now = self._frames.popleft()
        before, cut = self._before, False
        if before is not None:
            alike = _correlation(before, now)
            cut = alike < min(_ALIKE, self._calm - 0.2) and _apart(before, now)
            cut = cut and all(
                _correlation(before, late) < _ALIKE and _apart(before, late) for _, _, late in self._frames
            )
            self._calm = 1.0 if cut else alike
        self._before = now
        return Seen(index, thumbnail, cut)


def _correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    p, q = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((p * p).sum() * (q * q).sum()))
    # Two plain pictures have no pattern to compare: they are alike unless their brightness says otherwise.
    return float((p * q).sum()) / scale if scale > 1 else 0.0


def _apart(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
    return float(np.abs(a - b).mean()) > _DIFFERENT
