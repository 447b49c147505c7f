"""Which frames a detector looks at: as few as is safe.

The detector is the dearest part of a film by far. `Looking` looks at every `interval`-th frame and settles what lies
between two looks: if every face of one is found in the other close by, and nothing else moved in between, then the frames
between are skipped (the tracker interpolates them). Otherwise it looks in the middle, and so on down to every frame: where a
face appears, vanishes or runs, where a cut falls or the camera pans, every frame is looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from fdf.anonymize.base import Face
from fdf.anonymize.scenes import CutFinder, Seen, Thumbnail, change

_STEADY_OVERLAP = 0.5
"""Intersection over union of a face in two looks between which nothing needs to be seen."""
_STIR = 8.0
"""Grey levels by which a part of a picture must change to be looked at: noise stays under 3, faces seldom do (docs)."""


@dataclass(frozen=True, eq=False)
class Look:
    """One frame on its way to the tracker; `faces` is None if it was skipped."""

    index: int
    faces: list[Face] | None
    cut: bool


class Looking:
    """Frames in, looks out, in order and a little later.

    Args:
        detect: starts the detection of a frame; called once a frame at most. Several may run at once.
        interval: frames from one look to the next at most; 1 looks at every frame.
        adaptive: look in between where something happens. Without it only cuts are looked at, too.
        width: of the frames that boxes refer to, pixels.
        ahead: looks that may be under way while an earlier one is settled.
    """

    def __init__(
        self,
        detect: Callable[[int], Future[list[Face]]],
        *,
        interval: int = 4,
        adaptive: bool = True,
        width: int = 1280,
        ahead: int = 2,
    ) -> None:
        if interval < 1:
            raise ValueError(f"Looking: expected an interval of 1 frame or more, got {interval}.")
        self._detect, self._interval, self._adaptive, self._width, self._ahead = (
            detect,
            interval,
            adaptive,
            width,
            ahead,
        )
        self._cuts = CutFinder()
        self._frames: dict[int, Seen] = {}
        self._futures: dict[int, Future[list[Face]]] = {}
        self._anchors: deque[int] = deque()
        self._last: int | None = None  # newest frame whose scene is known
        self._settled: int | None = None
        self.looked = 0
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
        self._futures[index] = self._detect(index)
        self.looked += 1

    def _settle_next(self) -> Iterator[Look]:
        end = self._anchors.popleft()
        start = self._settled
        if start is not None and self._adaptive:
            self._settle(start, end)
        for index in range(end if start is None else start + 1, end + 1):
            future = self._futures.get(index)
            yield Look(index, None if future is None else future.result(), self._frames[index].cut)
        for index in range(end if start is None else start, end):
            self._futures.pop(index, None)
            self._frames.pop(index, None)
        self._settled = end

    def _settle(self, a: int, b: int) -> None:
        if b - a <= 1 or self._frames[b].cut:
            return
        found = self._futures[a].result(), self._futures[b].result()
        middle = (a + b) // 2
        if steady(*found):
            frames = self._frames
            stir = {
                m: change(
                    frames[a].thumbnail, frames[m].thumbnail, frames[b].thumbnail, [*found[0], *found[1]], self._width
                )
                for m in range(a + 1, b)
            }
            middle = max(stir, key=lambda m: (stir[m], -abs(m - middle)))
            if stir[middle] < _STIR:
                return
        self._look(middle)
        self._settle(a, middle)
        self._settle(middle, b)


def steady(before: Sequence[Face], after: Sequence[Face]) -> bool:
    """Whether two looks show the same faces at nearly the same places."""
    if len(before) != len(after):
        return False
    if not before:
        return True
    a, b = (np.stack([face.box for face in faces]).astype(np.float64) for faces in (before, after))
    shared = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    overlap = np.clip(shared, 0, None).prod(axis=2)
    areas = [(v[:, 2:] - v[:, :2]).prod(axis=1) for v in (a, b)]
    iou = overlap / (areas[0][:, None] + areas[1][None, :] - overlap)
    partner = iou.argmax(axis=1)
    return len(set(partner.tolist())) == len(before) and bool((iou.max(axis=1) >= _STEADY_OVERLAP).all())
