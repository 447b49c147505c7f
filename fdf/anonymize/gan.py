"""`gan`: a generator draws another face into the hole. It runs on onnxruntime alone.

A face is cut out with what lies around it, as the generator was shown faces in training; everything that its region hides,
soft edge included, and every other face's region are grey before the crop is even scaled, so that no pixel of any face
reaches the network. The hole is the region itself, carried over to the generator's size so that a pixel which anything hidden
lies under belongs to it. What comes back replaces the whole region: of the face nothing is left but where its eyes and nose
are.

Along the border of the hole drawn colours are then moved to those beside it, by seen pixels alone (`membrane.match_border`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face, Job, Replacement
from fdf.anonymize.membrane import match_border
from fdf.errors import ModelError
from fdf.vision.base import Floats, Pixels
from fdf.vision.crop import crop_box, cut, resize
from fdf.vision.generator import FaceGenerator, GeneratorCard, known_points
from fdf.vision.zoo import models, path_of

DEFAULT_MODEL: Final = "generator-default"
"""Id in the zoo of the generator that is used where none is named."""
MIN_FACE: Final = 16.0
"""Pixels of the longer side of a box; what is smaller has no face to speak of in its crop."""

_CROP: Final = 1.7  # side of a crop over the longer side of the box, in training
_ROOM: Final = 0.06  # least that is seen beside the region on each side, over the region's longer side
_LEAST_INSIDE: Final = 0.5  # share of a crop, and of a face box, that must lie in the picture
_LEAST_SEEN: Final = 0.12  # share of a crop that must be neither hidden nor outside the picture
_GREY: Final = 128
_BLENDING: Final = "border"  # another name whenever the same drawing is laid into a picture in another way

Square = tuple[int, int, int, int]


def default_generator() -> Path:
    """The file of the generator that fdf brings.

    Raises:
        ModelError: this version brings none, or it was altered.
    """
    row = next((row for row in models() if row.id == DEFAULT_MODEL), None)
    if row is None:
        raise ModelError(
            "This version of fdf brings no generator of its own",
            action="Name one with --model; `fdf train` and `fdf export` make it. Or take another --method",
        )
    return path_of(row)


class Gan:
    """Faces drawn by a generator: `fdf export` made its file.

    Args:
        strength: of no meaning here; every method is made with it.
        model: file of the generator; None for the one that fdf brings.
        threads: threads inside one operator of the network.

    Raises:
        ModelError: no such file, no generator, or fdf brings none.
    """

    name = "gan"
    generative = True

    def __init__(self, strength: float = 1.0, model: str | Path | None = None, *, threads: int = 1) -> None:
        self.strength = strength
        self.generator = FaceGenerator.load(default_generator() if model is None else model, threads=threads)
        self.largest = 0
        """Side of the largest square so far, pixels: where it exceeds the generator's, faces look soft."""

    @property
    def card(self) -> GeneratorCard:
        """What the generator says of itself."""
        return self.generator.card

    @property
    def fingerprint(self) -> str:
        """Of what its faces depend on besides their seeds."""
        return f"{self.card.sha256} {_BLENDING}"

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
        """Drawn windows, all faces in one call. Jobs that come together hide one another's faces from the network."""
        found = [self._view(picture, job, jobs) for job in jobs]
        views = [view for view in found if isinstance(view, _View)]
        if not views:
            return [Replacement(None, str(reason)) for reason in found]
        drawn = self.generator.generate(
            np.stack([view.picture for view in views]),
            np.zeros((len(views), 4), dtype=np.float32),  # the holes are given
            np.stack([view.keypoints for view in views]),
            np.stack([view.z for view in views]),
            masks=np.stack([view.mask for view in views])[:, None],
        )
        pasted = iter(zip(views, drawn, strict=True))
        made = [_window(*next(pasted)) if isinstance(view, _View) else None for view in found]
        self.largest = max(self.largest, *(view.side for view in views))
        return [
            Replacement(pixels, "" if pixels is not None else str(reason))
            for pixels, reason in zip(made, found, strict=True)
        ]

    def _view(self, picture: Pixels, job: Job, jobs: Sequence[Job]) -> _View | str:
        """What the network sees of a job, or why it can't do it."""
        import cv2

        if job.face.size < MIN_FACE:
            return f"smaller than {MIN_FACE:g} pixels"
        height, width = picture.shape[:2]
        square = square_of(job.face, job.region.window, width, height)
        box = tuple(float(value) for value in job.face.box)
        x0, y0, x1, _ = square
        side, resolution = x1 - x0, self.generator.resolution
        inside = _inside(square, width, height)
        if inside < _LEAST_INSIDE * side**2 or _inside(box, width, height) < _LEAST_INSIDE * _area(box):
            return "mostly outside the picture"
        hidden = _hidden(square, jobs)
        crop = cut(picture, square)
        crop = np.asarray(cv2.copyTo(np.full_like(crop, _GREY), hidden.view(np.uint8), crop))
        mask = _any_under(hidden, resolution)
        # What is outside the picture is black, as in training, and counted by pixels of the crop.
        seen = inside - hidden.sum()
        if seen < _LEAST_SEEN * side**2:
            return "too little to see around it"
        points = _points(job.face)
        points[:, :2] = (points[:, :2] - np.array([x0, y0], dtype=np.float32)) * np.float32(resolution / side)
        z = np.random.default_rng(job.seed).standard_normal(self.generator.latent).astype(np.float32)
        outside = ~_in_picture(square, width, height)
        seen = mask == 0 if inside == side**2 else _any_under(hidden | outside, resolution) == 0
        return _View(square, job.region.window, resize(crop, resolution), mask, seen, known_points(points), z)


