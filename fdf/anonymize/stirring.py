"""Whether and where anything happened in a frame that no detector looked at, as thumbnails show it.

`stir` compares a frame with the two that were looked at; `parts` says where to look, if anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdf.anonymize.scenes import Thumbnail

_Box = npt.NDArray[np.float64]
_Part = npt.NDArray[np.int64]
Map = npt.NDArray[np.float32]
"""How much stirs, (H, W) of a thumbnail; 1 and more is a face's due."""

COVER = 0.12
"""Of each side of a face's box, round it: what `regions` hides at least."""
_STIRRED = 3  # pixels of a thumbnail on a side of the part in which something may stir
_STIR = 8.0  # grey levels by which such a part must change to be looked at, where light and dark lie 160 levels apart
_SHARE = 0.05  # of light and dark around it, where they lie closer: in the dark, in fog
_AROUND = 15  # pixels of a thumbnail on a side of what is around
_LEAST_STIR = 1.5  # grey levels: thumbnails are rounded
_NOISE = 3.0  # times the middle one of all parts: noise is everywhere
_WITH_IT = 0.6  # of a face's size round its box: hair and shoulders, which move with it
_SLACK = np.array([(0, 0), (-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])  # pixels of a thumbnail: boxes jitter
_FITS = 3  # of a change of light, without what did not fit the last time
_ROUNDED = 0.5  # grey levels
_LEVELS = (0.25, 0.4, 0.55, 0.75, 1.0)  # of `stir`: the lowest at which few enough pixels stir decides
_ROOM = 12  # pixels of a thumbnail round what stirs: a face may be larger than what shows of it
_LEAST_PART = 32  # pixels of a thumbnail on a side
_SLIPS = 4  # pixels of a thumbnail by which the middles of two parts round one thing may differ
_MOST = 0.25  # of a frame: from here on it is no dearer to look at the whole


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
) -> Map:
    """How much a frame shows, at each place, that neither of its neighbours does; from 1 on it must be looked at.

    The mean over 3 × 3 pixels of a thumbnail of how far pixels lie from those of both neighbours: a face as bright as what it
    hides differs from it pixel by pixel, not in the mean. It is measured against what a face could differ by at its place,
    which is little in the dark and in fog, and against the noise of the frame. Light that changes everywhere is taken off
    first.

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
    return np.asarray(part / np.clip(_SHARE * span, least, _STIR), dtype=np.float32)


def parts(stirred: Map) -> list[_Part] | None:
    """Where a frame in which something stirred must be looked at.

    What stirs faintly counts as long as it is little: behind a moving face the half of another one is no more. Where much does
    it is noise, or trees in the wind: what stirs most is looked at, as far as a quarter of the frame goes.

    Returns:
        boxes (4,) in pixels of the thumbnail, none if nothing stirs; None if it must be looked at as a whole.
    """
    if stirred.max() < _LEVELS[0]:
        return []
    room = _MOST * stirred.size
    beyond: list[_Part] = []  # of the level before, which were too many
    for level in _LEVELS:
        found = _around(stirred, level)
        if _area(found) <= room:
            return _filled_up(found, beyond, stirred, room)
        beyond = found
    return None


def _around(stirred: Map, level: float) -> list[_Part]:
    """Boxes round all that stirs as much as this, and enough around it."""
    import cv2

    height, width = stirred.shape
    room = np.ones((2 * _ROOM + 1, 2 * _ROOM + 1), dtype=np.uint8)
    over = cv2.dilate((stirred >= level).astype(np.uint8), room)
    corners = cv2.connectedComponentsWithStats(over)[2][1:, :4].astype(np.int64)
    sides = np.minimum(np.maximum(corners[:, 2:], _LEAST_PART), [width, height])
    start = np.clip(corners[:, :2] - (sides - corners[:, 2:]) // 2, 0, [width, height] - sides)
    return list(np.concatenate([start, start + sides], axis=1))


def _filled_up(chosen: list[_Part], others: list[_Part], stirred: Map, room: float) -> list[_Part]:
    """Those that stir most of the others, too, as far as there is room: some specks of noise must not hide somebody.

    Of one that is too large, since specks are near each other, the part round what stirs most in it.
    """
    for box in sorted(others, key=lambda box: -float(_of(stirred, box).max())):
        for part in (box, _peak(stirred, box)):
            apart = [one for one in chosen if not _inside(one, part)]
            if _area(together := [*apart, part]) <= room:
                if not any(_inside(part, one) for one in apart):
                    chosen = together
                break
    return chosen


def _of(stirred: Map, box: _Part) -> Map:
    return stirred[box[1] : box[3], box[0] : box[2]]


def _peak(stirred: Map, box: _Part) -> _Part:
    """The least part round what stirs most in a box."""
    height, width = stirred.shape
    inside = _of(stirred, box)
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    size = np.minimum(_LEAST_PART, [width, height])
    start = np.clip(box[:2] + np.array([x, y]) - size // 2, 0, [width, height] - size)
    return np.concatenate([start, start + size])


def _inside(one: _Part, other: _Part) -> bool:
    """Whether one box lies in another, give or take what a least part is widened by."""
    return bool((one[:2] >= other[:2] - _SLIPS).all() and (one[2:] <= other[2:] + _SLIPS).all())


def _area(boxes: Sequence[_Part]) -> float:
    return float(sum((box[2:] - box[:2]).prod() for box in boxes))


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
    apart[_pixels(box, COVER * (box[2:] - box[:2]), apart.shape)] = 0


def _moved(
    thumbnail: Thumbnail,
    then: _Box,
    now: _Box,
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


def _pixels(box: _Box, margin: float | _Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a thumbnail that a box touches, and `margin` pixels round it."""
    x0, y0 = np.floor(box[:2] - margin).astype(int).clip(0, (shape[1], shape[0]))
    x1, y1 = np.ceil(box[2:] + margin).astype(int).clip(0, (shape[1], shape[0]))
    return slice(y0, y1), slice(x0, x1)
