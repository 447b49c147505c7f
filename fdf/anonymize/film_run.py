"""One film on its way: in one pass, or in two.

Three kinds of threads pass frames on in order: one decodes and some detect, while the one that was called draws and writes.
With a policy a file goes through twice: the first time everything is found, tracked and judged and nothing is written, the
second time it is rendered by what was found. In between the faces lie in a file without a name, so memory follows the size of
a frame and the look-ahead, not how long the film is.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from fdf.anonymize.base import Face
from fdf.anonymize.container import Slot, Source
from fdf.anonymize.film_faces import FacesReader, FacesWriter
from fdf.anonymize.film_following import Following, Frame, Given, Hides, seconds, stopped
from fdf.anonymize.film_line import Line
from fdf.anonymize.film_options import VideoOptions, VideoResult
from fdf.anonymize.film_sink import Sink
from fdf.anonymize.jury import Jury
from fdf.anonymize.people import People
from fdf.anonymize.scenes import Thumbnail
from fdf.store.files import file_sha256
from fdf.vision.base import Pixels

_DECODED: Final = 4  # frames decoded in advance
_DRAWN: Final = 2  # frames that wait to be drawn
_PATIENCE: Final = (
    0.5  # seconds: a stream may be waiting for its host; its thread closes it when that answers or times out
)

Progress = Callable[[int, int | None], None]
"""Called with the frames done and how many there are, if that is known; both passes count."""


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be done with a film.

    Attributes:
        source: path, URL or device.
        live: it is a stream.
        anonymizer: finds and hides faces; its `policy`, if it has one, says who stays.
        options: how.
        people: tells tracks apart.
        stop: ends a run that Ctrl-C ends in good order: of a stream, or on a screen.
        stoppable: it is such a run.
        progress: called now and then.
    """

    source: str
    live: bool
    anonymizer: Hides
    options: VideoOptions
    people: People
    stop: threading.Event
    stoppable: bool
    progress: Progress | None

    @property
    def policy(self) -> Any:
        """Of the anonymizer; None hides everybody."""
        return getattr(self.anonymizer, "policy", None)

    @property
    def twice(self) -> bool:
        """Whether the film goes through twice: a policy has the last word only when it has seen everything."""
        return self.policy is not None and not self.live

    @property
    def name(self) -> str:
        """For logs and files: an address may hold a password."""
        return "stream" if self.live else Path(self.source).name

    def open(self) -> Source:
        """The source, from its beginning."""
        options = self.options
        start, end = (options.start, options.end) if options.trim else (0.0, None)
        return Source(self.source, live=self.live, start=start, end=end, partial=options.partial)


