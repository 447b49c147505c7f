"""Which faces does an anonymized film still show? Face-frames left bare, counted against a truth.

A *face-frame* is one face in one frame. What must not be seen of it is its *inner area*: the ellipse in its box, shrunk to
0.8, which holds brows, eyes, nose and mouth; the edge is hairline and jaw, where the soft border of a mask may begin. It is
exposed if more than a tenth of what is to be seen of that area is bare. This is the rule of the film of the exposure test
(tests/anonymize/clips.py), which looks for one covering colour; for covers of any kind `remains` asks instead what is left
of the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from fdf.evaluate.verification import Share, share
from fdf.vision.base import Pixels

Bools = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

INNER: Final = 0.8
"""Axes of the inner area over the sides of the box."""
COVERED: Final = 0.9
"""A face counts as covered from this share of its visible inner area on: a tenth is at most a cheek's edge, never an eye."""
VISIBLE: Final = 0.5
"""Of a face that is hidden or cut by the border by more than this, no detector has anything to find."""

_NEAR_COVER: Final = 40  # a pixel of the original this near to the covering colour tells nothing
_BARE: Final = 32  # grey levels off the covering colour: what a codec does is less
_SIDE: Final = 96  # pixels to which larger faces are shrunk before their detail is compared
_WINDOW: Final = 0.06  # sigma of the windows in which `remains` compares, over the height of the inner area
_COARSE: Final = 0.1  # what is coarser than this sigma, over that height, a blur may leave
_KEPT: Final = 0.5  # of the detail's amplitude: where more than this of it is lost, it is not the original any more
_DETAIL: Final = 5.0  # grey levels of detail under which there is nothing to compare
_LISTED: Final = 1000
_ENOUGH: Final = 0.1  # of the area must have detail, else coarse light and shade are compared


class Inner(Protocol):
    """What must not be seen of a face in a frame; a `clips.Truth` of the exposure test is one.

    Attributes:
        corner: (x, y) of the mask in the frame.
        mask: bool (h, w), which pixels of the inner area are to be seen in the original.
        whole: pixels of the area if nothing hid or cut it.
    """

    @property
    def corner(self) -> tuple[int, int]:
        """Left and top of the mask."""

    @property
    def mask(self) -> Bools:
        """(h, w)."""

    @property
    def whole(self) -> int:
        """Pixels."""


@dataclass(frozen=True, eq=False)
class InnerArea:
    """An `Inner` of a box."""

    corner: tuple[int, int]
    mask: Bools
    whole: int


def inner_area(box: npt.ArrayLike, width: int, height: int) -> InnerArea:
    """The inner area of a face with this box, (4,), in a picture of width × height; its mask is empty outside of it."""
    import cv2

    x0, y0, x1, y1 = (float(value) for value in np.asarray(box, dtype=np.float64).reshape(4))
    a, b = (x1 - x0) / 2 * INNER, (y1 - y0) / 2 * INNER
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = max(0, int(x - a) - 1), max(0, int(y - b) - 1)
    w, h = min(width, int(x + a) + 2) - left, min(height, int(y + b) + 2) - top
    whole = max(1, int(np.pi * a * b))
    if w <= 0 or h <= 0:
        return InnerArea((0, 0), np.zeros((0, 0), dtype=np.bool_), whole)
    mask = np.zeros((h, w), dtype=np.uint8)
    cv2.ellipse(mask, ((x - left, y - top), (2 * a, 2 * b), 0), 1, -1)
    return InnerArea((left, top), mask.astype(np.bool_), whole)


def visible(inner: Inner) -> bool:
    """Whether there is enough of the face to be a face-frame."""
    return bool(inner.mask.sum() >= VISIBLE * inner.whole)


def uncovered(inner: Inner, source: Pixels, picture: Pixels, colour: Colour) -> float:
    """Share of a face's visible inner area that is not of the covering colour, 0–1; source pixels near it don't count.

    Args:
        inner: of the face.
        source, picture: the frame before and after, uint8 (H, W, 3) of one size.
        colour: RGB.
    """
    before, after = (_cut(inner, frame).astype(int) for frame in (source, picture))
    counted = inner.mask & (np.abs(before - np.array(colour)).max(axis=2) > _NEAR_COVER)
    bare = np.abs(after - np.array(colour)).max(axis=2) > _BARE
    return float((bare & counted).sum() / max(1, counted.sum()))


@dataclass(frozen=True)
class Remains:
    """What is left of a face: share of its visible inner area, 0–1, and whether it had hardly any detail to begin with."""

    share: float
    faint: bool


