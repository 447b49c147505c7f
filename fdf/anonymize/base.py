"""What anonymizing is made of: faces, regions to hide, methods, and what became of each face.

A *picture* is upright RGB, uint8 (H, W, 3), as everywhere in fdf; points are (x, y) in its pixels, origin at the top left
corner. A `Method` gets a picture and jobs, one a face, and gives pixels for each job's window or says that it can't. It
never decides what happens then: whatever it can't do is covered by the caller. No face stays bare.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from fdf.vision.base import Floats, Pixels

Origin = Literal["detector", "user", "track"]
"""Who says that there is a face: a detector, the user, or a tracker that carries it through frames without a hit."""

RegionName = Literal["face", "head"]
"""What is hidden of a person: forehead to chin, or the whole head with ears and hair."""

ORIGINS: Final[tuple[str, ...]] = get_args(Origin)
REGIONS: Final[tuple[str, ...]] = get_args(RegionName)


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a picture.

    Attributes:
        box: float32 (4,), [x0, y0, x1, y1) in pixels of the upright picture, x1 > x0, y1 > y0. It may reach over the
            border: a face can be cut by it.
        score: how sure the detector is, 0–1; 1 for a user's box.
        keypoints: float32 (7, 3), (x, y, confidence) in the order of `fdf.vocabulary.KEYPOINT_NAMES`, or None.
        landmarks5: float32 (5, 2) in the order of `fdf.vocabulary.LANDMARK_NAMES`, or None.
        track: number of the track in a video, or None.
        origin: who says that there is a face.

    Raises:
        ValueError: a shape that doesn't fit, a value that isn't finite, an empty box, a score out of range.
    """

    box: Floats
    score: float = 1.0
    keypoints: Floats | None = None
    landmarks5: Floats | None = None
    track: int | None = None
    origin: Origin = "detector"

    def __post_init__(self) -> None:
        _check("box", self.box, (4,))
        if not (self.box[2:] > self.box[:2]).all():
            raise ValueError(f"Face: expected a box with x1 > x0 and y1 > y0, got {self.box.tolist()}.")
        if not 0 <= self.score <= 1:
            raise ValueError(f"Face: expected a score in 0–1, got {self.score}.")
        if self.keypoints is not None:
            _check("keypoints", self.keypoints, (7, 3))
        if self.landmarks5 is not None:
            _check("landmarks5", self.landmarks5, (5, 2))
        if self.origin not in ORIGINS:
            raise ValueError(f"Face: expected an origin of {', '.join(ORIGINS)}, got {self.origin!r}.")

    @property
    def size(self) -> float:
        """The longer side of the box, pixels."""
        return float((self.box[2:] - self.box[:2]).max())

    def mapped(self, scale: Sequence[float] = (1, 1), shift: Sequence[float] = (0, 0)) -> Face:
        """The same face in a picture that was scaled, then moved: factors and pixels for x and y."""
        factor, away = np.array(scale, dtype=np.float32), np.array(shift, dtype=np.float32)
        points = self.keypoints
        if points is not None:
            points = np.concatenate([points[:, :2] * factor + away, points[:, 2:]], axis=1)
        five = None if self.landmarks5 is None else self.landmarks5 * factor + away
        box = self.box * np.tile(factor, 2) + np.tile(away, 2)
        return dataclasses.replace(self, box=box, keypoints=points, landmarks5=five)


@dataclass(frozen=True, eq=False)
class Region:
    """The pixels of a picture that hide one face.

    Attributes:
        window: (x0, y0, x1, y1), integers inside the picture.
        alpha: float32 (y1 − y0, x1 − x0), 0–1: 1 over everything that must not be seen, falling to 0 only outside of that.
        kind: `head` if hair and ears must not be seen either. Methods that know where in a `face` region the face is may leave
            what lies round it; all others cover everything.
    """

    window: tuple[int, int, int, int]
    alpha: Floats
    kind: RegionName = "head"

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.window
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise ValueError(f"Region: expected a window with 0 <= x0 < x1 and 0 <= y0 < y1, got {self.window}.")
        _check("alpha", self.alpha, (y1 - y0, x1 - x0))
        if self.alpha.min() < 0 or self.alpha.max() > 1:
            raise ValueError("Region: alpha must lie in 0–1.")

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the window: `picture[region.slices]`."""
        x0, y0, x1, y1 = self.window
        return slice(y0, y1), slice(x0, x1)


@dataclass(frozen=True, eq=False)
class Job:
    """One face to hide.

    Attributes:
        face: whose.
        region: where.
        seed: of whatever a method draws; equal for all frames of one track, different for other salts.
    """

    face: Face
    region: Region
    seed: int


@dataclass(frozen=True, eq=False)
class Replacement:
    """What a method makes of a job.

    Attributes:
        pixels: uint8 (h, w, 3), the whole window; the caller blends it in by the region's alpha. None: the method can't do
            this face, and the caller covers it.
        reason: why it can't, in a few words.
    """

    pixels: Pixels | None
    reason: str = ""


@runtime_checkable
class Method(Protocol):
    """A way to hide faces."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    def replace(self, picture: Pixels, jobs: Sequence[Job]) -> list[Replacement]:
        """One replacement a job, in order.

        Args:
            picture: the original, but for faces that another method has hidden before; it must not be changed.
            jobs: all faces that are still to be hidden.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of one face.

    Attributes:
        method: the one that hid it.
        asked: the one that was asked for.
        reason: why it is another one, empty if it isn't.
    """

    method: str
    asked: str
    reason: str = ""

    @property
    def fell_back(self) -> bool:
        """Whether the method asked for could not do this face."""
        return self.method != self.asked


@dataclass(frozen=True, eq=False)
class Result:
    """An anonymized picture.

    Attributes:
        picture: upright RGB, uint8 (H, W, 3), a new array.
        faces: the faces that were hidden.
        outcomes: what became of each of them, in their order.
    """

    picture: Pixels
    faces: list[Face]
    outcomes: list[Outcome]

    @property
    def counts(self) -> dict[str, int]:
        """`faces`, each method's name with the number of faces that it hid, and `fell_back`."""
        found: dict[str, int] = {"faces": len(self.faces)}
        for outcome in self.outcomes:
            found[outcome.method] = found.get(outcome.method, 0) + 1
        found["fell_back"] = sum(outcome.fell_back for outcome in self.outcomes)
        return found


def _check(name: str, array: object, shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape != shape:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name}: expected float32 {shape}, got {got}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: every value must be finite.")
