"""Films made in code, with the truth about every face in every frame.

Rendered people and two portraits in the public domain (the sample corpus) move over a background: half hidden, crossing,
running, entering and leaving, blurred, turned, with cuts between. `exposed` counts face-frames that an anonymizer left bare.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from fdf.anonymize.base import Job, Replacement
from fdf.evaluate.exposure import COVERED, INNER, uncovered, visible
from fdf.vision.picture import decode

SAMPLE = Path(__file__).resolve().parents[2] / "fdf/data/sample"
PEOPLE = ("900000000054", "900000000001", "900000000006", "900000000015", "900000000003", "900000000055")


@dataclass(frozen=True, eq=False)
class Truth:
    """A face in a frame: box in pixels, and which of its inner pixels are to be seen."""

    person: int
    box: np.ndarray
    corner: tuple[int, int]
    mask: np.ndarray
    whole: int

    @property
    def visible(self) -> bool:
        return visible(self)


@dataclass(eq=False)
class Clip:
    pictures: list[np.ndarray] = field(default_factory=list)
    truth: list[list[Truth]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)

    @property
    def face_frames(self) -> int:
        return sum(t.visible for frame in self.truth for t in frame)


@cache
def _sprite(person: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, alpha and box of one person's head."""
    for line in (SAMPLE / "truth.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["photo_id"] == PEOPLE[person]:
            break
    picture = decode((SAMPLE / "mirror" / row["file"]).read_bytes()).pixels
    box = np.array(row["faces"][0]["box"])
    centre, half = (box[:2] + box[2:]) / 2 - [0, 0.06 * (box[3] - box[1])], (box[2:] - box[:2]) * [0.78, 0.72]
    x0, y0 = np.maximum(0, np.floor(centre - half * 1.15)).astype(int)
    x1, y1 = np.minimum(picture.shape[1::-1], np.ceil(centre + half * 1.15)).astype(int)
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    radius = np.hypot((x - centre[0]) / half[0], (y - centre[1]) / half[1])
    alpha = np.clip((1.05 - radius) / 0.1, 0, 1).astype(np.float32)
    return picture[y0:y1, x0:x1], alpha, box - [x0, y0, x0, y0]


class _Stage:
    """One frame being painted, back to front."""

    def __init__(self, background: np.ndarray) -> None:
        self.picture = background.astype(np.float32)
        self.found: list[tuple[int, np.ndarray, np.ndarray, int]] = []

    def head(self, person: int, x: float, y: float, height: float, *, turn: float = 0, light: float = 1, blur: float = 0,
             speed: tuple[float, float] = (0, 0)) -> None:  # fmt: skip
        """A head whose face has its middle at (x, y); `speed` smears it over the pixels that it moves in a frame."""
        picture, alpha, box = _sprite(person)
        scale = height / (box[3] - box[1])
        middle = (box[:2] + box[2:]) / 2
        matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), turn, scale)
        reach = 1.3 * height + 4 * blur + max(abs(speed[0]), abs(speed[1]))
        left, top = (max(0, int(v - reach)) for v in (x, y))
        window = self.picture[top : max(0, int(y + reach)) + 1, left : max(0, int(x + reach)) + 1]
        if not window.size:
            return
        matrix[:, 2] += [x - left, y - top] - middle
        shape = window.shape[1::-1]
        # Shrinking by sampling would alias: soften first.
        soft = cv2.GaussianBlur(picture, (0, 0), max(0.3, 0.4 / scale)) if scale < 0.8 else picture
        colour = cv2.warpAffine(soft.astype(np.float32), matrix, shape) * light
        mask = cv2.warpAffine(alpha, matrix, shape)
        if blur:
            colour, mask = (cv2.GaussianBlur(v, (0, 0), blur) for v in (colour, mask))
        if max(abs(speed[0]), abs(speed[1])) >= 1:
            length = round(max(abs(speed[0]), abs(speed[1]))) | 1
            kernel = np.zeros((length, length), dtype=np.float32)
            ends = np.array(speed) * (length - 1) / max(abs(speed[0]), abs(speed[1])) / 2
            half = (length - 1) / 2
            cv2.line(
                kernel,
                tuple(np.rint(half - ends).astype(int).tolist()),
                tuple(np.rint(half + ends).astype(int).tolist()),
                1,
            )
            colour, mask = (cv2.filter2D(v, -1, kernel / kernel.sum()) for v in (colour, mask))
        window[...] = window * (1 - mask[..., None]) + colour * mask[..., None]
        part = (slice(top, top + window.shape[0]), slice(left, left + window.shape[1]))
        for _, _, seen, _ in self.found:
            seen[part] &= mask < 0.5
        inner = np.zeros(self.picture.shape[:2], dtype=np.uint8)
        axes = ((box[2:] - box[:2]) / 2 * scale * INNER).tolist()
        cv2.ellipse(inner, ((float(x), float(y)), (2 * axes[0], 2 * axes[1]), -turn), 1, -1)
        corners = cv2.transform(np.array([[box[[0, 1]], box[[2, 1]], box[[2, 3]], box[[0, 3]]]]), matrix)[0] + [
            left,
            top,
        ]
        truth = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        self.found.append((person, truth, inner.astype(bool), int(np.pi * axes[0] * axes[1])))

    def patch(self, x: float, y: float, width: float, height: float) -> None:
        """Something in front: striped, so that it has no face."""
        x0, y0, x1, y1 = (round(v) for v in (x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        x0, y0 = max(0, x0), max(0, y0)
        if x1 <= x0 or y1 <= y0:
            return
        part = self.picture[y0:y1, x0:x1]
        part[...] = np.where((np.arange(part.shape[0]) // 6 % 2)[:, None, None], [40, 70, 120], [150, 150, 90])
        for _, _, seen, _ in self.found:
            seen[y0:y1, x0:x1] = False

    def finish(self, clip: Clip) -> None:
        clip.pictures.append(np.clip(np.rint(self.picture), 0, 255).astype(np.uint8))
        truths = []
        for person, box, mask, whole in self.found:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            if len(rows):
                part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
                truths.append(Truth(person, box, (int(columns[0]), int(rows[0])), mask[part].copy(), whole))
        clip.truth.append(truths)


def background(width: int, height: int, seed: int) -> np.ndarray:
    """A quiet background without faces, another for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (6, 9, 3)).astype(np.float32)
    fine = cv2.resize(rng.normal(0, 12, (height // 8, width // 8)).astype(np.float32), (width, height))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + fine[..., None], 0, 255).astype(np.uint8)


HIDDEN = {6: 1, 13: 2, 21: 3, 30: 4, 40: 6, 54: 8}
"""First frame and number of frames in which the first shot's face is hidden."""


def film(width: int = 640, height: int = 360, *, shots: str = "abcd") -> Clip:
    """The film of the exposure test, 30 frames a second, 216 frames.

    a: one face that sways and grows, hidden for 1–8 frames at a time and half hidden just before and after.
    b: two faces that cross, smeared by their motion.
    c: a face that runs through the picture, entering and leaving; a small one whose focus is lost for 1–4 frames.
    d: a face that turns upside down and back, and one whose light goes down to a fifth.
    """
    clip, s = Clip(), width / 640
    for shot in shots:
        if clip.pictures:
            clip.cuts.append(len(clip.pictures))
        behind = background(width, height, ord(shot))
        for t in range({"a": 70, "b": 50, "c": 56, "d": 40}[shot]):
            stage = _Stage(behind)
            if shot == "a":
                size = (85 + 25 * np.sin(t / 11)) * s
                x, y = width / 2 + 110 * s * np.sin(t / 9), height * 0.45 + 30 * s * np.sin(t / 6)
                stage.head(0, x, y, size)
                for first, count in HIDDEN.items():
                    if first <= t < first + count:
                        stage.patch(x, y, size * 1.5, size * 1.6)
                    elif t in (first - 1, first + count):
                        stage.patch(x - size * 0.6, y, size * 0.9, size * 1.6)
            elif shot == "b":
                stage.head(1, width * 0.2 + 8 * s * t, height * 0.42, 100 * s, speed=(4 * s, 0))
                stage.head(2, width * 0.8 - 8 * s * t, height * 0.48, 115 * s, speed=(4 * s, 0))
            elif shot == "c":
                lost = any(a <= t < b for a, b in ((7, 8), (15, 17), (24, 27), (36, 40)))
                stage.head(4, width * 0.75 + 5 * s * np.sin(t / 5), height * 0.7, 44 * s, blur=6 * s if lost else 0)
                if t < 50:
                    stage.head(3, -60 * s + 15 * s * t, height * 0.35, 95 * s, speed=(9 * s, 0))
            else:
                stage.head(5, width * 0.3, height * 0.5, 100 * s, turn=180 * np.sin(np.pi * t / 39))
                stage.head(0, width * 0.7, height * 0.5, 90 * s, light=0.2 + 0.8 * abs(np.cos(np.pi * t / 39)))
            stage.finish(clip)
    return clip


def brief(height: float, width: int = 1280, *, seen: Sequence[int] = (9, 22, 23, 33, 34, 35)) -> Clip:
    """A face that is there in some frames only, on a ground as bright as itself: between two looks nothing else changes."""
    picture, alpha, _ = _sprite(1)
    grey = (picture @ np.array([0.299, 0.587, 0.114]))[alpha > 0.5].mean()
    clip = Clip()
    for t in range(44):
        stage = _Stage(np.full((width * 9 // 16, width, 3), round(grey), dtype=np.uint8))
        if t in seen:
            stage.head(1, 0.4 * width, 0.2 * width, height)
        stage.finish(clip)
    return clip


def visitor(
    size: float,
    at: tuple[float, float],
    others: Sequence[tuple[int, float, float, float]] = (),
    *,
    light: float = 1,
    fog: float = 0,
    glow: float = 0,
    pace: float = 0,
    seen: Sequence[int] = (9, 10, 11, 21, 22, 23),
) -> Clip:
    """A face that is there in some of 28 frames only, behind others (person, x, y, height) that stay; in 720p.

    `glow`: grey levels by which three of four frames are lighter. `pace`: pixels by which the others walk on in a frame; who
    shows up stands where they are in the middle of these frames.
    """
    clip, behind = Clip(), background(1280, 720, 3)
    for t in range(28):
        stage = _Stage(behind)
        if t in seen:
            stage.head(2, at[0] + pace * (10 if t < 15 else 22), at[1], size)
        for person, x, y, height in others:
            stage.head(person, x + pace * t, y, height)
        stage.picture = (stage.picture * (1 - fog) + 190 * fog) * light + (glow if t % 4 else 0)
        stage.finish(clip)
    return clip


class Black:
    """A method that covers in black: what is covered can be read off the pixels."""

    name = "black"
    colour = (0, 0, 0)

    def replace(self, picture: np.ndarray, jobs: Sequence[Job]) -> list[Replacement]:  # noqa: ARG002
        return [Replacement(np.full((*job.region.alpha.shape, 3), self.colour, dtype=np.uint8)) for job in jobs]


class Magenta(Black):
    """The same in a colour that no dark film has."""

    name = "magenta"
    colour = (255, 0, 255)


def exposed(clip: Clip, pictures: list[np.ndarray], colour: tuple[int, int, int]) -> list[tuple[int, int, float]]:
    """Face-frames left bare: frame, person and the share that was not covered."""
    if len(pictures) != len(clip.pictures):
        raise ValueError(f"{len(clip.pictures)} frames went in, {len(pictures)} came out.")
    found = []
    size = clip.pictures[0].shape[1::-1]
    pictures = [p if p.shape[1::-1] == size else cv2.resize(p, size) for p in pictures]
    for index, (before, after, truths) in enumerate(zip(clip.pictures, pictures, clip.truth, strict=True)):
        for truth in truths:
            if truth.visible and (share := uncovered(truth, before, after, colour)) > 1 - COVERED:
                found.append((index, truth.person, share))
    return found


def write(
    pictures: list[np.ndarray],
    path: Path | io.BytesIO,
    *,
    times: list[int] | None = None,
    base: Fraction = Fraction(1, 90000),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rotation: float | None = None,
    mirrored: bool = False,
    sounds: int = 0,
    sound_codec: str = "aac",
    options: dict[str, str] | None = None,
    container: str | None = None,
    metadata: dict[str, str] | None = None,
    chapters: bool = False,
    cover: np.ndarray | None = None,
    subtitles: bool = False,
    fps: int = 30,
    matrix: int | None = None,
) -> None:
    """Encode a film the way cameras and editors do, with whatever else belongs into the file."""
    import av

    times = times or [round(i / fps / base) for i in range(len(pictures))]
    target = path if isinstance(path, io.BytesIO) else str(path)
    with av.open(target, "w", format=container) as out:
        if codec == "libx264":
            options = {"preset": "ultrafast", "crf": "14", **(options or {})}
        stream = out.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        stream.time_base = stream.codec_context.time_base = base
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirrored)
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        tones = [out.add_stream(sound_codec, rate=44100, layout="mono") for _ in range(sounds)]
        art = None
        if cover is not None:
            art = out.add_stream("mjpeg")
            art.height, art.width, art.pix_fmt = *cover.shape[:2], "yuvj420p"
            art.disposition = 0x400
        out.metadata.update(metadata or {})
        if chapters:
            out.set_chapters(
                [{"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "At Anna's"}}]
            )
        if art is not None:
            out.mux(art.encode(av.VideoFrame.from_ndarray(cover)))
        for number, tone in enumerate(tones):
            seconds = float(times[-1] * base) + 1 / fps
            wave = 0.4 * np.sin(2 * np.pi * 220 * (number + 1) * np.arange(round(44100 * seconds)) / 44100)
            for at in range(0, len(wave), 4410):
                frame = av.AudioFrame.from_ndarray(wave[None, at : at + 4410].astype(np.float32), "fltp", "mono")
                frame.rate, frame.pts = 44100, at
                out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24" if picture.shape[2] == 3 else "rgba")
            if matrix is not None:
                frame = frame.reformat(format=pixels, dst_colorspace=matrix)
            frame.pts, frame.time_base = time, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def read(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    """Frames and their times in seconds."""
    import av

    with av.open(str(path)) as film_:
        stream = film_.streams.video[0]
        frames = list(film_.decode(stream))
        return [f.to_ndarray(format="rgb24") for f in frames], [f.pts * f.time_base for f in frames]
