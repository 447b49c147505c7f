"""From the frames of a film to the faces in each of them: looked for, joined to tracks, given to people, judged.

`Following` looks; `Given` takes the faces from a file. Both hand every frame on with all of its faces, `look_ahead` frames
after it came, when a policy's jury has seen what it needs of the frames around.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import numpy as np

from fdf.anonymize.base import Face, Result
from fdf.anonymize.container import Slot, Source
from fdf.anonymize.film_faces import FacesReader, Followed
from fdf.anonymize.film_options import VideoOptions, VideoResult
from fdf.anonymize.jury import Jury
from fdf.anonymize.looking import Look, Looking
from fdf.anonymize.people import People
from fdf.anonymize.scenes import Thumbnail
from fdf.anonymize.tracking import Covered, Tracker, TrackingConfig
from fdf.errors import DataError, FdfError
from fdf.vision.base import Part, Pixels

_MIN_FRAMES, _MAX_FRAMES = 8, 60  # of hold and look_ahead when they come from the frame rate
_HELD_SECONDS: Final = 0.5
_BUFFER_BYTES: Final = 320 << 20  # most that look-ahead frames may fill
ADAPTIVE: Final = 4
"""Frames from one look to the next at most where nothing happens …"""
_UNSEEN_SECONDS: Final = 0.13
"""… and seconds: a film of few frames a second is looked at more closely, a time-lapse in every frame."""


class Hides(Protocol):
    """What is needed of `fdf.Anonymizer`."""

    def detect(self, picture: Pixels, part: Part | None = None) -> list[Face]:
        """The faces of a picture, or of a part of it, in pixels of the picture; called from several threads at once."""
        ...

    def render(self, picture: Pixels, faces: list[Face]) -> Result:
        """Hide them; nothing is looked for."""
        ...


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame with all of its faces, in the order of their tracks."""

    slot: Slot
    faces: list[Followed]


