"""Which frames a detector looks at: as few as is safe.

The detector is the dearest part of a film by far. `Looking` looks at every `interval`-th frame and settles what lies
between two looks: if every face of one is found in the other close by, and nothing else moved in between, then the frames
between are skipped (the tracker interpolates them). Otherwise it looks in the middle, and so on down to every frame: where a
face appears, vanishes or runs, where a cut falls or the camera pans, every frame is looked at.

If something stirs in a few places only, then the detector sees those parts of the frames between, at a tenth of the cost;
a frame in which it finds a face there that the tracker would not cover is looked at as a whole. So are all of them if nobody
is found who explains what stirred as much as a face does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face
from fdf.anonymize.scenes import CutFinder, Seen, Thumbnail
from fdf.anonymize.stirring import COVER, Map, Moving, parts, stir
from fdf.vision.base import Part

_STEADY_OVERLAP = 0.5
"""Intersection over union of a face in two looks between which nothing needs to be seen."""
_COVERED = 0.85
"""Share of a face that must lie under the cover of a known one to be that one."""

Detect = Callable[[int, Sequence[Part]], "Future[list[Face]]"]
"""Starts the detection of a frame, by its index: of these parts of it, or of all of it if there are none."""


@dataclass(frozen=True, eq=False)
class Look:
    """One frame on its way to the tracker; `faces` is None if it was skipped."""

    index: int
    faces: list[Face] | None
    cut: bool


class Looking:
    """Frames in, looks out, in order and a little later.

    Args:
        detect: called for all of a frame once at most. Several may run at once.
        interval: frames from one look to the next at most; 1 looks at every frame.
        adaptive: look in between where something happens. Without it only cuts are looked at, too.
        size: width and height of the frames that boxes refer to, pixels.
        ahead: looks that may be under way while an earlier one is settled.
    """

    def __init__(
        self,
        detect: Detect,
        *,
        interval: int = 4,
        adaptive: bool = True,
        size: tuple[int, int] = (1280, 720),
        ahead: int = 2,
    ) -> None:
        if interval < 1:
            raise ValueError(f"Looking: expected an interval of 1 frame or more, got {interval}.")
        self._detect, self._interval, self._adaptive, self._size, self._ahead = (
            detect,
            interval,
            adaptive,
            size,
            ahead,
        )
        self._cuts = CutFinder()
        self._frames: dict[int, Seen] = {}
        self._futures: dict[int, Future[list[Face]]] = {}
        self._spotted: dict[int, list[Face]] = {}  # by looks at parts
        self._anchors: deque[int] = deque()
        self._last: int | None = None  # newest frame whose scene is known
        self._settled: int | None = None
        self.looked = 0
        self.parts = 0
        self.cuts = 0

    def add(self, index: int, thumbnail: Thumbnail) -> Iterator[Look]:
        """Add the next frame; gives what is settled."""
        for seen in self._cuts.add(index, thumbnail):
            yield from self._plan(seen)

    def finish(self) -> Iterator[Look]:
        """Everything that is left; the last frame is always looked at."""
        for seen in self._cuts.finish():
            yield from self._plan(seen)
        if self._last is not None:
            self._anchor(self._last)
        while self._anchors:
            yield from self._settle_next()

    def _plan(self, seen: Seen) -> Iterator[Look]:
        self._frames[seen.index] = seen
        previous, self._last = self._last, seen.index
        if previous is None:
            self._anchor(seen.index)
        elif seen.cut:
            self.cuts += 1
            self._anchor(previous)
            self._anchor(seen.index)
        elif seen.index - (self._anchors[-1] if self._anchors else self._settled or 0) >= self._interval:
            self._anchor(seen.index)
        while len(self._anchors) > self._ahead:
            yield from self._settle_next()

    def _anchor(self, index: int) -> None:
        if index not in self._futures and index != self._settled:
            self._anchors.append(index)
            self._look(index)

    def _look(self, index: int) -> None:
        self._futures[index] = self._detect(index, ())
        self.looked += 1

    def _faces(self, index: int) -> list[Face]:
        """What was found in a frame that was looked at; a face that only the look at a part found is no less there."""
        found = list(self._futures[index].result())
        # The largest first: of somebody at the border of two parts one may show a half only.
        for face in sorted(self._spotted.get(index, ()), key=lambda face: -float((face.box[2:] - face.box[:2]).prod())):
            if not _covers(found, face):
                found.append(face)
        return found

    def _settle_next(self) -> Iterator[Look]:
        end = self._anchors.popleft()
        start = self._settled
        if start is not None and self._adaptive:
            self._settle(start, end)
        for index in range(end if start is None else start + 1, end + 1):
            yield Look(index, self._faces(index) if index in self._futures else None, self._frames[index].cut)
        for index in range(end if start is None else start, end):
            for kept in (self._futures, self._frames, self._spotted):
                kept.pop(index, None)
        self._settled = end

    def _settle(self, a: int, b: int) -> None:
        if b - a <= 1 or self._frames[b].cut:
            return None
        middle = (a + b) // 2
        partners = steady(self._faces(a), self._faces(b))
        if partners is not None:
            stirred = self._stirred(a, b, partners)
            most = {m: float(one.max()) for m, one in stirred.items()}
            where = parts(np.max(list(stirred.values()), axis=0))
            if where is not None:
                seen = self._spot(a, b, partners, where)
                if seen or max(most.values()) < 1:
                    return self._settle_between(a, *seen, b)
                return self._look_between(a, b)
            middle = max(most, key=lambda m: (most[m], -abs(m - middle)))
        self._look(middle)
        if partners and len(self._faces(middle)) <= len(partners):
            return self._look_between(a, b)
        return self._settle_between(a, middle, b)

    def _look_between(self, a: int, b: int) -> None:
        """What stirred isn't explained: it may be half a face, which hides the other half between two frames."""
        for index in range(a + 1, b):
            if index not in self._futures:
                self._look(index)

    def _settle_between(self, *looked: int) -> None:
        """The same for what lies between these frames, if there is one more than the two that a stretch begins with."""
        for start, end in pairwise(looked if len(looked) > 2 else ()):
            self._settle(start, end)

    def _stirred(self, a: int, b: int, partners: list[tuple[Face, Face]]) -> dict[int, Map]:
        thumbnails = {m: self._frames[m].thumbnail for m in range(a, b + 1)}
        height, width = thumbnails[a].shape
        scale = np.array([width, height, width, height]) / np.tile(self._size, 2)
        faces = [Moving(before.box * scale, after.box * scale) for before, after in partners]
        return {m: stir(thumbnails[a], thumbnails[m], thumbnails[b], faces, (m - a) / (b - a)) for m in range(a + 1, b)}

    def _spot(self, a: int, b: int, partners: list[tuple[Face, Face]], where: list[npt.NDArray[np.int64]]) -> list[int]:
        """Look at these parts of every frame between, and at all of one that shows a face where no known one can be.

        Returns:
            these frames.
        """
        height, width = self._frames[a].thumbnail.shape
        scale = np.tile(self._size, 2) / np.array([width, height, width, height])
        boxes = [Part(*np.rint(box * scale).astype(int).tolist()) for box in where]
        seen = {m: self._detect(m, boxes) for m in range(a + 1, b) if boxes}
        self.parts += len(seen) * len(boxes)
        for m, future in seen.items():
            known = [
                Face((before.box + (m - a) / (b - a) * (after.box - before.box)).astype(np.float32))
                for before, after in partners
            ]
            new = [face for face in future.result() if not _covers(known, face)]
            if new:
                self._spotted[m] = new
                self._look(m)
        return [m for m in seen if m in self._spotted]


