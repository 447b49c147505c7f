"""What a user can ask of a film, and what is told when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fdf.anonymize.audio import AUDIO_CHOICES, AudioChoice
from fdf.anonymize.film_faces import SUFFIX
from fdf.anonymize.film_sink import CODECS
from fdf.errors import UsageError


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
        detections: lines with the faces of every frame (`fdf.anonymize.film_faces`), instead of looking for them.
        save_detections: where to write such lines.
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
    detections: Path | None = None
    save_detections: Path | None = None

    def __post_init__(self) -> None:
        _expect(self.start >= 0, "--from", "0 or more seconds", self.start)
        _expect(self.end is None or self.end > self.start, "--to", "more seconds than --from", self.end)
        _expect(self.audio in AUDIO_CHOICES, "--audio", ", ".join(AUDIO_CHOICES), self.audio)
        for name, path in (("--detections", self.detections), ("--save-detections", self.save_detections)):
            fits = path is None or path.suffix.lower() == SUFFIX
            _expect(fits, f"{name} of a film", f"a file of lines, whose name ends in {SUFFIX}", path)
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
        parts: parts of other frames that it looked at.
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
    parts: int = 0
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


def _expect(fits: bool, name: str, expected: str, got: object) -> None:
    if not fits:
        raise UsageError(f"{name} does not fit", expected=expected, got=str(got))