class Following:
    """Looks for the faces of one film.

    Args:
        source: gives the frames.
        anonymizer: its `detect` is called from several threads.
        options: how closely to look.
        people: tells tracks apart.
        jury: sees every frame; None without a policy.
        result: gets what was looked at and found.
        workers: threads that detect.
    """

    def __init__(
        self,
        source: Source,
        anonymizer: Hides,
        options: VideoOptions,
        people: People,
        jury: Jury | None,
        result: VideoResult,
        workers: int,
    ) -> None:
        self._source, self._anonymizer, self._options, self._people = source, anonymizer, options, people
        self._jury, self._result, self._workers = jury, result, workers
        self._slots: dict[int, Slot] = {}
        self._persons: dict[int, int] = {}
        getattr(anonymizer, "finder", None)  # made here, not by two threads at once

    def frames(self, decoded: Iterator[tuple[Slot, Thumbnail]]) -> Iterator[Frame]:
        """Every frame of the source, in order."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="detect")
        try:
            for covered in self._covered(decoded, pool):
                yield self._ready(covered)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        self._result.people = len(set(self._persons.values()))

    def _covered(self, decoded: Iterator[tuple[Slot, Thumbnail]], pool: ThreadPoolExecutor) -> Iterator[Covered]:
        looking: Looking | None = None
        tracker: Tracker | None = None
        every = self._options.every
        for slot, thumbnail in decoded:
            self._slots[slot.index] = slot
            if looking is None or tracker is None:
                config = tracking_of(self._options, self._source, slot.frame, self._result)
                if self._jury is not None:
                    self._jury.reach = config.look_ahead
                tracker = Tracker(config, self._source.size)
                fps, reach = float(self._source.fps), config.hold + config.look_ahead
                interval = interval_of(every, fps, reach, showing=self._jury is not None)
                looking = Looking(
                    lambda index, parts: pool.submit(self._detect, self._slots[index], parts),
                    interval=interval,
                    adaptive=every == "adaptive",
                    size=self._source.size,
                    # All frames between looks under way wait in memory.
                    ahead=max(1, (self._workers + 1) * ADAPTIVE // max(interval, ADAPTIVE)),
                )
            yield from self._tracked(tracker, looking.add(slot.index, thumbnail))
        if looking is not None and tracker is not None:
            yield from self._tracked(tracker, looking.finish())
            yield from tracker.finish()
            self._result.looked, self._result.parts = looking.looked, looking.parts
            self._result.cuts, self._result.tracks = looking.cuts, tracker.count

    def _tracked(self, tracker: Tracker, looks: Iterator[Look]) -> Iterator[Covered]:
        for look in looks:
            self._result.found += len(look.faces or ())
            covered = tracker.push(look.index, look.faces, cut=look.cut)
            if self._jury is not None:
                frame = self._slots[look.index].frame
                self._jury.look(look.index, tracker.found(look.index), partial(self._source.upright, frame))
            yield from covered

    def _detect(self, slot: Slot, parts: Sequence[Part]) -> list[Face]:
        try:
            picture = self._source.upright(slot.frame)
            return [face for part in parts or (None,) for face in self._look(picture, part)]
        except Exception as error:
            if not self._source.live:
                raise stopped("Detection", slot, self._source, error) from error
            self._result.blind += 1
            width, height = self._source.size
            # A face as large as the frame: the tracker holds it for the frames around, too.
            return [Face(np.array([0, 0, width, height], dtype=np.float32))]

    def _look(self, picture: Pixels, part: Part | None) -> list[Face]:
        side, longest = self._options.detect_side, max(picture.shape[:2])
        if not side or side >= longest:
            return self._anonymizer.detect(picture, part)
        import cv2

        height, width = (max(1, round(v * side / longest)) for v in picture.shape[:2])
        small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        scale = picture.shape[1] / width, picture.shape[0] / height
        if part is not None:
            x0, y0 = (int(v / by) for v, by in zip(part[:2], scale, strict=True))
            x1, y1 = (math.ceil(v / by) for v, by in zip(part[2:], scale, strict=True))
            part = Part(x0, y0, min(x1, width), min(y1, height))
        return [face.mapped(scale) for face in self._anonymizer.detect(small, part)]

    def _ready(self, covered: Covered) -> Frame:
        """A frame with its faces, each with the number of its person."""
        present = {self._persons[f.track] for f in covered.faces if f.track in self._persons}
        faces = []
        for face, at in zip(covered.faces, covered.sources, strict=True):
            track = face.track if face.track is not None else -1
            if track not in self._persons:
                # A track first comes up in a frame before its first finding; that one's picture is among those to come.
                seen = partial(self._source.upright, self._slots[at].frame)
                person = self._people.number(face, seen, present)
                self._persons[track] = person
                present.add(person)
            faces.append(Followed(face, self._persons[track]))
        return Frame(self._slots.pop(covered.index), faces)


class Given:
    """Takes the faces of a film from a file; a jury still looks at all of them, a tracker's guesses too.

    Args:
        source: gives the frames.
        reader: of the file.
        options: as the film is anonymized.
        jury: sees every frame; None without a policy.
        result: gets what was found.
    """

    def __init__(
        self, source: Source, reader: FacesReader, options: VideoOptions, jury: Jury | None, result: VideoResult
    ) -> None:
        self._source, self._reader, self._options, self._jury = source, reader, options, jury
        self._result = result

    def frames(self, decoded: Iterator[Slot]) -> Iterator[Frame]:
        """Every frame of the source, in order; those that the jury still waits for are held back."""
        tracks: set[int | None] = set()
        people: set[int | None] = set()
        held: deque[Frame] = deque()
        reach: int | None = None
        for slot in decoded:
            faces = self._reader.faces(slot.index, seconds(slot, self._source), self._source.size)
            tracks.update(one.face.track for one in faces)
            people.update(one.drawn.track for one in faces)
            held.append(Frame(slot, faces))
            if self._jury is not None:
                if reach is None:
                    reach = tracking_of(self._options, self._source, slot.frame, self._result).look_ahead
                    self._jury.reach = reach
                found = [(one.face.track, one.face) for one in faces if one.face.track is not None]
                self._jury.look(slot.index, found, partial(self._source.upright, slot.frame))
            if len(held) > (reach or 0):
                yield held.popleft()
        yield from held
        self._result.tracks, self._result.people = len(tracks - {None}), len(people - {None})


def interval_of(every: int | str, fps: float, reach: int, *, showing: bool) -> int:
    """Frames from one look to the next at most: no more than the tracker bridges.

    Args:
        every: as it was asked for: a number of frames, or `adaptive`.
        fps: frames a second.
        reach: frames that a face is held and looked ahead for, together.
        showing: whether somebody may be shown, in whose place somebody else might stand in any frame: then all are looked at.
    """
    if showing:
        return 1
    wanted = every if isinstance(every, int) else min(max(round(fps * _UNSEEN_SECONDS), 1), ADAPTIVE)
    return min(wanted, reach + 1)


def tracking_of(options: VideoOptions, source: Source, frame: Any, result: VideoResult) -> TrackingConfig:
    """Hold and look-ahead in frames; a note goes into the result if frames are too large for half a second of them."""
    half = round(min(max(float(source.fps) * _HELD_SECONDS, _MIN_FRAMES), _MAX_FRAMES))
    hold, ahead = options.hold, options.look_ahead
    if ahead is None:
        bits = getattr(frame.format, "bits_per_pixel", 0) or 24
        room = _BUFFER_BYTES // max(1, frame.width * frame.height * bits // 8)
        ahead = min(half, max(_MIN_FRAMES, int(room)))
        if ahead < half:
            result.notes.append(f"frames are so large that look-ahead is {ahead} frames instead of {half}")
    return TrackingConfig(hold=half if hold is None else hold, look_ahead=ahead)


def seconds(slot: Slot, source: Source) -> float:
    """When a frame is shown, from the beginning of the film."""
    return float(slot.pts * source.time_base) - source.origin


def stopped(what: str, slot: Slot, source: Source, error: Exception) -> FdfError:
    """The error of a run that a detector or a method has ended."""
    return DataError(
        f"{what} failed in frame {slot.index} of {source.name} ({seconds(slot, source):.2f} s)",
        got=f"{type(error).__name__}: {error}",
        action="Nothing was written",
    )
