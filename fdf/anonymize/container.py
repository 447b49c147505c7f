"""Film files and streams, to be read: frames in order, with the audio packets that belong before them.

Titles, places, cameras, chapters, subtitles, cover pictures, telemetry and attachments are not handed on; what was there is
told. What is made of the frames is the business of `fdf.anonymize.film_sink` and `fdf.anonymize.screens`.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from fdf.anonymize.scenes import Thumbnail, thumbnail_size
from fdf.errors import DataError, MachineError
from fdf.vision.base import Pixels

VIDEO_SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"}
    | {".wmv", ".flv", ".3gp", ".ogv", ".mxf", ".vob"}
)
"""Names of films that can be read."""

# A film may name other files and hosts to read (playlists, references). Only plain containers are opened, only from one file.
_FILE_OPTIONS: Final = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,live_flv,ogg,mxf",
}
_CAMERA: Final = "camera:"
_TIMEOUT: Final = 15.0
_MAX_PIXELS: Final = 8192 * 8192
_INNOCENT: Final = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "language", "handler_name", "vendor_id", "DURATION", "BPS",
}  # fmt: skip


@dataclass(eq=False)
class Slot:
    """One frame.

    Attributes:
        index: its number among the frames of the source, from 0.
        frame: as decoded; not upright yet.
        pts: its time, in units of the source's time base, strictly rising.
        audio: packets that come before it in the file.
        wanted: whether it goes into the target.
    """

    index: int
    frame: Any
    pts: int
    audio: list[Any] = field(default_factory=list)
    wanted: bool = True


@dataclass(frozen=True)
class Orientation:
    """How stored pictures are turned to be upright: transposed first, then mirrored."""

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, picture: Pixels) -> Pixels:
        """The upright picture."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        return np.ascontiguousarray(picture[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1])