@dataclass(frozen=True, eq=False)
class _View:
    """One face as the network gets it: square and window in the picture, the rest at the generator's size."""

    square: Square
    window: Square
    picture: Pixels
    mask: Floats
    seen: npt.NDArray[np.bool_]
    keypoints: Floats
    z: Floats

    @property
    def side(self) -> int:
        return self.square[2] - self.square[0]


def square_of(face: Face, window: Square, width: int, height: int) -> Square:
    """What the generator is shown of a face: the crop of FDF's rule, larger where the region leaves too little of it.

    Args:
        face: whose.
        window: of its region, inside the picture.
        width: of the picture.
        height: of the picture.

    Returns:
        (x0, y0, x1, y1), square, holds the window and something around it; kept inside the picture where it fits in.
    """
    longest = max(window[2] - window[0], window[3] - window[1])
    room = max(2, math.ceil(_ROOM * longest))
    left, top = max(0, window[0] - room), max(0, window[1] - room)
    right, bottom = min(width, window[2] + room), min(height, window[3] + room)
    x0, y0, x1, y1 = crop_box([float(v) for v in face.box], width, height)
    if x0 <= left and y0 <= top and x1 >= right and y1 >= bottom:
        return x0, y0, x1, y1
    side = max(math.ceil(_CROP * face.size), longest + 2 * room)
    x, y = _start(window[0], window[2], side, width), _start(window[1], window[3], side, height)
    return x, y, x + side, y + side


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _inside(box: Sequence[float], width: int, height: int) -> float:
    """Pixels of a box that lie in the picture."""
    return max(0, min(box[2], width) - max(box[0], 0)) * max(0, min(box[3], height) - max(box[1], 0))


def _start(low: int, high: int, side: int, limit: int) -> int:
    """Where an interval of `side` round the middle of low–high begins, slid into 0–limit if it fits in."""
    start = (low + high - side) // 2
    return min(max(start, 0), limit - side) if side <= limit else start


def _hidden(square: Square, jobs: Sequence[Job]) -> npt.NDArray[np.bool_]:
    """Pixels of a square that anybody's region touches, soft edges included."""
    x0, y0, x1, y1 = square
    hidden = np.zeros((y1 - y0, x1 - x0), dtype=np.bool_)
    for job in jobs:
        a, b, c, d = job.region.window
        left, top, right, bottom = max(a, x0), max(b, y0), min(c, x1), min(d, y1)
        if left < right and top < bottom:
            touched = job.region.alpha[top - b : bottom - b, left - a : right - a] > 0
            hidden[top - y0 : bottom - y0, left - x0 : right - x0] |= touched
    return hidden


def _any_under(hidden: npt.NDArray[np.bool_], resolution: int) -> Floats:
    """1 where a pixel of the generator's size has anything hidden under it, float32 (R, R)."""
    import cv2

    at, side = np.arange(resolution), len(hidden)
    first, end = at * side // resolution, -(-(at + 1) * side // resolution)
    sums = np.asarray(cv2.integral(hidden.view(np.uint8)))
    rows = sums[end] - sums[first]
    return np.asarray(rows[:, end] != rows[:, first], dtype=np.float32)


def _in_picture(square: Square, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Pixels of a square that lie in the picture."""
    x, y = np.arange(square[0], square[2]), np.arange(square[1], square[3])
    return ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None, :]


def _points(face: Face) -> Floats:
    """Seven keypoints; from a detector's five points where there are no others: nose and eyes."""
    if face.keypoints is not None:
        return np.array(face.keypoints, dtype=np.float32)
    points = np.zeros((7, 3), dtype=np.float32)
    if face.landmarks5 is not None:
        points[[2, 1, 0], :2] = face.landmarks5[:3]  # the eye on the picture's left is the person's right one
        points[:3, 2] = 1
    return points


def _window(view: _View, drawn: Pixels) -> Pixels:
    """The window of a drawn crop at the size of the picture, its colours matched along the border."""
    import cv2

    drawn = match_border(drawn, view.picture, view.seen, view.mask > 0)
    how = cv2.INTER_CUBIC if view.side > len(drawn) else cv2.INTER_AREA
    whole = np.asarray(cv2.resize(drawn, (view.side, view.side), interpolation=how), dtype=np.uint8)
    left, top = view.window[0] - view.square[0], view.window[1] - view.square[1]
    right, bottom = view.window[2] - view.square[0], view.window[3] - view.square[1]
    return np.ascontiguousarray(whole[top:bottom, left:right])
