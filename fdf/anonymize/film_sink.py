"""A film file, to be written, from scratch: new video packets, audio as chosen, times as they were, and nothing else."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

import numpy as np

from fdf.anonymize.audio import AudioChoice, AudioTrack
from fdf.anonymize.container import Orientation, Slot, Source
from fdf.errors import UsageError
from fdf.vision.base import Pixels

TARGETS: Final = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Containers that can be written: those that keep the time of every frame."""

CODECS: Final = {"h264": "libx264", "h265": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
"""Names of `--codec`, and the encoders that make them."""

_QUALITY: Final = {"h264": 20, "h265": 23, "vp9": 30, "av1": 30}
_ENCODER_OPTIONS: Final[dict[str, dict[str, str]]] = {
    "h264": {"preset": "veryfast", "a53cc": "0"},
    "h265": {"preset": "veryfast", "x265-params": "log-level=error"},
    "vp9": {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "b": "0"},
    "av1": {"preset": "10"},
}


class Sink(Protocol):
    """Where anonymized frames go: a file (`FilmSink`), or a screen (`fdf.anonymize.screens.ScreenSink`).

    It is used by one thread. It gets frames without faces and nothing else: whoever can't hide a face calls `abandon`.
    """

    frames: int
    """Written so far."""
    lost: int
    """Packets of sound that could not be used."""

    @property
    def sounds(self) -> str:
        """What became of the sound, in words."""

    def write(self, slot: Slot, picture: Pixels | None) -> None:
        """One frame: upright RGB, or None for the frame as it is, when nothing in it is to be hidden."""

    def sound(self, packets: list[Any]) -> None:
        """Audio packets of the source."""

    def close(self) -> None:
        """All frames have come."""

    def abandon(self) -> None:
        """Something failed; no more frames come."""


def even(picture: Pixels) -> Pixels:
    """With even sides, the last row or column repeated: 4:2:0 can't hold odd ones."""
    tall, wide = picture.shape[0] % 2, picture.shape[1] % 2
    return np.pad(picture, ((0, tall), (0, wide), (0, 0)), mode="edge") if tall or wide else picture


def codec_of(target: Path, codec: str | None) -> tuple[str, str]:
    """Container and codec of a target. Raises UsageError for what can't be written."""
    container = TARGETS.get(target.suffix.lower())
    if container is None:
        raise UsageError(
            f"Can't write {target.name}: unknown kind of film",
            expected=", ".join(TARGETS),
            action="Choose another name",
        )
    codec = codec or ("vp9" if container == "webm" else "h264")
    if container == "webm" and codec not in {"vp9", "av1"}:
        raise UsageError(f"WebM holds no {codec}", expected="--codec vp9 or av1", action="Or write .mp4 or .mkv")
    return container, codec


class FilmSink:
    """A film file being written.

    Args:
        file: opened for writing, with seek.
        container: name of the format, one of `TARGETS`' values.
        source: what it is made from: size, times and colours come from it.
        codec: one of `CODECS`.
        quality: constant rate factor, 0 (best) to 63; None for the codec's default.
        audio: what becomes of the sound.
        offset: seconds to take off every time.
    """

    def __init__(
        self,
        file: IO[bytes],
        container: str,
        source: Source,
        *,
        codec: str = "h264",
        quality: int | None = None,
        audio: AudioChoice = "keep",
        offset: Fraction = Fraction(0),
    ) -> None:
        import av

        self._source, self._offset = source, offset
        # No name of a library, no time of day: the same film gives the same bytes.
        self._container = av.open(file, "w", format=container)
        self._container.flags |= 0x400  # AVFMT_FLAG_BITEXACT
        options = dict(_ENCODER_OPTIONS[codec], crf=str(_QUALITY[codec] if quality is None else quality))
        self._codec, self._options = codec, options
        self._stream: Any = None
        self._name = container
        self.tracks: dict[int, AudioTrack] = {}
        self.frames = 0
        self.lost = 0
        self._audio = audio

    @property
    def sounds(self) -> str:
        """What became of the sound, in words."""
        if self._audio == "drop":
            return "dropped"
        if not self.tracks:
            return "none in the source"
        how = "; ".join(track.how for track in self.tracks.values())
        return f"{how}: voices can be recognized" if self._audio == "keep" else how

    def start(self, frame: Any) -> None:
        """Make the streams: their colours are those of the first frame."""
        source = self._source
        width, height = (side + side % 2 for side in source.size)
        self._stream = stream = self._container.add_stream(CODECS[self._codec], rate=source.fps, options=self._options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = source.time_base
        stream.time_base = source.time_base
        stream.codec_context.flags |= 0x00800000  # AV_CODEC_FLAG_BITEXACT
        shape = source.stream.codec_context.sample_aspect_ratio
        if shape and shape > 0 and shape != 1:
            stream.codec_context.sample_aspect_ratio = 1 / shape if source.orientation.transposed else shape
        self._space, self._range = _colours(frame, stream.codec_context)
        if self._audio != "drop":
            for track in source.audio_streams:
                self.tracks[track.index] = AudioTrack(
                    track, self._container, self._name, distort=self._audio == "distort"
                )

    def write(self, slot: Slot, picture: Pixels | None) -> None:
        """Encode one frame.

        Args:
            slot: whose time it has.
            picture: upright RGB; None for the frame as it is: nothing in it is to be hidden.
        """
        import av

        if self._stream is None:
            self.start(slot.frame)
        self.sound(slot.audio)
        slot.audio = []
        frame = slot.frame
        if picture is None and not self._plain(frame):
            picture = self._source.upright(frame)
        if picture is None:
            # Through an array: side data (captions, camera notes) stay behind.
            made = av.VideoFrame.from_ndarray(frame.to_ndarray(), format="yuv420p")
        else:
            made = av.VideoFrame.from_ndarray(even(picture), format="rgb24")
            # One thread: 2 ms of work, and 15 of waiting where detector and encoder keep the cores busy.
            made = made.reformat(format="yuv420p", dst_colorspace=self._space, dst_color_range=self._range, threads=1)
        made.pts = slot.pts - round(self._offset / self._source.time_base)
        made.time_base = self._source.time_base
        made.duration = frame.duration or 0
        self._container.mux(self._stream.encode(made))
        self.frames += 1

    def sound(self, packets: list[Any]) -> None:
        """Write audio packets of the source."""
        import av

        for packet in packets:
            track = self.tracks.get(packet.stream.index)
            if track is None:
                continue
            try:
                for made in track.feed(packet, self._offset):
                    self._container.mux(made)
            except (av.FFmpegError, ValueError) as error:
                # A damaged packet of sound is a gap in the sound. A full disk is not.
                if isinstance(error, OSError):
                    raise
                self.lost += 1

    def close(self) -> None:
        """Write what is left; the file is whole after this."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
            for track in self.tracks.values():
                for packet in track.finish():
                    self._container.mux(packet)
        self._container.close()

    def abandon(self) -> None:
        """Close without finishing: the file is going to be removed."""
        with contextlib.suppress(Exception):
            self._container.close()

    def _plain(self, frame: Any) -> bool:
        return (
            frame.format.name == "yuv420p"
            and self._source.orientation == Orientation()
            and frame.width % 2 == 0
            and frame.height % 2 == 0
        )


def _colours(frame: Any, context: Any) -> tuple[int, int]:
    """Write a frame's colour tags into an encoder; gives the matrix and range that its pixels are to be encoded with."""
    matrix = frame.colorspace if frame.colorspace in {1, 5, 6, 7, 9} else None
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    context.colorspace = frame.colorspace if matrix else 2
    context.color_range = 2 if frame.color_range == 2 else 1
    return cast(int, matrix or 5), 2 if frame.color_range == 2 else 1
