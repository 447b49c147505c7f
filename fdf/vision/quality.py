"""How well a face can be seen: sharpness, light, and how light the skin appears in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fdf.vision.base import Floats, Pixels
from fdf.vision.warp import Square, sample

CHEEKS: Final = (50, 280)
"""Mesh points in the middle of the cheeks, the picture's left one first."""

_SIZE: Final = 64
_PATCH: Final = 8  # pixels of a sampled cheek
_PATCH_SIDE: Final = 0.22  # its side over the eye distance
_TURNED: Final = 20.0  # degrees of yaw from which on only the nearer cheek is looked at


@dataclass(frozen=True)
class Quality:
    """Measures of one face; see the FACES table.

    Attributes:
        sharpness: variance of the Laplacian of the luminance (0–255) of the box at 64 × 64.
        brightness: mean of that luminance, 0–255.
        contrast: its standard deviation.
        skin_ita: individual typology angle of the cheeks in degrees, arctan((L* − 50) / b*) in CIELAB under D65 (Chardon et
            al. 1991), from the median colour: how light the skin appears in this light. None if no cheek is in the picture.
        occlusion: 1 − presence of the mesh; None without a mesh.
    """

    sharpness: float
    brightness: float
    contrast: float
    skin_ita: float | None
    occlusion: float | None


def measure(
    pixels: Pixels, box: Floats, five: Floats | None, mesh: Floats | None, presence: float | None, yaw: float = 0.0
) -> Quality:
    """Quality of one face.

    Args:
        pixels: upright RGB, uint8 (H, W, 3).
        box: (4,), inside the picture.
        five: landmarks (5, 2), to find the cheeks without a mesh.
        mesh: (468, 3).
        presence: of the mesh, 0–1.
        yaw: degrees, to choose the cheek that is seen.
    """
    import cv2

    x0, y0 = (int(v) for v in np.floor(box[:2]))
    x1, y1 = (int(v) for v in np.ceil(box[2:]))
    face = pixels[max(y0, 0) : y1, max(x0, 0) : x1]
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    grows = grey.shape[0] < _SIZE or grey.shape[1] < _SIZE
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    grey = np.asarray(cv2.resize(grey, (_SIZE, _SIZE), interpolation=how), dtype=np.float64)
    return Quality(
        sharpness=float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        skin_ita=_skin_ita(pixels, five, mesh, yaw),
        occlusion=None if presence is None else float(min(max(1.0 - presence, 0.0), 1.0)),
    )


def _skin_ita(pixels: Pixels, five: Floats | None, mesh: Floats | None, yaw: float) -> float | None:
    import cv2

    if mesh is not None:
        cheeks = mesh[list(CHEEKS), :2].astype(np.float64)
        span = float(np.linalg.norm(mesh[33, :2] - mesh[263, :2])) / 1.45  # outer corners → eye centres
        depth = float(np.linalg.norm(mesh[10] - mesh[152])) / 2.2  # height of the face: holds in profile
        span = max(span, depth)
    elif five is not None:
        cheeks = five[:2] * 0.4 + five[3:] * 0.6 + (five[:2] - five[1::-1]) * 0.12
        span = max(float(np.linalg.norm(five[1] - five[0])), float(np.linalg.norm(five[3:].mean(0) - five[:2].mean(0))))
    else:
        return None
    if abs(yaw) > _TURNED:  # a face that looks to the picture's right shows its cheek on the picture's left
        cheeks = cheeks[:1] if yaw > 0 else cheeks[1:]
    height, width = pixels.shape[:2]
    inside = [(x, y) for x, y in cheeks if 0 <= x < width and 0 <= y < height]
    if not inside:
        return None
    patches = [sample(pixels, Square(float(x), float(y), max(_PATCH_SIDE * span, 1.0)), _PATCH) for x, y in inside]
    colours = np.stack(patches).reshape(1, -1, 3).astype(np.float32) / np.float32(255)
    lab: npt.NDArray[np.float32] = cv2.cvtColor(colours, cv2.COLOR_RGB2Lab)[0]
    light, _, yellow = np.median(lab, axis=0)
    return float(np.degrees(np.arctan2(light - 50.0, max(float(yellow), 1e-3))))
