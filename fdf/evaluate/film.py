"""A film before and after anonymizing, frame by frame: who is still seen, at what size, and whether covers flicker.

    report = compare_films(Path("party.mp4"), Path("out.mp4"))
    report.exposure.exposed, report.flicker

Both films are decoded side by side and each pair of frames is let go, so memory doesn't depend on their length. Faces come from
a file of truth (`fdf.anonymize.faces_json`, one row a frame) or from a detector that looks at the original.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np

from fdf.anonymize.base import Face
from fdf.anonymize.container import Source
from fdf.errors import DataError, UsageError
from fdf.evaluate.coverage import SizeClass, SizeCount
from fdf.evaluate.exposure import Colour, Exposure, ExposureCount, inner_area, judge, visible
from fdf.evaluate.faces import SAME_PLACE, overlap
from fdf.evaluate.flicker import Flicker, FlickerCount
from fdf.evaluate.truth import Faces, SeenFaces
from fdf.store.files import file_sha256
from fdf.vision.base import Pixels

FORMAT: Final = "fdf-compare-1"

_ASPECT: Final = 0.02  # most that proportions may differ
_BLOCK: Final = 16  # some programs stretch both sides to multiples of this


@dataclass(frozen=True)
class FilmReport:
    """What an anonymized film still shows.

    Attributes:
        original, anonymized: name and SHA-256 of the files.
        size: width and height of the original, upright.
        frames: compared, and `labelled` of them: those of which the truth says something.
        truth: who says where the faces are, with the SHA-256 of the file or of the detector's weights.
        threshold: of the detector; None for a file.
        cover: colour that counts as covered; None: what remains of the original was looked at.
        hidden: face-frames too cut by the border to count.
        exposure: face-frames left bare.
        coverage: face-frames that are covered, by height of the face.
        flicker: None if no face is in two frames that follow each other.
    """

    original: tuple[str, str]
    anonymized: tuple[str, str]
    size: tuple[int, int]
    frames: int
    labelled: int
    truth: tuple[str, str]
    threshold: float | None
    cover: Colour | None
    hidden: int
    exposure: Exposure
    coverage: tuple[SizeClass, ...]
    flicker: Flicker | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        body: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **asdict(self)}))
        return body


def compare_films(
    original: Path,
    anonymized: Path,
    truth: Faces | None = None,
    *,
    cover: Colour | None = None,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> FilmReport:
    """Measure an anonymized film against its original.

    Args:
        original, anonymized: film files with the same frames.
        truth: where the faces of the original are, closed afterwards; None: what a detector finds there (`SeenFaces()`).
        cover: the colour that covers, if it is one; None judges any cover by what remains of the original.
        progress: is told the frames done and how many there are, if that is known.

    Raises:
        DataError: no films, damaged ones, other numbers of frames or proportions, a truth of another film.
        MachineError: PyAV is missing.
        UsageError: one film given twice.
    """
    if original.exists() and anonymized.exists() and original.samefile(anonymized):
        raise UsageError(f"{original} was given twice", expected="a film and what was made of it by an anonymizer")
    truth = truth or SeenFaces()
    count = _Count(cover)
    frames = labelled = 0
    size = (0, 0)
    with closing(truth):
        for before, after, total in frame_pairs(original, anonymized):
            size = (before.shape[1], before.shape[0])
            faces = truth.of(original.name, frames, before)
            if faces is not None:
                labelled += 1
                count.frame(frames, faces, before, after)
            frames += 1
            progress(frames, total)
        truth.check(original.name, frames)
    return FilmReport(
        (original.name, file_sha256(original)),
        (anonymized.name, file_sha256(anonymized)),
        size,
        frames,
        labelled,
        (truth.name, truth.sha256),
        truth.threshold,
        cover,
        count.hidden,
        count.exposure.result(),
        count.sizes.result(),
        count.flicker.result(),
    )


def frame_pairs(original: Path, anonymized: Path) -> Iterator[tuple[Pixels, Pixels, int | None]]:
    """Upright frames of two films side by side, the second brought to the first's size; and how many there are, if known.

    Raises:
        DataError: one has more frames than the other, or other proportions.
    """
    with closing(Source(str(original))) as first, closing(Source(str(anonymized))) as second:
        for index, (one, other) in enumerate(zip_longest(first.slots(), second.slots())):
            if one is None or other is None:
                short, long = (original, anonymized) if one is None else (anonymized, original)
                raise DataError(
                    f"{short.name} has fewer frames than {long.name}",
                    expected="the same frames in both: no --trim, no other frame rate",
                    got=f"{index} frames, and more in {long.name}",
                )
            before = first.upright(one.frame)
            after = _fitted(second.upright(other.frame), before, anonymized.name, original.name)
            yield before, after, first.total


class Tracks:
    """Gives each face a number that it keeps from frame to frame, where the truth gives none."""

    def __init__(self) -> None:
        self._last: list[Face] = []
        self._next = 0

    def follow(self, faces: Sequence[Face]) -> list[Face]:
        """The faces of the next frame, numbered: one that overlaps a face of the frame before (IoU ≥ 0.3) has its number."""
        if any(face.track is not None for face in faces):
            self._next = max([self._next, *(face.track + 1 for face in faces if face.track is not None)])
        free, out = list(self._last), list[Face]()
        for face in faces:
            if face.track is None:
                shared = overlap(np.array([one.box for one in free], dtype=np.float32), face.box)
                best = int(shared.argmax()) if len(shared) else -1
                if best >= 0 and shared[best] >= SAME_PLACE:
                    face = replace(face, track=free.pop(best).track)  # noqa: PLW2901
                else:
                    face, self._next = replace(face, track=self._next), self._next + 1  # noqa: PLW2901
            out.append(face)
        self._last = out
        return out


class _Count:
    """Everything that is added up over the frames."""

    def __init__(self, cover: Colour | None) -> None:
        self._cover, self._tracks = cover, Tracks()
        self.exposure, self.sizes, self.flicker = ExposureCount(), SizeCount(), FlickerCount()
        self.hidden = 0

    def frame(self, index: int, faces: Sequence[Face], before: Pixels, after: Pixels) -> None:
        for face in self._tracks.follow(faces):
            track = face.track or 0
            inner = inner_area(face.box, before.shape[1], before.shape[0])
            if not visible(inner):
                self.hidden += 1
                continue
            found = judge(inner, before, after, self._cover)
            self.exposure.add(index, track, found)
            self.sizes.add(float(face.box[3] - face.box[1]), covered=not found.bare)
            self.flicker.add(index, track, face.box, before, after)
        self.flicker.forget(index)


def _fitted(after: Pixels, before: Pixels, name: str, original: str) -> Pixels:
    """The frame at the original's size: without the row and column that made odd sides even, else shrunk or enlarged."""
    (h, w), (tall, wide) = before.shape[:2], after.shape[:2]
    if 0 <= tall - h <= 1 and 0 <= wide - w <= 1:
        return after[:h, :w]
    stretched = max(abs(tall - h), abs(wide - w)) < _BLOCK
    if not stretched and abs(wide * h / (tall * w) - 1) > _ASPECT:
        raise DataError(
            f"{name} has other proportions than {original}",
            expected=f"{w} × {h}, or as much larger",
            got=f"{wide} × {tall}",
        )
    import cv2

    return np.asarray(cv2.resize(after, (w, h)), dtype=np.uint8)
