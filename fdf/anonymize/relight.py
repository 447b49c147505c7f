"""Light on a face as four numbers, skin's colour as two: all that `donor` takes from the pixels of a source.

Whatever keeps the detail of the light, keeps the person: a narrow low-pass of the source, which looks best, let dlib match
one output in five at 1 % FAR. So the logarithm of luminance is fitted with the spherical harmonics of bands 0 and 1 over the
normals of the mesh (Ramamoorthi and Hanrahan 2001 use nine; band 2 already has room for a nose's shadow).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Pixels

Array = npt.NDArray[np.float64]

_LUMA: Final = np.array([0.2126, 0.7152, 0.0722])
_BLACK: Final = 0.004  # linear: darker pixels tell nothing of the light
_ROUNDS: Final = 6
_SOFT: Final = 0.15  # residual from which on a point counts for less, natural logarithm
_FACING: Final = 0.15  # least share of a normal that looks to the camera
_STEEPEST: Final = 1.2  # of the light's change over a sphere, natural logarithm
_GAIN: Final = 1.6  # most that a donor is brightened or darkened, natural logarithm
_TINT: Final = 0.7


@dataclass(frozen=True, eq=False)
class Lighting:
    """Light and tone of one face.

    Attributes:
        level: (4,) log luminance at a normal (x, y, z): level · (1, x, y, z), picture's axes.
        tint: (2,) log of red over green and of blue over green.
        residual: median absolute deviation of points of the skin from `level`, natural logarithm: large under hard shadows,
            beards, dark glasses and hands.
    """

    level: Array
    tint: Array
    residual: float


def fit_lighting(
    pixels: Pixels, points: npt.NDArray[np.floating], normals: Array, skin: npt.NDArray[np.bool_]
) -> Lighting | None:
    """Fit the light on a face; None where too little of its skin is in sight.

    Args:
        pixels: RGB, uint8 (H, W, 3).
        points: (N, 2) where the mesh's points lie in it.
        normals: (N, 3), picture's axes, towards the camera z < 0.
        skin: (N,) which points are skin: no eyes, brows, lips.
    """
    height, width = pixels.shape[:2]
    at = np.floor(points).astype(int)
    inside = ((at >= 0) & (at < [width, height])).all(axis=1)
    used = np.flatnonzero(skin & inside & (normals[:, 2] < -_FACING))
    if len(used) < 40:
        return None
    linear = to_linear(pixels[at[used, 1], at[used, 0]])
    basis = _basis(normals[used])
    log = np.log(np.maximum(linear, _BLACK))
    luma = np.log(np.maximum(linear @ _LUMA, _BLACK))
    weight = -normals[used, 2]
    level, off = np.zeros(4), np.zeros(len(used))
    ridge = np.diag([0.0, 1.0, 1.0, 1.0]) * 0.02 * weight.sum()
    for _ in range(_ROUNDS):
        kept = weight / (1 + (off / _SOFT) ** 2)
        level = np.linalg.solve((basis * kept[:, None]).T @ basis + ridge, (basis * kept[:, None]).T @ luma)
        off = luma - basis @ level
    tint = np.array([_median(log[:, c] - log[:, 1], weight) for c in (0, 2)])
    return Lighting(level, tint, _median(np.abs(off), weight))


def gains(donor: Lighting, at_donor: Array, target: Lighting, at_target: Array) -> Array:
    """Factors (N, 3) on a donor's linear light at each point, given its normals there and on the target."""
    steep = np.clip(target.level[1:] - donor.level[1:], -_STEEPEST, _STEEPEST)
    wanted = np.concatenate([target.level[:1], donor.level[1:] + steep])
    change = np.clip(_basis(at_target) @ wanted - _basis(at_donor) @ donor.level, -_GAIN, _GAIN)
    red, blue = np.clip(target.tint - donor.tint, -_TINT, _TINT)
    tint = np.array([red, 0.0, blue])
    tint -= np.log(_LUMA @ np.exp(tint))  # a tint is no light
    return np.asarray(np.exp(change[:, None] + tint[None]))


def to_linear(pixels: npt.ArrayLike) -> Array:
    """sRGB 0–255 → linear light 0–1."""
    values = np.asarray(pixels, dtype=np.float64) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: npt.ArrayLike) -> Array:
    """Linear light 0–1 → sRGB 0–255."""
    values = np.clip(np.asarray(linear, dtype=np.float64), 0, 1)
    return np.asarray(255 * np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055))


def _basis(normals: Array) -> Array:
    return np.column_stack([np.ones(len(normals)), normals])


def _median(values: Array, weight: Array) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
