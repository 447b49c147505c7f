"""How much a fake changes with z, by a measure of structure that needs no network.

1 − MS-SSIM (Wang et al. 2003) of the luminance of the face, as Odena et al. 2017 (arXiv:1610.09585) use it against collapsed
generators: 0 for equal pictures. Three scales of 64, 32 and 16 px; light and contrast are part of it, colour is not. It is
not LPIPS.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Pixels

SIDE: Final = 64
"""Pixels of the finest scale; `structural_distance` takes squares of this side."""

_WEIGHTS: Final = np.array([0.0448, 0.2856, 0.3001]) / 0.6305  # the first three of the paper's five, to a sum of 1
_C1: Final = (0.01 * 255) ** 2
_C2: Final = (0.03 * 255) ** 2
_SIGMA: Final = 1.5


def structural_distance(a: Pixels, b: Pixels) -> float:
    """1 − MS-SSIM of two uint8 RGB squares (64, 64, 3): 0 for equal ones, about 1 for unlike ones.

    Raises:
        ValueError: another size.
    """
    import cv2

    for picture in (a, b):
        if picture.shape != (SIDE, SIDE, 3):
            raise ValueError(f"Expected {(SIDE, SIDE, 3)}, got {picture.shape}.")
    x, y = (np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.float64) for picture in (a, b))
    product = 1.0
    for scale, weight in enumerate(_WEIGHTS):
        light, structure = _terms(x, y)
        value = (light * structure).mean() if scale == len(_WEIGHTS) - 1 else structure.mean()
        product *= max(float(value), 0.0) ** float(weight)
        x, y = (0.25 * (v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) for v in (x, y))
    return 1 - product


def mean_structural_distance(pictures: Sequence[Pixels]) -> float:
    """Mean over all pairs of two and more squares."""
    return float(np.mean([structural_distance(a, b) for a, b in itertools.combinations(pictures, 2)]))


def _terms(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
    import cv2

    def blur(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(v, (11, 11), _SIGMA, borderType=cv2.BORDER_REFLECT), dtype=np.float64)

    mean_x, mean_y = blur(x), blur(y)
    spread_x, spread_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    both = blur(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return light, (2 * both + _C2) / (spread_x + spread_y + _C2)
