"""The sound of a film: kept, left out, or with another voice.

Keeping copies packets where the target's container takes the codec, so nothing is lost, and encodes them again where it
doesn't. A voice identifies a person as a face does: whoever keeps the sound is told so. Distorting shifts pitch and formants
together (resampled, then brought back to time), then all frequencies by some hertz, which breaks the harmonics; how far is
drawn anew for every file and not written down. The words stay, and how someone speaks: it is no protection against an analyst.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    import av

AudioChoice = Literal["keep", "drop", "distort"]
AUDIO_CHOICES: Final[tuple[str, ...]] = get_args(AudioChoice)

COPIED: Final = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"},
    "matroska": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac", "vorbis", "pcm_s16le", "pcm_s24le"},
    "webm": {"opus", "vorbis"},
}
"""Codecs whose packets a container takes as they are, by name of the container."""

_ENCODERS: Final = {"webm": "libopus"}
_RATES: Final = (48000, 44100, 32000, 24000, 16000, 8000)
_LAYOUTS: Final = {1: "mono", 2: "stereo"}


class AudioTrack:
    """One audio stream on its way from a source to a target.

    Args:
        source: the stream to read.
        target: the container to write.
        container: name of its format.
        distort: change the voice.
    """

    def __init__(
        self, source: av.AudioStream, target: av.container.OutputContainer, container: str, *, distort: bool
    ) -> None:
        codec = source.codec_context.name
        self._source = source
        self.copied = not distort and codec in COPIED[container]
        self._graph: Any = None
        self._shape: tuple[str, int, str] | None = None
        if self.copied:
            self.stream: Any = target.add_stream_from_template(source)
            self.how = f"{codec}, copied as it was"
        else:
            name = _ENCODERS.get(container, "aac")
            rate = 48000 if name == "libopus" else _rate(source.codec_context.sample_rate)
            layout = _LAYOUTS.get(source.codec_context.channels, "stereo")
            self.stream = target.add_stream(name, rate=rate, layout=layout)
            self._filters = _filters(rate, layout, distort=distort)
            self.how = f"{codec}, voice changed, encoded as {name}" if distort else f"{codec}, encoded again as {name}"
        language = source.metadata.get("language")
        self.stream.metadata.clear()
        if language:
            self.stream.metadata["language"] = language

    def feed(self, packet: av.Packet, offset: Fraction) -> Iterator[av.Packet]:
        """What to write for one packet of the source.

        Args:
            packet: of the source's stream.
            offset: seconds to take off its time.
        """
        if self.copied:
            if packet.dts is None and packet.pts is None:
                return
            shift = round(offset / packet.time_base) if offset else 0
            if shift:
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = self.stream
            yield packet
            return
        for frame in packet.decode():
            if offset and frame.pts is not None:
                frame.pts -= round(offset / frame.time_base)
            yield from self._through(frame)

    def finish(self) -> Iterator[av.Packet]:
        """What is left in filters and encoder."""
        if self.copied:
            return
        if self._graph is not None:
            self._graph.push(None)
            yield from self._encode(self._pulled())
        yield from self.stream.encode(None)

    def _through(self, frame: Any) -> Iterator[av.Packet]:
        import av

        shape = (frame.format.name, frame.sample_rate, frame.layout.name)
        if self._graph is None or shape != self._shape:
            if self._graph is not None:  # the source changed its rate or channels: empty the old filters first
                self._graph.push(None)
                yield from self._encode(self._pulled())
            self._shape = shape
            self._graph = graph = av.filter.Graph()
            nodes = [
                graph.add_abuffer(format=shape[0], sample_rate=shape[1], layout=shape[2], time_base=frame.time_base)
            ]
            nodes += [graph.add(name, arguments) for name, arguments in self._filters]
            graph.link_nodes(*nodes, graph.add("abuffersink")).configure()
        self._graph.push(frame)
        yield from self._encode(self._pulled())

    def _pulled(self) -> Iterator[Any]:
        import av

        while True:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def _encode(self, frames: Iterable[Any]) -> Iterator[av.Packet]:
        for frame in frames:
            yield from self.stream.encode(frame)


def _filters(rate: int, layout: str, *, distort: bool) -> list[tuple[str, str]]:
    ends = [
        ("aresample", str(rate)),
        ("aformat", f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"),
    ]
    if not distort:
        return ends
    draw = secrets.SystemRandom()
    # The shift goes the way of the pitch: against it, the two could cancel at the pitch of a voice.
    direction, pitch = draw.choice([(-1, draw.uniform(0.72, 0.82)), (1, draw.uniform(1.22, 1.38))])
    shift = direction * draw.uniform(15, 35)
    return [
        ("aresample", str(rate)),
        ("asetrate", str(round(rate * pitch))),
        ("aresample", str(rate)),
        ("atempo", f"{rate / round(rate * pitch):.6f}"),
        ("afreqshift", f"shift={shift:.2f}"),
        *ends,
    ]


def _rate(wanted: int) -> int:
    """The nearest usual rate that loses nothing."""
    return min((rate for rate in _RATES if rate >= wanted), default=48000)