class Source:
    """A film file, a device or a network stream, opened for reading.

    Args:
        name: path, URL or device.
        live: a stream: errors in it are part of life, and it ends when someone ends it.
        start: seconds from the beginning at which frames are wanted.
        end: seconds at which they no longer are.
        context: seconds read around the wanted part, for what the tracker wants to know.
        partial: go on after damage.

    Raises:
        DataError: no film, or one without pictures.
        MachineError: PyAV is missing; a device or host does not answer.
    """

    def __init__(
        self,
        name: str,
        *,
        live: bool = False,
        start: float = 0.0,
        end: float | None = None,
        context: float = 2.0,
        partial: bool = False,
    ) -> None:
        self.name, self.live, self._partial = name, live, partial or live
        self._start, self._end, self._context = start, end, context
        self._container = _open(name, live=live)
        try:
            self._inspect()
        except BaseException:
            self._container.close()
            raise

    def _inspect(self) -> None:
        container = self._container
        covers = [s for s in container.streams.video if _is_cover(s)]
        films = [s for s in container.streams.video if not _is_cover(s)]
        if not films:
            raise DataError(
                f"{self.name} holds no film",
                got=f"{len(covers)} cover picture(s)" if covers else "no video stream",
                action="Give it as a picture if it is one",
            )
        self.stream = film = films[0]
        self.audio_streams = [s for s in container.streams.audio if s.codec_context is not None]
        film.thread_count = 1  # 1 ms a frame of 720p in a thread of its own: more would only hold more frames
        self.time_base = Fraction(film.time_base or Fraction(1, 90000))
        self.fps = film.guessed_rate or film.average_rate or Fraction(25)
        self.damage: list[str] = []
        self.notes: list[str] = []
        self.removed = _removed(container, covers, films[1:])
        self.total: int | None = film.frames or None
        self._duration = _seconds(film.duration, film.time_base) or _seconds(container.duration, Fraction(1, 1_000_000))
        if not self.total and self._duration:
            self.total = round(self._duration * float(self.fps))
        first = _seconds(film.start_time, film.time_base)
        self.origin = first if first is not None else _seconds(container.start_time, Fraction(1, 1_000_000)) or 0.0
        self.orientation = Orientation()
        self.size = (0, 0)

    @property
    def expected(self) -> int | None:
        """Frames that will come out of it for the part that is wanted, if that can be known."""
        if self.total is None or not (self._start or self._end is not None):
            return self.total
        length = self.total / float(self.fps)
        end = length if self._end is None else min(self._end, length)
        return max(1, round((end - self._start) * float(self.fps)))

    def close(self) -> None:
        """Close the file or device."""
        with contextlib.suppress(Exception):
            self._container.close()

    def slots(self) -> Iterator[Slot]:
        """Every frame from a little before the wanted part to a little after it.

        Raises:
            DataError: damage, unless the source is partial; its message says where.
        """
        import av

        audio: list[Any] = []
        index, last, packets, reached = 0, None, 0, False
        begin = self.origin + self._start
        stop = None if self._end is None else self.origin + self._end
        if self._start:
            self._seek(begin - self._context)
        for packet in self._packets():
            if packet.stream.index != self.stream.index:
                if packet.size and self._hears(packet, begin, stop):
                    audio.append(packet)
                continue
            packets += bool(packet.size)
            if packet.is_corrupt:
                self._damaged("a packet is cut off or marked as damaged")
            try:
                frames = packet.decode()
            except av.error.EOFError:
                continue
            except (av.FFmpegError, ValueError) as error:
                self._damaged(_words(error))
                continue
            for frame in frames:
                slot = self._slot(frame, index, last, audio)
                time = float(slot.pts * self.time_base)
                last = slot.pts
                if self._start and time < begin - self._context:
                    continue
                if stop is not None and time >= stop + self._context:
                    reached = True
                    break
                slot.wanted = time >= begin - 1e-6 and (stop is None or time < stop)
                index, audio = index + 1, []
                yield slot
            if reached:
                break
        self.tail = audio
        if not self.live and not self._start and not reached:
            self._check_length(packets, last)

    def upright(self, frame: Any) -> Pixels:
        """A frame as upright RGB. Transparent parts come on black: what lies under them is nobody's business.

        Several threads may ask for the same frame at once.
        """
        if frame.format.has_palette or any(part.is_alpha for part in frame.format.components):
            rgba = _converted(frame, format="rgba").to_ndarray()
            picture = (rgba[..., :3].astype(np.uint16) * rgba[..., 3:] // 255).astype(np.uint8)
        else:
            picture = _converted(frame, format="rgb24").to_ndarray()
        return self.orientation.apply(picture)

    def thumbnail(self, frame: Any) -> Thumbnail:
        """A small picture of a frame's luma, upright."""
        width, height = self.size[::-1] if self.orientation.transposed else self.size
        w, h = thumbnail_size(width, height)
        gray = _converted(frame, width=w, height=h, format="gray", interpolation="AREA").to_ndarray()
        return np.asarray(self.orientation.apply(gray), dtype=np.uint8)

    def _packets(self) -> Iterator[Any]:
        import av

        try:
            yield from self._container.demux([self.stream, *self.audio_streams])
        except (av.FFmpegError, ValueError, OSError) as error:
            if isinstance(error, av.error.EOFError):
                return
            self._damaged(_words(error))

    def _seek(self, time: float) -> None:
        import av

        try:
            self._container.seek(max(0, round(max(time, self.origin) * 1_000_000)), backward=True)
        except av.FFmpegError as error:
            raise DataError(
                f"Can't go to {self._start:g} s in {self.name}", got=_words(error), action="Leave --from out"
            ) from error

    def _hears(self, packet: Any, begin: float, stop: float | None) -> bool:
        if packet.pts is None or (not self._start and stop is None):
            return True
        time = float(packet.pts * packet.time_base)
        return (not self._start or time >= begin) and (stop is None or time < stop)

    def _slot(self, frame: Any, index: int, last: int | None, audio: list[Any]) -> Slot:
        if not self.size[0]:
            self._stored = (frame.width, frame.height)
            if frame.width * frame.height > _MAX_PIXELS:
                raise DataError(
                    f"{self.name} has frames of {frame.width} × {frame.height} pixels", expected="67 megapixels at most"
                )
            self.orientation = _orientation(frame)
            self.size = self._stored[::-1] if self.orientation.transposed else self._stored
            if frame.interlaced_frame:
                self.notes.append("interlaced: both fields are encoded as one picture")
        if frame.is_corrupt:
            self._damaged("a frame is damaged")
        if (frame.width, frame.height) != self._stored:
            if not any("size" in note for note in self.notes):
                self.notes.append("frames change their size: all are brought to that of the first")
            pts = frame.pts
            frame = frame.reformat(width=self._stored[0], height=self._stored[1], threads=1)
            frame.pts = pts
        pts = frame.pts
        if pts is None or (last is not None and pts <= last):
            step = max(1, round(1 / (self.fps * self.time_base)))
            pts = 0 if last is None else last + (step if pts is None else 1)
        return Slot(index, frame, int(pts), audio)

    def _damaged(self, what: str) -> None:
        if not self._partial:
            raise DataError(
                f"{self.name} is damaged: {what}",
                action="Nothing was written. With --partial, what can be decoded is anonymized and written",
            )
        self.damage.append(what)

    def _check_length(self, packets: int, last: int | None) -> None:
        if last is None:
            if self._partial:
                raise DataError(f"{self.name}: not one frame can be decoded", action="Give another file")
            self._damaged("not one frame can be decoded")
            return
        short = (self._duration or 0) - (float(last * self.time_base) - self.origin)
        if short > max(1.0, 4 / float(self.fps)) and (not self.stream.frames or packets < self.stream.frames):
            self._damaged(f"it ends {short:.1f} s before it says it does")


def is_stream(source: str | Path) -> bool:
    """Whether a source is a device or a URL rather than a file."""
    name = str(source)
    return bool(re.match(r"[a-z][a-z0-9+.-]*://", name, re.IGNORECASE)) or name.startswith(("/dev/", _CAMERA))


def _device(name: str) -> tuple[str, str, dict[str, str]]:
    """A camera as FFmpeg knows it on this system: its name there, the reader, the reader's options."""
    which = name.removeprefix(_CAMERA) or "0"
    system = str(sys.platform)  # as a variable: type checkers take one system's branch for the only one
    if name.startswith("/dev/") or system.startswith("linux"):
        return (name if name.startswith("/dev/") else f"/dev/video{which}" if which.isdigit() else which), "v4l2", {}
    if system == "darwin":  # it refuses a rate that the camera hasn't, and its own default is none of most
        return which, "avfoundation", {"framerate": "30"}
    return f"video={which}", "dshow", {}


def _open(name: str, *, live: bool) -> Any:
    try:
        import av
    except ImportError as error:
        raise MachineError("Films need PyAV, which is not installed", action="pip install 'fdf[video]'") from error
    av.logging.set_level(None)
    try:
        if name.startswith(("/dev/", _CAMERA)):
            file, reader, options = _device(name)
            return av.open(file, format=reader, options=options, timeout=_TIMEOUT)
        if live:
            return av.open(name, timeout=_TIMEOUT, metadata_errors="replace")
        if not Path(name).is_file():
            raise DataError(f"There is no file {name}", action="Check the name")
        return av.open(f"file:{Path(name).absolute()}", options=dict(_FILE_OPTIONS), metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        if isinstance(error, PermissionError):
            raise MachineError(f"Can't read {name} ({_words(error)})", action="Check its permissions") from error
        if live:
            raise MachineError(f"Can't open the stream {name} ({_words(error)})", action="Check its address") from error
        raise DataError(
            f"{name} is no film that can be read ({_words(error)})",
            expected="a whole video file",
            action="If it is cut off, nothing can be saved from it here",
        ) from error


def _words(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).split(":")[-1].strip().splitlines()[0] if text else "unknown"


def _is_cover(stream: Any) -> bool:
    return bool(int(stream.disposition) & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def _removed(container: Any, covers: list[Any], others: list[Any]) -> list[str]:
    """What a target does not get, in words."""
    found = []
    keys = sorted({k for k, v in container.metadata.items() if k not in _INNOCENT and v})
    if keys:
        found.append(f"metadata: {', '.join(keys)}")
    inner = sorted({k for s in container.streams for k, v in s.metadata.items() if k not in _INNOCENT and v})
    if inner:
        found.append(f"metadata of streams: {', '.join(inner)}")
    if covers:
        found.append(f"cover pictures: {len(covers)}")
    if others:
        found.append(f"further video streams: {len(others)}")
    kinds = Counter(s.type for s in container.streams if s.type not in {"video", "audio"})
    names = {"subtitle": "subtitles", "data": "data streams", "attachment": "attachments"}
    found += [f"{names.get(kind, 'unknown streams')}: {count}" for kind, count in sorted(kinds.items())]
    chapters = container.chapters()
    if chapters:
        found.append(f"chapters: {len(chapters)}")
    return found


def _seconds(value: int | None, base: Fraction | None) -> float | None:
    return None if value is None or base is None else float(value * base)


def _converted(frame: Any, **how: Any) -> Any:
    """The frame in another format; `VideoFrame.reformat` has one scaler for all threads that ask for the same frame at once."""
    from av.video.reformatter import VideoReformatter

    return VideoReformatter().reformat(frame, threads=1, **how)


def _orientation(frame: Any) -> Orientation:
    """From the display matrix; an angle between the quarters is brought to the nearest."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data)[:36], dtype=np.int32)[:5].astype(np.int64)
            if abs(a) + abs(d) >= abs(b) + abs(c):
                return Orientation(False, bool(a < 0), bool(d < 0))
            return Orientation(True, bool(c < 0), bool(b < 0))
    return Orientation()