def remains(inner: Inner, source: Pixels, picture: Pixels) -> Remains:
    """In how much of a face's visible inner area the original is still there, whatever it was covered by.

    Detail is the luma less its own blur of a tenth of the area's height: brows, eyes, nostrils, lips. Where the frame differs
    from the original, in the root mean square of a small window, by less than half of the detail there, that detail is still
    there. A blur that takes the detail differs by all of it, a box or another face by more. Places without detail don't
    count. A face that has hardly any (out of focus, dark) is *faint*: its light and shade are compared instead, and a blur
    that leaves these, as it must, can't be told from no cover.

    Args are those of `uncovered`.
    """
    import cv2

    if not inner.mask.any():
        return Remains(0.0, faint=True)
    h, w = inner.mask.shape
    shrink = min(1.0, _SIDE / max(h, w))
    size = max(1, round(w * shrink)), max(1, round(h * shrink))
    lumas = [cv2.cvtColor(np.ascontiguousarray(_cut(inner, frame)), cv2.COLOR_RGB2GRAY) for frame in (source, picture)]
    before, after = (cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32) for luma in lumas)
    mask = cv2.resize(inner.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    if not mask.any():
        return Remains(0.0, faint=True)
    tall = 2 * float(np.sqrt(inner.whole / np.pi)) * shrink  # of a circle as large as the area: masks may be cut

    def kept(coarse: Levels, moved: Levels) -> tuple[float, float]:
        """Share of what has detail that still has it, and share that has detail."""
        detail = np.sqrt(_soft((before - coarse) ** 2, _WINDOW * tall))[mask]
        change = np.sqrt(_soft((moved - before) ** 2, _WINDOW * tall))[mask]
        counted = detail >= _DETAIL
        still = (change < (1 - _KEPT) * detail)[counted].sum()
        return float(still / max(1, counted.sum())), float(counted.mean())

    share_kept, with_detail = kept(_soft(before, _COARSE * tall), after)
    if with_detail >= _ENOUGH:
        return Remains(share_kept, faint=False)
    # Less what a lighter or darker cover is off by on the whole: else a grey box is like a grey face.
    even = np.full_like(before, before[mask].mean())
    return Remains(kept(even, after + (before - after)[mask].mean())[0], faint=True)


@dataclass(frozen=True)
class Judged:
    """What became of a face-frame."""

    bare: bool
    faint: bool = False


def judge(inner: Inner, source: Pixels, picture: Pixels, cover: Colour | None = None) -> Judged:
    """Whether a face-frame is left bare: by its covering colour if that is known, else by what remains of the original."""
    if cover is not None:
        return Judged(uncovered(inner, source, picture, cover) > 1 - COVERED)
    left = remains(inner, source, picture)
    return Judged(left.share > 1 - COVERED, left.faint)


@dataclass(frozen=True)
class Exposure:
    """Face-frames that an anonymized film still shows.

    Attributes:
        exposed: of the visible face-frames. Frames that follow each other are alike, so its interval is too narrow.
        per_1000: exposed face-frames in 1,000.
        faint: of the exposed ones, those of faces without detail, which a blur can't change; 0 if the cover's colour is known.
        tracks: of the faces followed, those with an exposed face-frame: the interval to trust.
        frames: numbers of the frames that show somebody, the first 1,000 of them.
    """

    exposed: Share | None
    per_1000: float | None
    faint: int
    tracks: Share | None
    frames: tuple[int, ...]


class ExposureCount:
    """Adds up face-frames."""

    def __init__(self) -> None:
        self._seen = self._bare = self._faint = 0
        self._tracks: dict[int, bool] = {}
        self._frames: list[int] = []

    def add(self, frame: int, track: int, found: Judged) -> None:
        """One visible face-frame."""
        self._seen += 1
        self._bare += found.bare
        self._faint += found.bare and found.faint
        self._tracks[track] = self._tracks.get(track, False) or found.bare
        if found.bare and len(self._frames) < _LISTED and frame not in self._frames[-1:]:
            self._frames.append(frame)

    def result(self) -> Exposure:
        """The sum."""
        return Exposure(
            share(self._bare, self._seen),
            1000 * self._bare / self._seen if self._seen else None,
            self._faint,
            share(sum(self._tracks.values()), len(self._tracks)),
            tuple(self._frames),
        )


def _soft(luma: Levels, sigma: float) -> Levels:
    import cv2

    return np.asarray(cv2.GaussianBlur(luma, (0, 0), max(0.5, sigma)), dtype=np.float32)


def _cut(inner: Inner, picture: Pixels) -> Pixels:
    (x, y), (h, w) = inner.corner, inner.mask.shape
    return picture[y : y + h, x : x + w]