def _covers(known: Sequence[Face], face: Face) -> bool:
    """Whether what hides one of these faces hides this one, too."""
    size = face.box[2:] - face.box[:2]
    for other in known:
        margin = np.float32(COVER) * (other.box[2:] - other.box[:2])
        shared = np.minimum(face.box[2:], other.box[2:] + margin) - np.maximum(face.box[:2], other.box[:2] - margin)
        if np.clip(shared, 0, None).prod() >= _COVERED * size.prod():
            return True
    return False


def steady(before: Sequence[Face], after: Sequence[Face]) -> list[tuple[Face, Face]] | None:
    """The faces of two looks in pairs, if they are the same at nearly the same places."""
    if len(before) != len(after):
        return None
    if not before:
        return []
    a, b = (np.stack([face.box for face in faces]).astype(np.float64) for faces in (before, after))
    shared = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    overlap = np.clip(shared, 0, None).prod(axis=2)
    areas = [(v[:, 2:] - v[:, :2]).prod(axis=1) for v in (a, b)]
    iou = overlap / (areas[0][:, None] + areas[1][None, :] - overlap)
    partner = iou.argmax(axis=1)
    if len(set(partner.tolist())) != len(before) or (iou.max(axis=1) < _STEADY_OVERLAP).any():
        return None
    return [(face, after[other]) for face, other in zip(before, partner, strict=True)]
