"""Where a scene ends, and whether anything happened in a frame that no detector looked at.

Both are read from thumbnails: the luma of a frame at 160 × 90 or so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Thumbnail = npt.NDArray[np.uint8]

THUMBNAIL_SIDE = 160
_CELL = 4  # pixels of a thumbnail on a side of the cells that are compared
_STIRRED = 3  # pixels of a thumbnail on a side of the part in which something may stir
_STIR = 8.0  # grey levels by which such a part must change to be looked at, where light and dark lie 160 levels apart
_SHARE = 0.05  # of light and dark around it, where they lie closer: in the dark, in fog
_AROUND = 15  # pixels of a thumbnail on a side of what is around
_LEAST_STIR = 1.5  # grey levels: thumbnails are rounded
_NOISE = 3.0  # times the middle one of all parts: noise is everywhere
_COVER = 0.12  # of a face's size round its box: what `regions` hides at least
_WITH_IT = 0.6  # of a face's size round its box: hair and shoulders, which move with it
_SLACK = np.array([(0, 0), (-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])  # pixels of a thumbnail: boxes jitter
_FITS = 3  # of a change of light, without what did not fit the last time
_ROUNDED = 0.5  # grey levels
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


@dataclass(frozen=True, eq=False)
class Moving:
    """A face between two looks that both found it: the boxes (4,) in thumbnail pixels of both."""

    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]

    def at(self, share: float) -> npt.NDArray[np.float64]:
        """Its box after a share of the way."""
        return self.before + share * (self.after - self.before)


def stir(
    before: Thumbnail, frame: Thumbnail, after: Thumbnail, faces: Sequence[Moving] = (), share: float = 0.5
) -> float:
    """How much a frame shows that neither of its neighbours does; from 1 on it must be looked at.

    The largest mean over 3 × 3 pixels of a thumbnail, at any place, of how far pixels lie from those of both neighbours: a
    face as bright as what it hides differs from it pixel by pixel, not in the mean. It is measured against what a face could
    differ by at its place, which is little in the dark and in fog, and against the noise of the frame. Light that changes
    everywhere is taken off first.

    A face that both neighbours show is left out. Hair and shoulders move with it: beside it a pixel may also be what lay
    there before or will lie there after the way, give or take a pixel.

    Args:
        before: thumbnail of a frame that was looked at.
        frame: thumbnail of the one in question.
        after: thumbnail of the next one that was looked at.
        faces: those in both neighbours.
        share: of the way from one neighbour to the other.
    """
    import cv2

    before, after = lit_as(frame, before), lit_as(frame, after)
    apart = np.minimum(cv2.absdiff(before, frame), cv2.absdiff(after, frame)).astype(np.float32)
    for face in faces:
        _leave_out(apart, face, before, frame, after, share)
    part = np.asarray(cv2.blur(apart, (_STIRRED, _STIRRED)))
    light, dark = np.maximum(np.maximum(before, frame), after), np.minimum(np.minimum(before, frame), after)
    around = np.ones((_AROUND, _AROUND), dtype=np.uint8)
    span = cv2.subtract(cv2.dilate(light, around), cv2.erode(dark, around)).astype(np.float32)
    least = min(_STIR, max(_LEAST_STIR, _NOISE * float(np.median(part))))
    return float((part / np.clip(_SHARE * span, least, _STIR)).max())


def lit_as(frame: Thumbnail, other: Thumbnail) -> Thumbnail:
    """A thumbnail in the light of another one: gain and offset of the pixels that nothing else has changed."""
    x, y = other.astype(np.float32), frame.astype(np.float32)
    gain, offset, kept = 1.0, 0.0, np.ones(x.shape, dtype=np.bool_)
    for _ in range(_FITS):
        a, b = x[kept], y[kept]
        middle_x, middle_y = float(a.mean()), float(b.mean())
        spread = float(((a - middle_x) ** 2).mean())
        gain = float(((a - middle_x) * (b - middle_y)).mean()) / spread if spread > 1 else 1.0
        offset = middle_y - gain * middle_x
        away = np.abs(gain * x + offset - y)
        kept = away <= 2 * float(np.median(away)) + _ROUNDED
    return np.asarray(np.clip(np.rint(gain * x + offset), 0, 255), dtype=np.uint8)


def _leave_out(
    apart: npt.NDArray[np.float32], face: Moving, before: Thumbnail, frame: Thumbnail, after: Thumbnail, share: float
) -> None:
    """Take what a face brings along off the differences."""
    import cv2

    box = face.at(share)
    size = float((box[2:] - box[:2]).max())
    part = _pixels(box, _WITH_IT * size, apart.shape)
    if not apart[part].size:
        return
    for thumbnail, then in ((before, face.before), (after, face.after)):
        moved = [_moved(thumbnail, then, box + np.tile(step, 2), part) for step in _SLACK]
        outside = cv2.max(
            cv2.subtract(frame[part], np.max(moved, axis=0)), cv2.subtract(np.min(moved, axis=0), frame[part])
        )
        apart[part] = np.minimum(apart[part], outside)
    apart[_pixels(box, _COVER * size, apart.shape)] = 0


def _moved(
    thumbnail: Thumbnail,
    then: npt.NDArray[np.float64],
    now: npt.NDArray[np.float64],
    part: tuple[slice, slice],
) -> Thumbnail:
    """Part of a thumbnail as it looks when a face has moved from one box to another and taken everything along."""
    import cv2

    scale = (then[2:] - then[:2]) / np.maximum(now[2:] - now[:2], 1e-6)
    corner = np.array([part[1].start, part[0].start])
    # Pixel i covers i to i + 1: centres are half a pixel on.
    start = (then[:2] + then[2:]) / 2 + (corner + 0.5 - (now[:2] + now[2:]) / 2) * scale - 0.5
    matrix = np.array([[scale[0], 0, start[0]], [0, scale[1], start[1]]])
    size = (part[1].stop - part[1].start, part[0].stop - part[0].start)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(thumbnail, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8
    )


def _pixels(box: npt.NDArray[np.float64], margin: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a thumbnail that a box touches, and `margin` pixels round it."""
    x0, y0 = np.floor(box[:2] - margin).astype(int).clip(0, (shape[1], shape[0]))
    x1, y1 = np.ceil(box[2:] + margin).astype(int).clip(0, (shape[1], shape[0]))
    return slice(y0, y1), slice(x0, x1)


def _correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    p, q = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((p * p).sum() * (q * q).sum()))
    # Two plain pictures have no pattern to compare: they are alike unless their brightness says otherwise.
    return float((p * q).sum()) / scale if scale > 1 else 0.0


def _apart(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
    return float(np.abs(a - b).mean()) > _DIFFERENT
