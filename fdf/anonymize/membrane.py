"""Smooth continuation of what is known into what is not: under donors' faces, and for the colours of drawn ones."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Floats, Pixels

_REACH: Final = 0.1  # of the picture's side: where a correction at the border of a hole has fallen to 1/e


def match_border(drawn: Pixels, picture: Pixels, seen: npt.NDArray[np.bool_], hole: npt.NDArray[np.bool_]) -> Pixels:
    """A drawn face with the colours of its surroundings where it meets them.

    The offset between what is seen and what was drawn is taken along the border of the hole, continued into the hole (the
    membrane of Farbman et al. 2009, "Coordinates for instant image cloning", by pull and push instead of mean values), and
    fades with the distance from the border: a face keeps its own tone, its seam goes.

    Args:
        drawn: uint8 (R, R, 3), what was drawn in the hole.
        picture: uint8 (R, R, 3), its surroundings.
        seen: (R, R), pixels of `picture` that show something: nothing hidden, nothing outside of the photo. No other one is
            looked at.
        hole: (R, R), pixels to be corrected.

    Returns:
        uint8 (R, R, 3), `drawn` outside of the hole.
    """
    import cv2

    part = _around(hole)
    clear, inside = seen[part] & ~hole[part], hole[part]
    share = np.asarray(cv2.blur(clear.astype(np.float32), (3, 3)))
    border = inside & (share > 0)
    if not border.any():
        return drawn
    known = cv2.copyTo(picture[part], clear.view(np.uint8)).astype(np.float32)
    beside = np.asarray(cv2.blur(known, (3, 3)))
    offset: Floats = np.zeros(beside.shape, dtype=np.float32)
    at = np.nonzero(border)
    offset[at] = beside[at] / share[at][:, None] - drawn[part][at]
    depth = np.asarray(cv2.distanceTransform(inside.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5))
    weight = np.exp((1 - depth) / np.float32(_REACH * len(drawn)))
    changed = cv2.add(cv2.multiply(fill(offset, border), cv2.merge([weight] * 3)), drawn[part], dtype=cv2.CV_8U)
    out = drawn.copy()
    out[part] = cv2.copyTo(changed, inside.view(np.uint8), out[part].copy())
    return out


def _around(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold a mask and two pixels round it: what its border is found in."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(max(0, rows[0] - 2), rows[-1] + 3), slice(max(0, columns[0] - 2), columns[-1] + 3)


def fill(colors: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """A smooth continuation of the known pixels into all others, float32 (H, W, 3); the known ones stay.

    Pull and push over halved pictures (Gortler et al. 1996): what is unknown takes the mean of what is known about it.

    Args:
        colors: float32 (H, W, 3).
        known: (H, W), True for known pixels; the others are never looked at.
    """
    import cv2

    height, width = known.shape
    there = np.ascontiguousarray(known).view(np.uint8)
    weighted = np.asarray(cv2.copyTo(colors, there))
    if min(height, width) <= 2 or known.all():
        up = np.empty_like(weighted)
        up[:] = weighted.sum(axis=(0, 1)) / max(float(there.sum()), 1e-6)
    else:
        half = ((width + 1) // 2, (height + 1) // 2)
        share = np.asarray(cv2.resize(there.astype(np.float32), half, interpolation=cv2.INTER_AREA))
        total = np.asarray(cv2.resize(weighted, half, interpolation=cv2.INTER_AREA))
        mean = (total / np.maximum(share, np.float32(1e-6))[..., None]).astype(np.float32)
        coarse = fill(mean, share > 0)
        up = np.asarray(cv2.resize(cv2.blur(coarse, (3, 3)), (width, height), interpolation=cv2.INTER_LINEAR))
    return np.asarray(cv2.copyTo(colors, there, up))
