"""Keypoints as marks on a picture: the subject's left and right differ in form and colour, so print and eyes agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fdf.vocabulary import KEYPOINT_NAMES


@dataclass(frozen=True)
class Mark:
    """One keypoint, in per cent of the crop. `side` is `left`, `right` (the subject's own) or `middle`."""

    name: str
    side: str
    x: float
    y: float
    faint: bool


def marks(points: Sequence[tuple[float, float, float]], least: float) -> tuple[Mark, ...]:
    """Marks of the seven keypoints that lie in the crop; those with less confidence than `least` are faint.

    Args:
        points: (x, y, confidence) in COCO order, x and y in per cent of the crop.
        least: the confidence that the recipe asks for.
    """
    return tuple(
        Mark(name.replace("_", " "), _side(name), round(x, 1), round(y, 1), confidence < least)
        for name, (x, y, confidence) in zip(KEYPOINT_NAMES, points, strict=True)
        if math.isfinite(x) and math.isfinite(y) and 0 <= x <= 100 and 0 <= y <= 100
    )


def _side(name: str) -> str:
    side = name.partition("_")[0]
    return side if side in ("left", "right") else "middle"
