"""Faces of a film from faces of its pictures: nothing that was found once is bare a moment before or after.

A detector looks at one picture at a time and misses faces: behind a hand, blurred, turned away. One missed frame is enough to
recognize someone. `Tracker` joins findings of one face to a track and covers every frame around them:

- between two findings the box is interpolated, and widened by the distance to the nearer one;
- before the first finding (`look_ahead` frames) and after the last (`hold` frames) it covers where the face was and where
  it was moving, widened likewise;
- boxes and keypoints are smoothed over findings on both sides, so they don't lag; a box is never smaller than what was found;
- a cut ends every track: nothing is held across it.

Association is by position only: the nearest prediction of a constant velocity, in size and place, best pair first (a global
assignment changes nothing at the few faces of a frame). Trackers at hand (ByteTrack, SORT, norfair) are made for counting:
they drop findings that are unsure, give nothing before a track is confirmed, and know nothing that comes later. Mixing two
people up costs a fake face its steadiness, never its cover; what must not fail is the cover, and that is this file.

Frames are numbered by the caller, without gaps. A frame is *looked at* (a list of faces, maybe empty) or *skipped* (None: the
caller vouches that nothing happened in it; see `fdf.anonymize.looking`).
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face

Doubles = npt.NDArray[np.float64]

_VELOCITY_FRAMES = 8  # findings this near to an end of a track give its velocity there
_EXTRAPOLATED = 8  # frames over which a velocity is believed
_POINTS_HELD = 3  # frames beyond an end of a track that still get keypoints; a method without them covers
_STEADY = 2  # frames on both sides whose findings a box must hold as well: no pulsing
_MIN_GATE, _GATE_GROWTH, _MAX_GATE = (
    0.6,
    0.08,
    1.5,
)  # how far off a prediction may be, in face sizes; a missed frame adds
_MAX_RATIO = 2.0  # of sizes of one face from one finding to the next


@dataclass(frozen=True)
class TrackingConfig:
    """How long and how wide a face is covered where it was not seen.

    Attributes:
        hold: frames after the last finding.
        look_ahead: frames before the first finding; also the delay of the tracker, and frames kept in memory.
        growth: what one missed frame adds to each side of a box, in parts of the face's size.
        growth_limit: most that is added to a side.
        smoothing: standard deviation in frames of the weights of neighbouring findings; 0 for none.
    """

    hold: int = 15
    look_ahead: int = 15
    growth: float = 0.04
    growth_limit: float = 0.5
    smoothing: float = 1.5

    def __post_init__(self) -> None:
        if self.hold < 0 or self.look_ahead < 0:
            raise ValueError("TrackingConfig: hold and look_ahead are numbers of frames, 0 or more.")
        if not 0 <= self.growth <= 1 or not 0 <= self.growth_limit <= 4 or not 0 <= self.smoothing <= 10:
            raise ValueError("TrackingConfig: growth 0–1, growth_limit 0–4, smoothing 0–10 frames.")


@dataclass(frozen=True, eq=False)
class Covered:
    """The faces to cover in one frame.

    Attributes:
        index: number of the frame.
        faces: one a track, in the order of track numbers; `origin` is "track" where nothing was found in this frame.
        sources: for each face the frame of the finding nearest in time: where its picture can be had.
    """

    index: int
    faces: list[Face]
    sources: list[int]


@dataclass(eq=False)
class _Track:
    number: int
    scene: int
    at: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)

    def add(self, index: int, face: Face) -> None:
        self.at.append(index)
        self.faces.append(face)

    def velocity(self, *, at_start: bool) -> Doubles:
        """Pixels a frame of the four sides at one end; 0 from a single finding."""
        end = self.at[0] if at_start else self.at[-1]
        near = [place for place, found in enumerate(self.at) if abs(found - end) <= _VELOCITY_FRAMES]
        if len(near) < 2:
            return np.zeros(4)
        at = np.array([self.at[place] for place in near], dtype=np.float64)
        boxes = np.array([self.faces[place].box for place in near], dtype=np.float64)
        # Nearer findings count more: a face that turns round is followed within a few frames.
        weights = np.exp(-np.abs(at - end) / 3)
        x = at - np.average(at, weights=weights)
        slope = (weights[:, None] * x[:, None] * boxes).sum(axis=0) / (weights * x * x).sum()
        # Size is taken to stay: a half-hidden face that shrinks would shrink to nothing.
        return np.tile((slope[:2] + slope[2:]) / 2, 2)

    def prediction(self, index: int) -> Doubles:
        steps = min(index - self.at[-1], _EXTRAPOLATED)
        return np.asarray(self.faces[-1].box, dtype=np.float64) + self.velocity(at_start=False) * steps


class Tracker:
    """Push frames in order; they come back `look_ahead` frames later with everything that must be covered in them.

    Args:
        size: width and height of the frames; boxes are clipped to it. None leaves them as they are.
    """

    def __init__(self, config: TrackingConfig | None = None, size: tuple[int, int] | None = None) -> None:
        self.config = config or TrackingConfig()
        self._size = size
        self._scene = 0
        self._born = 0
        self._tracks: list[_Track] = []
        self._waiting: deque[tuple[int, int]] = deque()  # number and scene of frames that have not gone out
        self._looked: deque[int] = deque()
        self._next: int | None = None

    @property
    def count(self) -> int:
        """Tracks begun so far."""
        return self._born

    def found(self, index: int) -> list[tuple[int, Face]]:
        """Track and face of each finding of the newest frame that was looked at, if that is `index`."""
        return [(track.number, track.faces[-1]) for track in self._tracks if track.at[-1] == index]

    def push(self, index: int, faces: Sequence[Face] | None, *, cut: bool = False) -> list[Covered]:
        """Add one frame; the order of its faces makes no difference.

        Args:
            index: its number: one more than the last.
            faces: what was found in it, or None if it was skipped.
            cut: it is the first of a new scene.

        Returns:
            Frames that are complete: none, or one.

        Raises:
            ValueError: a number that does not follow.
        """
        if self._next is not None and index != self._next:
            raise ValueError(f"Expected frame {self._next}, got {index}.")
        self._next = index + 1
        self._scene += cut
        self._waiting.append((index, self._scene))
        if faces is not None:
            self._looked.append(index)
            self._join(index, sorted(faces, key=_order))
        if len(self._waiting) > self.config.look_ahead:
            return [self._emit()]
        return []

    def finish(self) -> list[Covered]:
        """The frames that are left."""
        return [self._emit() for _ in range(len(self._waiting))]

    def _join(self, index: int, faces: list[Face]) -> None:
        oldest = index - self.config.hold - self.config.look_ahead - 1
        alive = [t for t in self._tracks if t.scene == self._scene and t.at[-1] >= oldest]
        pairs = []
        for track in alive:
            guess = track.prediction(index)
            last = np.asarray(track.faces[-1].box, dtype=np.float64)
            gate = min(_MIN_GATE + _GATE_GROWTH * (index - track.at[-1] - 1), _MAX_GATE)
            for place, face in enumerate(faces):
                cost = min(_distance(guess, face.box), _distance(last, face.box) + 0.1)
                if cost <= gate:
                    pairs.append((cost, track.number, place, track))
        taken: set[int] = set()
        joined: set[int] = set()
        for _, number, place, track in sorted(pairs, key=lambda pair: pair[:3]):
            if place not in taken and number not in joined:
                track.add(index, faces[place])
                taken.add(place)
                joined.add(number)
        for place, face in enumerate(faces):
            if place not in taken:
                self._tracks.append(track := _Track(self._born, self._scene))
                track.add(index, face)
                self._born += 1

    def _emit(self) -> Covered:
        index, scene = self._waiting.popleft()
        faces, sources = [], []
        for track in self._tracks:
            if track.scene == scene and (face := self._cover(track, index)) is not None:
                faces.append(face)
                sources.append(min(track.at, key=lambda at: (abs(at - index), at)))
        self._forget(index)
        return Covered(index, faces, sources)

    def _forget(self, index: int) -> None:
        """Drop what no later frame needs: memory must not grow with the film."""
        back = self.config.hold + _VELOCITY_FRAMES + _STEADY + round(4 * self.config.smoothing) + 2
        reach = self.config.hold + self.config.look_ahead + 1
        newest = self._next - 1 if self._next is not None else index
        self._tracks = [t for t in self._tracks if t.at[-1] >= min(index - self.config.hold, newest - reach)]
        for track in self._tracks:
            old = sum(at < index - back for at in track.at[:-1])
            # One finding before the frames to come always stays: it is the near end of a gap.
            del track.at[: max(0, old - 1)], track.faces[: max(0, old - 1)]
        while self._looked and self._looked[0] < index - back:
            self._looked.popleft()

    def _missed(self, start: int, stop: int) -> int:
        """Frames of [start, stop) that were looked at."""
        return sum(start <= at < stop for at in self._looked)

    def _cover(self, track: _Track, index: int) -> Face | None:
        config = self.config
        at = track.at
        place = bisect_left(at, index)
        if place < len(at) and at[place] == index:
            return self._face(track.faces[place], self._envelope(track, index), track, index, "")
        if 0 < place < len(at):
            a, b = at[place - 1], at[place]
            if index - a > config.hold and b - index > config.look_ahead:
                return None
            share = (index - a) / (b - a)
            box = (1 - share) * self._envelope(track, a) + share * self._envelope(track, b)
            missed = min(self._missed(a + 1, index + 1), self._missed(index, b))
            nearest = track.faces[place - 1 if share <= 0.5 else place]
            return self._face(nearest, self._grown(box, missed), track, index, "track")
        end = at[0] if place == 0 else at[-1]
        away = abs(index - end)
        if away > (config.look_ahead if place == 0 else config.hold):
            return None
        still = self._envelope(track, end)
        moved = still + track.velocity(at_start=place == 0) * np.sign(index - end) * min(away, _EXTRAPOLATED)
        box = np.concatenate([np.minimum(still, moved)[:2], np.maximum(still, moved)[2:]])
        nearest = track.faces[0 if place == 0 else -1]
        return self._face(nearest, self._grown(box, away), track, index, "track", points=away <= _POINTS_HELD)

    def _grown(self, box: Doubles, missed: int) -> Doubles:
        margin = min(self.config.growth * missed, self.config.growth_limit)
        width, height = box[2] - box[0], box[3] - box[1]
        return box + margin * np.array([-width, -height, width, height])

    def _smooth(self, at: Doubles, values: Doubles, where: Doubles) -> Doubles:
        """Local lines through `values` (N, …) found at frames `at`, read off at frames `where`."""
        x = at[None, :] - where[:, None]
        weights = np.exp(-0.5 * (x / self.config.smoothing) ** 2) + 1e-12
        flat = values.reshape(len(at), -1)
        s0, s1, s2 = weights.sum(axis=1), (weights * x).sum(axis=1), (weights * x * x).sum(axis=1)
        t0, t1 = weights @ flat, (weights * x) @ flat
        spread = s0 * s2 - s1 * s1
        sloped = spread > 1e-3 * s0 * s0
        safe = np.where(sloped, spread, 1.0)[:, None]
        line = (s2[:, None] * t0 - s1[:, None] * t1) / safe
        out = np.where(sloped[:, None], line, t0 / s0[:, None])
        return np.asarray(out.reshape(len(where), *values.shape[1:]), dtype=np.float64)

    def _envelope(self, track: _Track, index: int) -> Doubles:
        """Smoothed box at a finding, widened so that it would hold the findings of the frames beside it, too."""
        if not self.config.smoothing:
            return np.asarray(track.faces[track.at.index(index)].box, dtype=np.float64)
        reach = _STEADY + 4 * self.config.smoothing
        near = [place for place, found in enumerate(track.at) if abs(found - index) <= reach]
        at = np.array([track.at[place] for place in near], dtype=np.float64)
        boxes = np.array([track.faces[place].box for place in near], dtype=np.float64)
        beside = np.abs(at - index) <= _STEADY
        smooth = self._smooth(at, boxes, at[beside])
        out = np.array([-1.0, -1.0, 1.0, 1.0])
        over = np.maximum((boxes[beside] - smooth) * out, 0).max(axis=0)
        return np.asarray(smooth[int(np.flatnonzero(at[beside] == index)[0])] + over * out)

    def _face(
        self, nearest: Face, box: Doubles, track: _Track, index: int, origin: str, *, points: bool = True
    ) -> Face | None:
        if self._size is not None:
            box = np.clip(box, 0, np.tile(np.array(self._size, dtype=np.float64), 2))
        if not (box[2:] - box[:2] >= 1).all():
            return None
        changes: dict[str, Any] = {"box": box.astype(np.float32), "track": track.number}
        if origin:
            changes["origin"] = origin
        for name in ("keypoints", "landmarks5"):
            known = [
                (at, value)
                for at, f in zip(track.at, track.faces, strict=True)
                if (value := getattr(f, name)) is not None
            ]
            changes[name] = self._points(known, index) if points and known else None
        return dataclasses.replace(nearest, **changes)

    def _points(self, known: list[tuple[int, npt.NDArray[np.float32]]], index: int) -> npt.NDArray[np.float32]:
        frames = [frame for frame, _ in known]
        place = bisect_left(frames, index)
        ends = [index] if index in frames else frames[max(0, place - 1) : place + 1]
        reach = 4 * self.config.smoothing + 1
        known = [pair for pair in known if ends[0] - reach <= pair[0] <= ends[-1] + reach]
        at = np.array([frame for frame, _ in known], dtype=np.float64)
        values = np.stack([value for _, value in known]).astype(np.float64)
        where = np.array(ends, dtype=np.float64)
        found = self._smooth(at, values, where) if self.config.smoothing else values[np.searchsorted(at, where)]
        share = (index - ends[0]) / (ends[1] - ends[0]) if len(ends) == 2 else 0.0
        value = found[0] if len(ends) == 1 else (1 - share) * found[0] + share * found[1]
        if value.shape[-1] == 3:
            value[..., 2] = np.clip(value[..., 2], 0, 1)
        return np.asarray(value, dtype=np.float32)


def _order(face: Face) -> tuple[float, ...]:
    return (-float(face.score), *(float(v) for v in face.box))


def _distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Between two boxes: how far apart their centres are, in sizes, plus how much their sizes differ; inf beyond sense."""
    p, q = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    sizes = [max(1.0, float(np.sqrt(max(0.0, float((v[2] - v[0]) * (v[3] - v[1])))))) for v in (p, q)]
    ratio = max(sizes) / min(sizes)
    if ratio > _MAX_RATIO:
        return float("inf")
    centre = (p[:2] + p[2:] - q[:2] - q[2:]) / 2
    return float(np.hypot(*centre)) / (sum(sizes) / 2) + 0.5 * float(np.log(ratio))