class Run:
    """A film under way.

    Args:
        order: what is to be done.
        spool: file for the faces of all frames, opened for writing and reading; needed for two passes.
        known: file with the faces, opened for bytes, instead of looking for them.
    """

    def __init__(self, order: Order, spool: IO[bytes] | None, known: IO[bytes] | None) -> None:
        self._order, self._spool = order, spool
        self._reader = None if known is None else FacesReader(known, Path(known.name).name, order.name, order.people)
        self._counts: Counter[str] = Counter()
        self._result = VideoResult()
        self._tail: list[Any] = []
        self._done = 0

    @cached_property
    def _jury(self) -> Jury | None:
        order = self._order
        if order.policy is None:
            return None
        # A stream has no SHA-256: rules for certain files are not for it.
        return Jury(order.policy, "" if order.live else file_sha256(Path(order.source)), 0)

    def judge(self, source: Source) -> None:
        """The first of two passes: everything is found and judged. The source is closed afterwards.

        Raises:
            KeyboardInterrupt: the run was stopped; there is nothing to show yet.
        """
        with self._line(source) as line:
            for frame in self._found(source, line):
                self._decided(frame)
                self._told_progress(source)
            line.check()
            self._check_end()
        if self._order.stoppable and self._order.stop.is_set():
            raise KeyboardInterrupt
        if self._jury is not None:
            self._jury.settle()
        if self._reader is not None:
            self._reader.again()
        elif self._spool is not None:
            self._spool.seek(0)
            self._reader = FacesReader(self._spool, "the first pass", self._order.name)

    def write(self, source: Source, sink: Sink) -> None:
        """The only pass, or the second: every frame goes into the sink. The source is closed afterwards."""
        twice = self._order.twice
        with self._line(source) as line:
            once = None if twice else self._decisions(self._found(source, line))
            for slot, hidden in self._again(source, line) if once is None else line.ahead(once, _DRAWN):
                if not slot.wanted:
                    slot.audio = []
                    continue
                self._result.filled += sum(face.origin == "track" for face in hidden)
                sink.write(slot, self._picture(slot, hidden, source) if hidden else None)
                self._told_progress(source)
            line.check()
            self._check_end()
            sink.sound(self._tail)

    def audited(self) -> list[dict[str, Any]]:
        """Rows of the audit log: one for each change of a track, and one for each person who was drawn."""
        rows = self._jury.rows if self._jury is not None else []
        drawn: list[dict[str, Any]] = getattr(self._order.anonymizer, "drain", list)()
        # What methods get for a track is the number of a person: no rule of a policy can name it.
        named = ({("drawn_as" if key == "track" else key): value for key, value in row.items()} for row in drawn)
        return [*rows, *({**row, "input": self._order.name} for row in named)]

    def told(self, source: Source, sink: Sink) -> VideoResult:
        """The result, once everything is written."""
        result, options = self._result, self._order.options
        result.frames = sink.frames
        result.methods = {k: v for k, v in sorted(self._counts.items()) if k not in {"faces", "fell_back"}}
        result.covered, result.fell_back = self._counts["faces"], self._counts["fell_back"]
        width, height = source.size
        result.size = (width + width % 2, height + height % 2)
        if result.size != source.size:
            result.notes.append("odd sides are made even by repeating the last row or column")
        result.shown = 0 if self._jury is None else self._jury.shown
        result.audio, result.removed = sink.sounds, source.removed
        result.notes += source.notes
        if sink.lost:
            result.notes.append(f"audio packets that could not be used: {sink.lost}")
        if source.damage:
            result.whole = False
            first = ", ".join(dict.fromkeys(source.damage))
            result.notes.append(
                f"damaged in {len(source.damage)} place(s): {first}; what could not be decoded is missing"
            )
        if (options.start or options.end is not None) and not options.trim:
            result.notes.append("--from and --to without --trim: the rest is in the target, too, anonymized alike")
        if self._jury is not None and self._order.live:
            result.notes.append(
                "a stream goes through once: someone who is denied is hidden from shortly before they are recognized, "
                "not in what was written before"
            )
        return result

    # The steps.

    def _line(self, source: Source) -> Line:
        return Line(_PATIENCE if source.live else None)

    def _found(self, source: Source, line: Line) -> Iterator[Frame]:
        """Frames with their faces: looked for, or taken from the file."""
        order = self._order
        if self._reader is not None:
            given = Given(source, self._reader, order.options, self._jury, self._result)
            return given.frames(self._ahead(self._slots(source), source, line))
        workers = order.options.workers or min(4, os.cpu_count() or 1)
        writer = None if self._spool is None else FacesWriter(self._spool, order.name)
        following = Following(source, order.anonymizer, order.options, order.people, self._jury, self._result, workers)
        frames = following.frames(self._ahead(self._seen(source), source, line))
        return frames if writer is None else self._noted(frames, writer, source)

    def _noted(self, frames: Iterator[Frame], writer: FacesWriter, source: Source) -> Iterator[Frame]:
        with contextlib.closing(frames):  # type: ignore[type-var]
            for frame in frames:
                writer.add(seconds(frame.slot, source), source.size, frame.faces)
                yield frame

    def _check_end(self) -> None:
        """A file with more frames than the film is of another one."""
        if self._reader is not None and not self._stopped:
            self._reader.end()

    def _decisions(self, frames: Iterator[Frame]) -> Iterator[tuple[Slot, list[Face]]]:
        """Frames with the faces to hide. In the thread that looks: what a jury has seen must not depend on who is faster."""
        with contextlib.closing(frames):  # type: ignore[type-var]
            for frame in frames:
                yield frame.slot, self._decided(frame)

    def _again(self, source: Source, line: Line) -> Iterator[tuple[Slot, list[Face]]]:
        """Frames with the faces to hide, by what the first pass found and decided."""
        reader = self._reader
        if reader is None:
            raise RuntimeError("Run.write: a run in two passes begins with `judge`.")
        for slot in self._ahead(self._slots(source), source, line):
            yield slot, self._hidden(Frame(slot, reader.faces(slot.index, seconds(slot, source), source.size)))

    def _ahead(self, items: Iterator[Any], source: Source, line: Line) -> Iterator[Any]:
        return line.ahead(items, _DECODED, stopped=lambda: self._stopped, after=source.close)

    def _slots(self, source: Source) -> Iterator[Slot]:
        for slot in source.slots():
            if self._stopped:
                break
            yield slot
        self._tail = getattr(source, "tail", [])

    def _seen(self, source: Source) -> Iterator[tuple[Slot, Thumbnail]]:
        for slot in self._slots(source):
            yield slot, source.thumbnail(slot.frame)

    # What they do.

    @property
    def _stopped(self) -> bool:
        return self._order.stoppable and self._order.stop.is_set()

    def _decided(self, frame: Frame) -> list[Face]:
        """The faces to hide, by what is known so far."""
        jury, name, index = self._jury, self._order.name, frame.slot.index
        if jury is not None:
            jury.untracked(index, [one.face for one in frame.faces if one.face.track is None], name)
        return [
            one.drawn
            for one in frame.faces
            if jury is None or one.face.track is None or not jury.judge(index, one.face.track, one.face, name)
        ]

    def _hidden(self, frame: Frame) -> list[Face]:
        """The faces to hide, when everything is known."""
        jury, index = self._jury, frame.slot.index
        return [
            one.drawn
            for one in frame.faces
            if jury is None or one.face.track is None or not jury.stays(index, one.face.track)
        ]

    def _picture(self, slot: Slot, faces: list[Face], source: Source) -> Pixels:
        picture = source.upright(slot.frame)
        try:
            done = self._order.anonymizer.render(picture, faces)
        except Exception as error:
            if not source.live:
                raise stopped("Hiding", slot, source, error) from error
            self._result.blind += 1
            return np.zeros_like(picture)
        self._counts.update(done.counts)
        return done.picture

    def _told_progress(self, source: Source) -> None:
        self._done += 1
        if self._order.progress is not None:
            total = source.expected
            self._order.progress(self._done, total if total is None else total * (1 + self._order.twice))
