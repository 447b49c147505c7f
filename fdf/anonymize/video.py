"""Films and streams without faces.

    from fdf.anonymize.video import VideoOptions, anonymize_video
    result = anonymize_video("party.mp4", Path("out.mp4"), fdf.Anonymizer("blur"), VideoOptions(audio="distort"))

It fails closed. The target appears under its name when it is whole and never before. What can't be decoded, and a detector
that fails, end the run; a stream, which can't be run again, is covered whole around such a frame.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

from fdf.anonymize.audit_log import AuditLog
from fdf.anonymize.base import Face
from fdf.anonymize.container import Source, is_stream
from fdf.anonymize.dissimilarity import is_generative
from fdf.anonymize.film_following import Hides
from fdf.anonymize.film_options import VideoOptions, VideoResult
from fdf.anonymize.film_run import Order, Progress, Run
from fdf.anonymize.film_sink import FilmSink, Sink, codec_of
from fdf.anonymize.people import People
from fdf.anonymize.screens import Screen, ScreenSink, is_screen, open_screen
from fdf.errors import DataError, UsageError
from fdf.store.files import atomic_file, disk_errors, make_folder
from fdf.vision.base import Detections, Part, Pixels

__all__ = ["FilmFinder", "Hides", "Progress", "VideoOptions", "VideoResult", "anonymize_video"]


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
        return _faces(self._detector.detect([picture])[0])

    def find_part(self, picture: Pixels, part: Part) -> list[Face]:
        """The faces of a part of a picture, in its pixels, at the scale at which the whole is looked at."""
        return _faces(self._detector.detect_part(picture, part))


def _faces(found: Detections) -> list[Face]:
    five = [None] * len(found) if found.landmarks5 is None else list(found.landmarks5)
    rows = zip(found.boxes, found.scores, five, strict=True)
    return [Face(box, float(score), landmarks5=points) for box, score, points in rows]


def anonymize_video(
    source: str | Path,
    target: str | Path,
    anonymizer: Hides,
    options: VideoOptions | None = None,
    *,
    people: People | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    audit: AuditLog | None = None,
) -> VideoResult:
    """Anonymize a film, or a device or network stream until it ends or Ctrl-C ends it.

    A film goes through twice if the anonymizer has a policy: who is denied in its last second is hidden in its first, too.

    Args:
        source: path, URL or device.
        target: film to write, which appears when it is whole; or `window:` or `camera:[NAME]`, which show frames as they come.
        anonymizer: finds and hides faces.
        options: how.
        people: tells tracks apart; share one among the films of a project that are to agree, and let it `begin` each of them.
            None: a person a track, whose numbers no other film has.
        progress: called now and then.
        stop: ends a stream or a show when set, as Ctrl-C does.
        audit: gets what the anonymizer's policy decided, before the target gets its name.

    Raises:
        DataError: the source is no film or damaged, or the detections don't fit it; nothing is written.
        MachineError: PyAV is missing; the disk, a device or a display refuses.
        UsageError: a target that can't be written.
        KeyboardInterrupt: Ctrl-C while reading a file; nothing is written.
    """
    options, live, shown = options or VideoOptions(), is_stream(source), is_screen(target)
    if not shown:
        codec_of(Path(target), options.codec)
        _check_same(source, Path(target), live=live)
    if options.detections is not None and live:
        raise UsageError("A stream never comes twice: no file can know its faces", action="Leave --detections out")
    stop = stop or threading.Event()
    stoppable = live or shown
    people = people or _strangers(source, anonymizer, options)
    order = Order(str(source), live, anonymizer, options, people, stop, stoppable, progress)
    opened = order.open()
    with contextlib.ExitStack() as stack:
        known = spool = None
        if options.detections is not None:
            known = stack.enter_context(_opened(options.detections))
        elif order.twice or options.save_detections is not None:
            spool = stack.enter_context(_spool(None if shown else Path(target).parent))
        run = Run(order, spool, known)
        if stoppable:
            stack.enter_context(_ctrl_c(stop))
        result = _through(order, run, opened, target, audit)
        if options.save_detections is not None:
            _copy(known or spool, options.save_detections)
    return result


def _strangers(source: str | Path, anonymizer: Hides, options: VideoOptions) -> People:
    """A person a track, known in no other film; where nothing is drawn nor saved, nobody asks."""
    people, given = People(), options.detections is not None
    draws = any(is_generative(getattr(anonymizer, name, None)) for name in ("method", "fallback"))
    if draws or (options.save_detections is not None and not given):
        part = (options.start, options.end) if options.trim else ()
        looks = ("given",) if given else (options.every, options.hold, options.look_ahead)
        people.begin(source, *looks, options.partial, *part)
    return people


def _through(order: Order, run: Run, opened: Source, target: str | Path, audit: AuditLog | None) -> VideoResult:
    """All passes; the target gets its name at the end."""
    with contextlib.ExitStack() as stack:
        screen = open_screen(target, opened) if is_screen(target) else None
        if screen is not None:
            stack.callback(screen.close)
        file = None if screen is not None else stack.enter_context(atomic_file(Path(target)))
        with _words_for_library(order.source):
            if order.twice:
                run.judge(opened)
                opened = order.open()
            sink = _sink(order, opened, target, file, screen)
            try:
                run.write(opened, sink)
                if not sink.frames and not (order.stoppable and order.stop.is_set()):
                    trimmed = order.options.trim
                    raise DataError(
                        f"{order.source} has no frame between the times asked for"
                        if trimmed
                        else f"{order.source} gave no frame",
                        action="Nothing was written",
                    )
                sink.close()
                if audit is not None:
                    audit.append(run.audited())
            except BaseException:
                sink.abandon()
                raise
    return run.told(opened, sink)


def _sink(order: Order, source: Source, target: str | Path, file: IO[bytes] | None, screen: Screen | None) -> Sink:
    options = order.options
    if screen is not None:
        return ScreenSink(source, screen, order.stop)
    if file is None:
        raise RuntimeError("a target is a screen or a file")
    offset = Fraction(0)
    if options.trim:
        origin = Fraction(source.origin).limit_denominator(90_000)
        offset = Fraction(options.start).limit_denominator(1_000_000) + origin
    container, codec = codec_of(Path(target), options.codec)
    return FilmSink(file, container, source, codec=codec, quality=options.quality, audio=options.audio, offset=offset)


def _check_same(source: str | Path, target: Path, *, live: bool) -> None:
    if not live and target.exists() and Path(source).exists() and target.samefile(source):
        raise UsageError(
            f"{target} is source and target at once", action="Choose another name; a film is never written over itself"
        )


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path} can't be read", got=error.strerror or str(error)) from error


@contextlib.contextmanager
def _spool(folder: Path | None) -> Iterator[IO[bytes]]:
    """A file without a name on the target's disk: whatever ends the run, nothing of it is left."""
    if folder is not None:
        make_folder(folder)
    with disk_errors(folder or Path(tempfile.gettempdir())), tempfile.TemporaryFile(dir=folder) as file:
        yield file


def _copy(file: IO[bytes] | None, target: Path) -> None:
    if file is None:
        raise RuntimeError("detections are saved from a file")
    file.seek(0)
    with atomic_file(target) as out:
        shutil.copyfileobj(file, out)


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


@contextlib.contextmanager
def _words_for_library(name: str) -> Iterator[None]:
    """Turn what FFmpeg says of a target into a `DataError`."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise DataError(
            f"{name} can't be written", got=str(error), action="Try another --codec or container"
        ) from error
