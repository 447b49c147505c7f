"""Films and streams without faces.

    from fdf.anonymize.video import VideoOptions, anonymize_video
    result = anonymize_video("party.mp4", Path("out.mp4"), fdf.Anonymizer("blur"), VideoOptions(audio="distort"))

Three kinds of threads pass frames on in order: one decodes, some detect, one draws and encodes. In between the tracker keeps
`look_ahead` frames back, so that a face is covered before it is found. Memory depends on that and on the size of a frame,
not on how long the film is.

It fails closed. The target appears under its name when it is whole and never before. What can't be decoded, and a detector
that fails, end the run; a stream, which can't be run again, is covered whole around such a frame.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from fdf.anonymize.audio import AUDIO_CHOICES, AudioChoice
from fdf.anonymize.audit_log import AuditLog
from fdf.anonymize.base import Face, Result
from fdf.anonymize.container import CODECS, Sink, Slot, Source, container_of, is_stream
from fdf.anonymize.jury import Jury
from fdf.anonymize.looking import Look, Looking
from fdf.anonymize.people import People
from fdf.anonymize.tracking import Covered, Tracker, TrackingConfig
from fdf.errors import DataError, FdfError, UsageError
from fdf.store.files import atomic_file, file_sha256
from fdf.vision.base import Pixels

_DECODED: Final = 6  # frames decoded in advance
_DRAWN: Final = 4  # frames that wait to be drawn
_POLL: Final = 0.2  # seconds after which a waiting thread looks whether the run has ended
_MIN_FRAMES, _MAX_FRAMES = 8, 60  # of hold and look_ahead when they come from the frame rate
_HELD_SECONDS: Final = 0.5
_BUFFER_BYTES: Final = 320 << 20  # most that look-ahead frames may fill
ADAPTIVE: Final = 4
"""Frames from one look to the next at most where nothing happens."""

Progress = Callable[[int, int | None], None]
"""Called with the frames done and how many there are, if that is known."""


class Hides(Protocol):
    """What is needed of `fdf.Anonymizer`."""

    def detect(self, picture: Pixels) -> list[Face]:
        """The faces of a picture; called from several threads at once."""
        ...

    def render(self, picture: Pixels, faces: list[Face]) -> Result:
        """Hide them; nothing is looked for."""
        ...


@dataclass(frozen=True)
class VideoOptions:
    """How a film is anonymized.

    Attributes:
        start: seconds from the beginning; `--from`.
        end: seconds; `--to`.
        trim: leave everything outside start–end out. Without it that is anonymized like the rest.
        audio: keep, drop or distort.
        every: look at every N-th frame; "adaptive" looks at every fourth and in between where anything happens.
        hold: frames that a face stays covered after it was last found; None for half a second.
        look_ahead: frames that it is covered before it is first found; None for half a second.
        codec: h264, h265, vp9 or av1; None for what suits the container.
        quality: constant rate factor, 0 (best) to 63; None for the codec's default.
        partial: write what can be decoded of a damaged film.
        workers: threads that detect; None for one a core, four at most.
        detect_side: shrink pictures to this long side before they are looked at; 0 leaves that to the detector.
    """

    start: float = 0.0
    end: float | None = None
    trim: bool = False
    audio: AudioChoice = "keep"
    every: int | str = "adaptive"
    hold: int | None = None
    look_ahead: int | None = None
    codec: str | None = None
    quality: int | None = None
    partial: bool = False
    workers: int | None = None
    detect_side: int = 0

    def __post_init__(self) -> None:
        _expect(self.start >= 0, "--from", "0 or more seconds", self.start)
        _expect(self.end is None or self.end > self.start, "--to", "more seconds than --from", self.end)
        _expect(self.audio in AUDIO_CHOICES, "--audio", ", ".join(AUDIO_CHOICES), self.audio)
        whole = isinstance(self.every, int) and self.every >= 1
        _expect(whole or self.every == "adaptive", "--every", "1 or more, or adaptive", self.every)
        for name, frames in (("--hold", self.hold), ("--look-ahead", self.look_ahead)):
            _expect(frames is None or 0 <= frames <= 1000, name, "0–1000 frames", frames)
        _expect(self.codec is None or self.codec in CODECS, "--codec", ", ".join(CODECS), self.codec)
        _expect(self.quality is None or 0 <= self.quality <= 63, "--quality", "0 (best) to 63", self.quality)
        _expect(self.workers is None or self.workers >= 1, "workers", "1 or more", self.workers)
        _expect(
            self.detect_side == 0 or self.detect_side >= 64, "detect_side", "64 or more pixels, or 0", self.detect_side
        )
        _expect(
            not self.trim or bool(self.start) or self.end is not None, "--trim", "--from or --to with it", "neither"
        )


@dataclass
class VideoResult:
    """What became of a film.

    Attributes:
        frames: written.
        looked: frames that the detector looked at.
        found: faces that it found in them.
        covered: faces that were hidden, over all frames.
        shown: faces that the anonymizer's policy left as they were, over all frames.
        filled: of these, those where nothing was found in that very frame.
        tracks: faces followed.
        people: different people, if an embedder tells them apart; otherwise the same as tracks.
        cuts: scenes ended.
        methods: faces hidden by each method.
        fell_back: faces that the method asked for could not do.
        blind: frames of a stream that were covered whole because detection failed.
        size: width and height as written.
        audio: what became of the sound, in words.
        removed: what the target does not hold of the source, in words.
        notes: everything else worth knowing.
        whole: whether every frame of the source could be decoded.
    """

    frames: int = 0
    looked: int = 0
    found: int = 0
    covered: int = 0
    shown: int = 0
    filled: int = 0
    tracks: int = 0
    people: int = 0
    cuts: int = 0
    methods: dict[str, int] = field(default_factory=dict)
    fell_back: int = 0
    blind: int = 0
    size: tuple[int, int] = (0, 0)
    audio: str = ""
    removed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    whole: bool = True


class FilmFinder:
    """The detector for films: CenterFace, one look at up to `side` pixels and one at a third of that for close-ups.

    Pictures get several looks each; a film has many pictures of a face, and a tracker.
    """

    def __init__(self, side: int = 1280, threshold: float = 0.25, *, threads: int = 1) -> None:
        from fdf.vision.centerface import CenterFace, CenterFaceConfig

        config = CenterFaceConfig(score=threshold, min_side=min(640, side), max_side=side)
        self._detector = CenterFace(config, threads=threads)

    def find(self, picture: Pixels) -> list[Face]:
        """The faces of a picture, by falling score."""
        found = self._detector.detect([picture])[0]
        five = [None] * len(found) if found.landmarks5 is None else list(found.landmarks5)
        rows = zip(found.boxes, found.scores, five, strict=True)
        return [Face(box, float(score), landmarks5=points) for box, score, points in rows]


def anonymize_video(
    source: str | Path,
    target: Path,
    anonymizer: Hides,
    options: VideoOptions | None = None,
    *,
    people: People | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    audit: AuditLog | None = None,
) -> VideoResult:
    """Anonymize a film, or a device or network stream until it ends or Ctrl-C ends it.

    Args:
        source: path, URL or device.
        target: film to write; it appears when it is whole.
        anonymizer: finds and hides faces.
        options: how.
        people: tells tracks apart; share one among the films of a project that are to agree. None: a person a track.
        progress: called now and then.
        stop: ends a stream when set, as Ctrl-C does.
        audit: gets what the anonymizer's policy decided, before the target gets its name.

    Raises:
        DataError: the source is no film or damaged; nothing is written.
        MachineError: PyAV is missing; the disk or a device refuses.
        UsageError: a target that can't be written.
        KeyboardInterrupt: Ctrl-C while reading a file; nothing is written.
    """
    options = options or VideoOptions()
    container = container_of(target)
    live = is_stream(source)
    if not live and target.exists() and Path(source).exists() and target.samefile(source):
        raise UsageError(
            f"{target} is source and target at once", action="Choose another name; a film is never written over itself"
        )
    codec = options.codec or ("vp9" if container == "webm" else "h264")
    if container == "webm" and codec not in {"vp9", "av1"}:
        raise UsageError(f"WebM holds no {codec}", expected="--codec vp9 or av1", action="Or write .mp4 or .mkv")
    stop = stop or threading.Event()
    opened = Source(
        str(source),
        live=live,
        start=options.start if options.trim else 0.0,
        end=options.end if options.trim else None,
        partial=options.partial,
    )
    run = _Run(opened, anonymizer, options, people or People(), stop, progress)
    with atomic_file(target) as file, _ctrl_c(stop) if live else contextlib.nullcontext():
        offset = Fraction(0)
        if options.trim:
            offset = Fraction(options.start).limit_denominator(1_000_000) + Fraction(opened.origin).limit_denominator(
                90_000
            )
        sink = Sink(file, container, opened, codec=codec, quality=options.quality, audio=options.audio, offset=offset)
        try:
            run.all(sink)
            if not sink.frames:
                raise DataError(
                    f"{source} has no frame between the times asked for" if options.trim else f"{source} gave no frame",
                    action="Nothing was written",
                )
            sink.close()
            if audit is not None:
                audit.append(run.audited())
        except BaseException:
            sink.abandon()
            raise
    return run.told(sink)


class _Run:
    """One film on its way through the threads."""

    def __init__(
        self,
        source: Source,
        anonymizer: Hides,
        options: VideoOptions,
        people: People,
        stop: threading.Event,
        progress: Progress | None,
    ) -> None:
        self._source, self._anonymizer, self._options, self._people = source, anonymizer, options, people
        self._stop, self._progress = stop, progress
        self._over = threading.Event()  # nobody waits for anything any more
        self._written = threading.Event()
        self._failure: BaseException | None = None
        self._slots: dict[int, Slot] = {}
        self._persons: dict[int, int] = {}
        self._counts: Counter[str] = Counter()
        self._result = VideoResult()
        self._tail: list[Any] = []
        self._policy = getattr(anonymizer, "policy", None)
        self._jury: Jury | None = None
        getattr(anonymizer, "finder", None)  # made here, not by two threads at once

    def all(self, sink: Sink) -> None:
        """Run until the source ends; raises whatever went wrong in any thread."""
        decoded: queue.Queue[tuple[Slot, Any] | None] = queue.Queue(_DECODED)
        drawn: queue.Queue[tuple[Slot, list[Face]] | None] = queue.Queue(_DRAWN)
        reader = threading.Thread(target=self._reading, args=(decoded,), daemon=True)
        writer = threading.Thread(target=self._guarded, args=(self._write, drawn, sink), daemon=True)
        workers = self._options.workers or min(4, os.cpu_count() or 1)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="detect")
        reader.start()
        writer.start()
        try:
            for covered in self._covered(decoded, pool, workers):
                if not self._put(drawn, self._ready(covered)):
                    break
            self._put(drawn, None)
            while writer.is_alive():
                writer.join(_POLL)
        finally:
            self._over.set()
            pool.shutdown(wait=True, cancel_futures=True)
            writer.join()
            self._written.set()
            # A stream may be waiting for its host; the thread closes it when that answers or times out.
            reader.join(None if not self._source.live else 2 * _POLL)
        if self._failure is not None:
            raise self._failure

    def audited(self) -> list[dict[str, Any]]:
        """Rows of the audit log: one for each change of a track, and one for each face that was drawn."""
        drain = getattr(self._anonymizer, "drain", list)
        rows = self._jury.rows if self._jury is not None else []
        return [*rows, *({**row, "input": self._shown_name} for row in drain())]

    @property
    def _shown_name(self) -> str:
        """For the log: an address may hold a password."""
        return "stream" if self._source.live else Path(self._source.name).name

    def told(self, sink: Sink) -> VideoResult:
        """The result, once everything is written."""
        result, source = self._result, self._source
        result.frames = sink.frames
        result.methods = {k: v for k, v in sorted(self._counts.items()) if k not in {"faces", "fell_back"}}
        result.covered, result.fell_back = self._counts["faces"], self._counts["fell_back"]
        width, height = source.size
        result.size = (width + width % 2, height + height % 2)
        if result.size != source.size:
            result.notes.append("odd sides are made even by repeating the last row or column")
        result.shown = 0 if self._jury is None else self._jury.shown
        result.people = len(set(self._persons.values()))
        result.audio = _audio_words(self._options.audio, sink)
        result.removed = source.removed
        result.notes += source.notes
        if sink.lost:
            result.notes.append(f"audio packets that could not be used: {sink.lost}")
        if source.damage:
            result.whole = False
            first = ", ".join(dict.fromkeys(source.damage))
            result.notes.append(
                f"damaged in {len(source.damage)} place(s): {first}; what could not be decoded is missing"
            )
        if (self._options.start or self._options.end is not None) and not self._options.trim:
            result.notes.append("--from and --to without --trim: the rest is in the target, too, anonymized alike")
        return result

    # The three stages.

    def _reading(self, out: queue.Queue[tuple[Slot, Any] | None]) -> None:
        self._guarded(self._read, out)
        # The writer reads from the source's streams, too: packets of sound are decoded there.
        self._written.wait()
        self._source.close()

    def _read(self, out: queue.Queue[tuple[Slot, Any] | None]) -> None:
        source = self._source
        for slot in source.slots():
            if self._over.is_set() or (source.live and self._stop.is_set()):
                break
            if not self._put(out, (slot, source.thumbnail(slot.frame))):
                return
        self._tail = getattr(source, "tail", [])
        self._put(out, None)

    def _covered(
        self, decoded: queue.Queue[tuple[Slot, Any] | None], pool: ThreadPoolExecutor, workers: int
    ) -> Iterator[Covered]:
        looking: Looking | None = None
        tracker: Tracker | None = None
        every = self._options.every
        while (item := self._get(decoded)) is not None:
            slot, thumbnail = item
            self._slots[slot.index] = slot
            if looking is None or tracker is None:
                width = self._source.size[0]
                config = self._tracking(slot.frame)
                tracker = Tracker(config, self._source.size)
                if self._policy is not None:
                    # A stream has no SHA-256: rules for certain files are not for it.
                    sha256 = "" if self._source.live else file_sha256(Path(self._source.name))
                    self._jury = Jury(self._policy, sha256, config.look_ahead)
                looking = Looking(
                    lambda index: pool.submit(self._detect, self._slots[index]),
                    interval=every if isinstance(every, int) else ADAPTIVE,
                    adaptive=every == "adaptive",
                    width=width,
                    ahead=workers + 1,
                )
            yield from self._tracked(tracker, looking.add(slot.index, thumbnail))
        if looking is not None and tracker is not None and self._failure is None:
            yield from self._tracked(tracker, looking.finish())
            yield from tracker.finish()
            self._result.looked, self._result.cuts, self._result.tracks = looking.looked, looking.cuts, tracker.count

    def _tracked(self, tracker: Tracker, looks: Iterator[Look]) -> Iterator[Covered]:
        for look in looks:
            self._result.found += len(look.faces or ())
            covered = tracker.push(look.index, look.faces, cut=look.cut)
            if self._jury is not None:
                frame = self._slots[look.index].frame
                self._jury.look(look.index, tracker.found(look.index), partial(self._source.upright, frame))
            yield from covered

    def _write(self, drawn: queue.Queue[tuple[Slot, list[Face]] | None], sink: Sink) -> None:
        while (item := self._get(drawn)) is not None:
            slot, faces = item
            if not slot.wanted:
                slot.audio = []
                continue
            sink.write(slot, self._picture(slot, faces) if faces else None)
            if self._progress is not None:
                self._progress(sink.frames, self._source.total)
        if not self._over.is_set():
            sink.sound(self._tail)

    # What they do.

    def _detect(self, slot: Slot) -> list[Face]:
        try:
            picture = self._source.upright(slot.frame)
            faces = self._look(picture)
        except Exception as error:
            if not self._source.live:
                raise _stopped("Detection", slot, self._source, error) from error
            self._result.blind += 1
            width, height = self._source.size
            # A face as large as the frame: the tracker holds it for the frames around, too.
            return [Face(np.array([0, 0, width, height], dtype=np.float32))]
        return faces

    def _look(self, picture: Pixels) -> list[Face]:
        side, longest = self._options.detect_side, max(picture.shape[:2])
        if not side or side >= longest:
            return self._anonymizer.detect(picture)
        import cv2

        height, width = (max(1, round(v * side / longest)) for v in picture.shape[:2])
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        scale = np.array([picture.shape[1] / width, picture.shape[0] / height], dtype=np.float32)
        return [_scaled(face, scale) for face in self._anonymizer.detect(np.asarray(small, dtype=np.uint8))]

    def _ready(self, covered: Covered) -> tuple[Slot, list[Face]]:
        """A frame with its faces, each under the number of its person."""
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
            # After that: the picture of a track's first finding is gone when a face that was shown is hidden at last.
            if self._jury is not None and self._jury.shows(covered.index, track, face, self._shown_name):
                continue
            faces.append(dataclasses.replace(face, track=self._persons[track]))
        slot = self._slots.pop(covered.index)
        if slot.wanted:
            self._result.filled += sum(face.origin == "track" for face in faces)
        return slot, faces

    def _picture(self, slot: Slot, faces: list[Face]) -> Pixels:
        picture = self._source.upright(slot.frame)
        try:
            done = self._anonymizer.render(picture, faces)
        except Exception as error:
            if not self._source.live:
                raise _stopped("Hiding", slot, self._source, error) from error
            self._result.blind += 1
            return np.zeros_like(picture)
        self._counts.update(done.counts)
        return done.picture

    def _tracking(self, frame: Any) -> TrackingConfig:
        half = round(min(max(float(self._source.fps) * _HELD_SECONDS, _MIN_FRAMES), _MAX_FRAMES))
        hold, ahead = self._options.hold, self._options.look_ahead
        if ahead is None:
            bits = getattr(frame.format, "bits_per_pixel", 0) or 24
            room = _BUFFER_BYTES // max(1, frame.width * frame.height * bits // 8)
            ahead = min(half, max(_MIN_FRAMES, int(room)))
            if ahead < half:
                self._result.notes.append(f"frames are so large that look-ahead is {ahead} frames instead of {half}")
        return TrackingConfig(hold=half if hold is None else hold, look_ahead=ahead)

    # How they wait.

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            if self._failure is None and not self._over.is_set():
                self._failure = _plain(error, self._source)
            self._over.set()

    def _put(self, into: queue.Queue[Any], item: Any) -> bool:
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                into.put(item, timeout=_POLL)
                return True
        return False

    def _get(self, out: queue.Queue[Any]) -> Any:
        while not self._over.is_set():
            with contextlib.suppress(queue.Empty):
                return out.get(timeout=_POLL)
            if self._source.live and self._stop.is_set() and threading.current_thread() is threading.main_thread():
                return None
        return None


@contextlib.contextmanager
def _ctrl_c(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C ends a stream as its end would; a second one breaks it off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _scaled(face: Face, scale: np.ndarray[Any, np.dtype[np.float32]]) -> Face:
    points = None
    if face.keypoints is not None:
        points = face.keypoints * np.append(scale, np.float32(1))
    five = None if face.landmarks5 is None else face.landmarks5 * scale
    return dataclasses.replace(face, box=face.box * np.tile(scale, 2), keypoints=points, landmarks5=five)


def _audio_words(choice: AudioChoice, sink: Sink) -> str:
    if choice == "drop":
        return "dropped"
    if not sink.tracks:
        return "none in the source"
    how = "; ".join(track.how for track in sink.tracks.values())
    return f"{how}: voices can be recognized" if choice == "keep" else how


def _stopped(what: str, slot: Slot, source: Source, error: Exception) -> FdfError:
    time = float(slot.pts * source.time_base) - source.origin
    return DataError(
        f"{what} failed in frame {slot.index} of {source.name} ({time:.2f} s)",
        got=f"{type(error).__name__}: {error}",
        action="Nothing was written",
    )


def _plain(error: BaseException, source: Source) -> BaseException:
    import av

    if isinstance(error, av.FFmpegError) and not isinstance(error, OSError):
        return DataError(f"{source.name} can't be written", got=str(error), action="Try another --codec or container")
    return error


def _expect(fits: bool, name: str, expected: str, got: object) -> None:
    if not fits:
        raise UsageError(f"{name} does not fit", expected=expected, got=str(got))
