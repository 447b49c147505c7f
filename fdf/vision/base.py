"""What detectors, keypointers and embedders promise, and the arrays that pass between them.

A *picture* is upright RGB, uint8 (H, W, 3). Points are (x, y) in its pixels, origin at the top left corner. A batch is a
sequence of pictures; results come back one per picture, in order, and do not depend on how pictures were batched.
`Detections` and `Keypoints` check themselves when they are made, so that a bad shape fails at its adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fdf.vision.zoo import Model

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Part(NamedTuple):
    """A part of a picture, [x0, x1) × [y0, y1) in its pixels."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of one picture, by falling score.

    Attributes:
        boxes: float32 (N, 4), [x0, y0, x1, y1) in pixels, x1 > x0, y1 > y0, inside the picture.
        scores: float32 (N,), 0–1, falling.
        landmarks5: float32 (N, 5, 2) in the order of `fdf.vocabulary.LANDMARK_NAMES`, or None if the detector gives none.
            They may lie outside the picture: a face can be cut by its border.

    Raises:
        ValueError: shapes that don't fit, values that aren't finite, empty boxes, scores out of range or out of order.
    """

    boxes: Floats
    scores: Floats
    landmarks5: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.boxes)
        _check("boxes", self.boxes, (n, 4))
        _check("scores", self.scores, (n,))
        if self.landmarks5 is not None:
            _check("landmarks5", self.landmarks5, (n, 5, 2))
        if n and not ((self.boxes[:, 2:] > self.boxes[:, :2]).all() and (self.boxes >= 0).all()):
            raise ValueError("Detections: boxes need x1 > x0 >= 0 and y1 > y0 >= 0.")
        if n and (self.scores.min() < 0 or self.scores.max() > 1 or (np.diff(self.scores) > 0).any()):
            raise ValueError("Detections: scores must lie in 0–1 and fall from face to face.")

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The points of the faces of one picture, in the order of its `Detections`.

    Attributes:
        points: float32 (N, 7, 3), (x, y, confidence 0–1) in the order of `fdf.vocabulary.KEYPOINT_NAMES`; left is the
            subject's own. Points may lie outside the picture; confidence 0 says that the point was not found.
        mesh: float32 (N, 468, 3), MediaPipe's face mesh: x and y in pixels, z in the same unit, smaller is nearer. None
            if the keypointer makes none.
        presence: float32 (N,), 0–1, how sure the mesh is that there is a clear face. None without a mesh.
    """

    points: Floats
    mesh: Floats | None = None
    presence: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.points)
        _check("points", self.points, (n, 7, 3))
        if n and (self.points[..., 2].min() < 0 or self.points[..., 2].max() > 1):
            raise ValueError("Keypoints: confidences must lie in 0–1.")
        if self.mesh is not None:
            _check("mesh", self.mesh, (n, 468, 3))
        if self.presence is not None:
            _check("presence", self.presence, (n,))

    def __len__(self) -> int:
        return len(self.points)


@runtime_checkable
class Detector(Protocol):
    """Finds faces."""

    @property
    def id(self) -> str:
        """Zoo id; ids of several models are joined by `+`."""

    @property
    def models(self) -> tuple[Model, ...]:
        """Every set of weights that is used."""

    def detect(self, pictures: Sequence[Pixels]) -> list[Detections]:
        """Faces of each picture. Raises ValueError for anything but upright RGB uint8 (H, W, 3)."""
        ...


@runtime_checkable
class Keypointer(Protocol):
    """Finds the seven keypoints of faces that a detector found."""

    @property
    def id(self) -> str:
        """Zoo id; ids of several models are joined by `+`."""

    @property
    def models(self) -> tuple[Model, ...]:
        """Every set of weights that is used."""

    def keypoints(self, pictures: Sequence[Pixels], detections: Sequence[Detections]) -> list[Keypoints]:
        """Keypoints of each picture's faces, in the order of its detections."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Turns faces into vectors that lie close together for one person."""

    @property
    def id(self) -> str:
        """Zoo id."""

    @property
    def models(self) -> tuple[Model, ...]:
        """Every set of weights that is used."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed(
        self, pictures: Sequence[Pixels], detections: Sequence[Detections], keypoints: Sequence[Keypoints]
    ) -> list[Floats]:
        """One float32 (N, dim) per picture."""
        ...


def check_pictures(pictures: Sequence[Pixels]) -> None:
    """Refuse what is no upright RGB uint8 picture, naming its place in the batch."""
    for index, picture in enumerate(pictures):
        shape, kind = getattr(picture, "shape", None), getattr(picture, "dtype", type(picture).__name__)
        if shape is None or len(shape) != 3 or shape[2] != 3 or kind != np.uint8 or 0 in shape:
            raise ValueError(
                f"Picture {index} of the batch: expected RGB, uint8 (H, W, 3), got {kind} {shape}. "
                "Use fdf.vision.picture.decode to read files."
            )


def check_batch(pictures: Sequence[Pixels], *others: Sequence[object]) -> None:
    """Refuse bad pictures and lists of another length than the pictures."""
    check_pictures(pictures)
    for other in others:
        if len(other) != len(pictures):
            raise ValueError(f"{len(pictures)} pictures but {len(other)} results for them.")


def make_detections(
    boxes: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    landmarks5: npt.NDArray[np.floating] | None,
    width: int,
    height: int,
) -> Detections:
    """Clip boxes to the picture, drop those of which less than one pixel is left, sort by falling score.

    Ties are broken by the box's left, top, right and bottom edge, so that the order never depends on the network's.
    """
    limit = np.array([width, height, width, height], dtype=np.float32)
    clipped = np.clip(np.asarray(boxes, dtype=np.float32).reshape(-1, 4), 0, limit)
    kept = ((clipped[:, 2:] - clipped[:, :2]) >= 1).all(axis=1)
    clipped, scores32 = clipped[kept], np.clip(np.asarray(scores, dtype=np.float32).reshape(-1)[kept], 0, 1)
    order = np.lexsort((*clipped.T[::-1], -scores32))
    points = None
    if landmarks5 is not None:
        points = np.ascontiguousarray(np.asarray(landmarks5, dtype=np.float32).reshape(-1, 5, 2)[kept][order])
    return Detections(np.ascontiguousarray(clipped[order]), np.ascontiguousarray(scores32[order]), points)


def nms(boxes: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], overlap: float) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the boxes to keep, by falling score, ties by index.

    A box goes when its intersection over union with a better one exceeds `overlap`.
    """
    order = np.argsort(-scores, kind="stable")
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    keep = []
    while len(order):
        best, order = order[0], order[1:]
        keep.append(best)
        corner = np.minimum(boxes[best, 2:], boxes[order, 2:]) - np.maximum(boxes[best, :2], boxes[order, :2])
        shared = np.clip(corner, 0, None).prod(axis=1)
        order = order[shared / (area[best] + area[order] - shared + 1e-9) <= overlap]
    return np.array(keep, dtype=np.intp)


def _check(name: str, array: object, shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape != shape:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name}: expected float32 {shape}, got {got}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: every value must be finite.")
