"""Where FDF cuts a face out of its photo, and how it scales the cut.

The two rules are those of the published datasets (Hukkelås et al., DeepPrivacy 2019; FDF256, 2022), checked against 400
of their crops. Coordinates are pixels of the upright picture, (x, y), boxes [x0, y0, x1, y1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

RULES: Final = ("fdf128", "fdf256")
_POOLED_BELOW: Final = 128


def crop_box(box: Sequence[float], width: int, height: int, rule: str = "fdf128") -> tuple[int, int, int, int]:
    """Square crop around a face box, by the rule of FDF128 or of FDF256.

    `fdf128`: the box is made square by growing its short side, then grown by up to 0.35 of it on every side, all kept
    inside the picture; where that can't be done, the centred square of 1.7 × the longer side. `fdf256`: the centred square
    of 1.4 × the longer side. The centred squares may leave the picture: `cut` fills what is outside with black.

    Args:
        box: face box [x0, y0, x1, y1), finite, x1 > x0 and y1 > y0.
        width: width of the picture.
        height: height of the picture.
        rule: `fdf128` or `fdf256`.

    Returns:
        (x0, y0, x1, y1) in whole pixels, x1 − x0 = y1 − y0.

    Raises:
        ValueError: a box or size that can't be, or an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"Unknown crop rule {rule!r}: expected one of {', '.join(RULES)}.")
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise ValueError(f"A face box is four finite numbers x0, y0, x1, y1, got {list(box)}.")
    if width < 1 or height < 1:
        raise ValueError(f"A picture has at least one pixel, got {width}×{height}.")
    x0, y0, x1, y1 = (float(value) for value in box)
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"A face box needs x1 > x0 and y1 > y0, got {[x0, y0, x1, y1]}.")
    if rule == "fdf256":
        return _simple(x0, y0, x1, y1, 0.40)
    return _quadratic(x0, y0, x1, y1, width, height) or _simple(x0, y0, x1, y1, 0.70)


def cut(pixels: Pixels, box: Sequence[int]) -> Pixels:
    """Cut a crop box out of a picture; what lies outside the picture is black.

    Args:
        pixels: upright RGB picture, uint8 (H, W, 3).
        box: whole pixels [x0, y0, x1, y1), x1 > x0, y1 > y0; may leave the picture, even wholly.

    Returns:
        A new array, uint8 (y1 − y0, x1 − x0, 3).
    """
    _check(pixels)
    x0, y0, x1, y1 = (int(value) for value in box)
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"A crop box needs x1 > x0 and y1 > y0, got {[x0, y0, x1, y1]}.")
    height, width = pixels.shape[:2]
    out = np.zeros((y1 - y0, x1 - x0, 3), dtype=np.uint8)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if left < right and top < bottom:
        out[top - y0 : bottom - y0, left - x0 : right - x0] = pixels[top:bottom, left:right]
    return out


def resize(crop: Pixels, size: int) -> Pixels:
    """Scale a square crop to size × size the way FDF does.

    128 and more: OpenCV's INTER_AREA. 64, 32, …: means of 2×2 pixels, rounded half up, of the next larger one, starting
    at 128, when the crop has 128 pixels to start from. Anything else: INTER_AREA directly.

    Args:
        crop: square RGB crop, uint8 (S, S, 3).
        size: side of the result, ≥ 1; larger than S enlarges.
    """
    import cv2

    _check(crop)
    if crop.shape[0] != crop.shape[1]:
        raise ValueError(f"Expected a square crop, got {crop.shape[1]}×{crop.shape[0]}.")
    if size < 1:
        raise ValueError(f"A crop can't be scaled to {size} pixels: expected 1 or more.")
    pooled = size < _POOLED_BELOW and _POOLED_BELOW % size == 0 and crop.shape[0] >= _POOLED_BELOW
    start = _POOLED_BELOW if pooled else size
    out = np.asarray(cv2.resize(crop, (start, start), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    while out.shape[0] > size:
        half = out.shape[0] // 2
        sums = out.reshape(half, 2, half, 2, 3).sum(axis=(1, 3), dtype=np.uint16)
        out = ((sums + 2) >> 2).astype(np.uint8)
    return out


def _check(pixels: Pixels) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"Expected RGB pixels, uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}.")


def _simple(x0: float, y0: float, x1: float, y1: float, grow: float) -> tuple[int, int, int, int]:
    """Centred square of side max(w, h)·(1 + grow); may leave the picture. The floors are those of the published code."""
    width, height = x1 - x0, y1 - y0
    x, y = int(x0) + width // 2, int(y0) + height // 2
    half = max(max(width, height) * (1 + grow) // 2, 1.0)  # a face of one pixel still gives a crop
    return int(x - half), int(y - half), int(x + half), int(y + half)


def _quadratic(x0: float, y0: float, x1: float, y1: float, width: int, height: int) -> tuple[int, int, int, int] | None:
    """Square inside the picture that holds the box, or None where there is none.

    Additions are in the order of the published code: in the last bit of a double, its "inside" and "holds" decide
    whether a crop that touches the border exists at all.
    """
    w, h = x1 - x0, y1 - y0
    if max(w, h) > min(width, height):
        return None
    gap = abs(h - w)
    x, y = x0, y0
    if h < w:
        h, y = h + gap, max(0.0, y - gap // 2)
    elif w < h:
        w, x = w + gap, max(0.0, x - gap // 2)
    x, y = _slid(x, w, width), _slid(y, h, height)
    grow = min((height - w) // 2, (width - h) // 2, math.floor(0.35 * max(w, h)))
    if grow > 0:
        w, h = w + 2 * grow, h + 2 * grow
        x, y = _slid(max(0.0, x - grow), w, width), _slid(max(0.0, y - grow), h, height)
    inside = x >= 0 and y >= 0 and x + w <= width and y + h <= height
    holds = x <= x0 and y <= y0 and x + w >= x1 and y + h >= y1
    if not (inside and holds):
        return None
    side = int(min(w, h))
    return int(x), int(y), int(x) + side, int(y) + side


def _slid(start: float, length: float, limit: int) -> float:
    """Start of an interval moved back so that it ends at the limit at most."""
    return start - (start + length - limit) if start + length > limit else start
