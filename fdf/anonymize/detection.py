"""Finding faces for privacy: a face too many costs a smudge, a face too few costs a person.

So the threshold is low, and a picture is looked at several times: as it is, mirrored, closer, turned. `thoroughness` says how
often. What each finds and what it costs: docs/anonymize.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from fdf.anonymize.base import Face
from fdf.errors import UsageError
from fdf.vision.base import Detections, Detector, Part, Pixels, check_pictures, nms

if TYPE_CHECKING:
    from fdf.vision.centerface import CenterFace

Thoroughness = Literal["fast", "normal", "thorough"]

_MIRRORED_POINTS: Final = [1, 0, 2, 4, 3]  # left and right change sides
_OVERLAP: Final = 0.4  # two hits of an intersection over union beyond are one face
_MESH: Final = 0.5  # BlazeFace's own score; the mesh is its gate


@dataclass(frozen=True)
class Look:
    """One way of looking at a picture: quarter turns counter-clockwise, mirrored or not, by which detector."""

    detector: Detector
    turns: int = 0
    mirrored: bool = False

    @property
    def at_parts(self) -> CenterFace | None:
        """The detector, if this way of looking is one for parts of pictures, too."""
        from fdf.vision.centerface import CenterFace

        return self.detector if isinstance(self.detector, CenterFace) and not self.turns else None


class FaceFinder:
    """Finds faces, preferring one too many to one too few.

    Args:
        thoroughness: `fast` is one look at 640 pixels, for film; `normal` two looks at 640–1280 pixels each at two sizes,
            with tiles for big pictures; `thorough` looks closer, at turned pictures, and with a second network.
        threshold: lowest score of a face, 0–1; None for the default of the thoroughness.
        threads: threads inside one operator of a network.

    Raises:
        UsageError: no such thoroughness, or a threshold out of range.
    """

    def __init__(
        self, thoroughness: Thoroughness = "normal", threshold: float | None = None, *, threads: int = 1
    ) -> None:
        if thoroughness not in get_args(Thoroughness):
            raise UsageError(
                "There is no such thoroughness",
                expected=f"one of {', '.join(get_args(Thoroughness))}",
                got=repr(thoroughness),
            )
        self.thoroughness = thoroughness
        self.threshold = THRESHOLDS[thoroughness] if threshold is None else threshold
        if not 0 < self.threshold < 1:
            raise UsageError("The threshold is out of range", expected="a number between 0 and 1", got=str(threshold))
        self.looks = _looks(thoroughness, self.threshold, threads)

    def find(self, picture: Pixels) -> list[Face]:
        """The faces of a picture, by falling score.

        Raises:
            ValueError: anything but upright RGB, uint8 (H, W, 3).
        """
        check_pictures([picture])
        return _joined([_look(picture, look) for look in self.looks])

    def find_part(self, picture: Pixels, part: Part) -> list[Face]:
        """The faces of a part of a picture, in its pixels, by falling score: as large as in the whole, mirrored too if that is.

        Not turned, and not by the second network: that is for looks at the whole.

        Raises:
            ValueError: a bad picture, or a part that isn't inside of it.
        """
        return _joined([_look(picture, look, part) for look in self.looks if look.at_parts])


THRESHOLDS: Final[dict[str, float]] = {"fast": 0.3, "normal": 0.25, "thorough": 0.25}
"""Default threshold of each thoroughness."""


def _looks(thoroughness: Thoroughness, threshold: float, threads: int) -> list[Look]:
    from fdf.vision.blazeface import BlazeFace, BlazeFaceConfig
    from fdf.vision.centerface import CenterFace, CenterFaceConfig

    def near(**settings: int | bool) -> CenterFace:
        return CenterFace(CenterFaceConfig(score=threshold, **settings), threads=threads)  # type: ignore[arg-type]

    if thoroughness == "fast":
        return [Look(near(max_side=640, second_pass=False))]
    whole = near(tile=1280)
    if thoroughness == "normal":
        return [Look(whole), Look(whole, mirrored=True)]
    close, turned = near(min_side=1280, tile=640), near(max_side=640, second_pass=False)
    second = BlazeFace(BlazeFaceConfig(score=_MESH), threads=threads)
    looks = [Look(whole), Look(whole, mirrored=True), Look(close), Look(second)]
    return looks + [Look(turned, turns) for turns in (1, 2, 3)]


def _look(picture: Pixels, look: Look, part: Part | None = None) -> Detections:
    seen = np.rot90(picture, look.turns)
    if look.mirrored:
        seen = seen[:, ::-1]
    seen = np.ascontiguousarray(seen)
    height, width = seen.shape[:2]
    if part is None or look.at_parts is None:
        found = look.detector.detect([seen])[0]
    else:
        mirror = Part(width - part.x1, part.y0, width - part.x0, part.y1)
        found = look.at_parts.detect_part(seen, mirror if look.mirrored else part)
    boxes, five = found.boxes.reshape(-1, 2, 2), found.landmarks5
    if look.mirrored:
        boxes = _mirrored(boxes, width)
        five = None if five is None else _mirrored(five, width)[:, _MIRRORED_POINTS]
    for _ in range(look.turns):
        # rot90 brought (x, y) to (y, W − x); W is now the height.
        boxes = np.stack([height - boxes[..., 1], boxes[..., 0]], axis=-1)
        five = None if five is None else np.stack([height - five[..., 1], five[..., 0]], axis=-1)
        height, width = width, height
    boxes = np.concatenate([boxes.min(axis=1), boxes.max(axis=1)], axis=1)
    return Detections(
        np.ascontiguousarray(boxes, dtype=np.float32),
        found.scores,
        None if five is None else np.ascontiguousarray(five, dtype=np.float32),
    )


def _mirrored(points: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float32]:
    turned = points * np.array([-1, 1], dtype=np.float32) + np.array([width, 0], dtype=np.float32)
    return np.asarray(turned, dtype=np.float32)


def distinct(faces: Sequence[Face], overlap: float = _OVERLAP) -> list[Face]:
    """Each face once, by falling score: of two whose boxes' intersection over union exceeds `overlap`, the surer one."""
    if not faces:
        return []
    boxes, scores = np.stack([face.box for face in faces]), np.array([face.score for face in faces])
    return [faces[row] for row in nms(boxes, scores, overlap)]


def _joined(looks: Sequence[Detections]) -> list[Face]:
    boxes = np.concatenate([found.boxes for found in looks])
    scores = np.concatenate([found.scores for found in looks])
    points = [five for found in looks for five in _points(found)]
    rows = zip(boxes, scores, points, strict=True)
    return distinct([Face(box, float(score), landmarks5=five) for box, score, five in rows])


def _points(found: Detections) -> list[npt.NDArray[np.float32] | None]:
    return [None] * len(found) if found.landmarks5 is None else list(found.landmarks5)
