"""What is taken away of a picture: a box or an ellipse that always holds the face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

ELLIPSE: Final = 1.15
"""Axes of an elliptic hole over the sides of the box: one inscribed in the box itself would leave the jaw's corners bare."""


def hole(box: np.ndarray, resolution: int, *, ellipse: bool) -> np.ndarray:
    """Mask of the removed part: float32 (R, R), 1 where the box or the ellipse round it covers a pixel's centre."""
    x0, y0, x1, y1 = (float(value) for value in box)
    centres = np.arange(resolution, dtype=np.float32) + 0.5
    if not ellipse:
        inside = ((centres >= y0) & (centres < y1))[:, None] & ((centres >= x0) & (centres < x1))[None, :]
        return inside.astype(np.float32)
    across = (centres - (x0 + x1) / 2) / max((x1 - x0) / 2 * ELLIPSE, 0.5)
    down = (centres - (y0 + y1) / 2) / max((y1 - y0) / 2 * ELLIPSE, 0.5)
    return (across[None, :] ** 2 + down[:, None] ** 2 <= 1).astype(np.float32)


def hidden(box: Sequence[float], scale: float, shift: tuple[float, float], *, ellipse: bool) -> np.ndarray:
    """A face box enlarged and moved, no further than the face stays hidden: the box for `hole`, (4,).

    Of a hole that is a box the face is its whole box; of one that is an ellipse, the ellipse inscribed in the box, since the
    corners of a box are no face. `hole` then covers every pixel whose centre lies in it.

    Args:
        scale: sides of the hole over those of the box, 1 or more.
        shift: across and down, as shares of the box's sides.
    """
    x0, y0, x1, y1 = box
    if ellipse:
        # Measured in half sides of the box the inscribed ellipse is the unit disc, and the hole one of radius
        # scale × ELLIPSE, its middle off by 2 × shift: the one holds the other where |2 × shift| ≤ radius − 1. The
        # thousandth is for float32 in `hole`, off by less than a quarter of it for a box of 1 px in a picture of 1024.
        furthest = (scale * ELLIPSE - 1) / 2 - 0.001
        shorter = min(1.0, furthest / max(math.hypot(*shift), 1e-9))
        across, down = (part * shorter for part in shift)
    else:
        furthest = (scale - 1) / 2
        across, down = (min(max(part, -furthest), furthest) for part in shift)
    middle_x, half_width = (x0 + x1) / 2 + across * (x1 - x0), scale * (x1 - x0) / 2
    middle_y, half_height = (y0 + y1) / 2 + down * (y1 - y0), scale * (y1 - y0) / 2
    # A box as large as the face's own may differ from it in the last bits here; `hole` rounds them away.
    return np.array([middle_x - half_width, middle_y - half_height, middle_x + half_width, middle_y + half_height])
