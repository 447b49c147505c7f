"""Head pose: where a face looks, in degrees.

With R the rotation of the head from facing the camera, in the picture's axes (x right, y down, z away),
R = Rz(roll) · Ry(yaw) · Rx(pitch): the head nods, turns about its upright axis, then leans in the picture. So roll is the
angle of the line through the eyes in the picture. Signs as in the FACES table: yaw positive to the subject's own left (the
picture's right), pitch positive up, roll positive clockwise in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Pose:
    """Yaw, pitch and roll in degrees."""

    yaw: float
    pitch: float
    roll: float


# Points that move little with expression: (index, its mirror image, x, y, z) in units of the outer eye corners' distance.
# Mean of the bundled mesh over near-frontal renders of people who do not exist (|yaw| < 12°, |pitch| < 8°), aligned by
# Procrustes, made mirror-symmetric, tilted so that pitch has no bias over all poses of that half of the renders.
_TEMPLATE: Final = (
    (10, 10, 0.000, -0.538, -0.112),
    (151, 151, 0.000, -0.368, -0.148),
    (9, 9, 0.000, -0.210, -0.168),
    (8, 8, 0.000, -0.106, -0.154),
    (168, 168, 0.000, -0.004, -0.154),
    (6, 6, 0.000, 0.099, -0.201),
    (197, 197, 0.000, 0.183, -0.256),
    (195, 195, 0.000, 0.257, -0.315),
    (5, 5, 0.000, 0.336, -0.375),
    (4, 4, 0.000, 0.432, -0.400),
    (1, 1, 0.000, 0.505, -0.376),
    (33, 263, -0.500, 0.056, 0.078),
    (133, 362, -0.190, 0.078, 0.016),
    (70, 300, -0.628, -0.140, 0.092),
    (63, 293, -0.562, -0.212, 0.007),
    (105, 334, -0.462, -0.249, -0.068),
    (66, 296, -0.328, -0.245, -0.131),
    (107, 336, -0.169, -0.226, -0.162),
    (127, 356, -0.759, 0.083, 0.612),
    (234, 454, -0.746, 0.238, 0.664),
    (116, 345, -0.692, 0.234, 0.216),
    (123, 352, -0.686, 0.382, 0.201),
    (98, 327, -0.185, 0.548, -0.126),
    (64, 294, -0.205, 0.507, -0.174),
    (129, 358, -0.227, 0.471, -0.090),
    (67, 297, -0.389, -0.505, -0.028),
    (54, 284, -0.656, -0.340, 0.229),
    (103, 332, -0.552, -0.440, 0.092),
    (109, 338, -0.210, -0.533, -0.097),
)  # fmt: skip

# Five points, from CenterFace's on the same renders: sine of the angle = offset of the nose over the eyes-to-mouth height,
# over the length of the nose in that unit; height of the nose between eyes and mouth at pitch 0.
_NOSE_YAW: Final = 0.525
_NOSE_PITCH: Final = 0.556
_NOSE_LEVEL: Final = 0.565


def pose_from_mesh(mesh: Points) -> Pose:
    """Pose of one face mesh (468, 3) by a rigid fit to a frontal template (Kabsch 1976).

    On renders with known angles the mean error is 2.6° in yaw, 4.3° in pitch and 1.4° in roll; beyond 45° of yaw the mesh
    falls short and yaw errs by 7° (docs/models.md). Full profiles were not among them.
    """
    indices, template = _template()
    found = np.asarray(mesh[indices], dtype=np.float64)
    u, _, vt = np.linalg.svd((found - found.mean(axis=0)).T @ template)
    r = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    yaw = np.arctan2(r[2, 0], np.hypot(r[0, 0], r[1, 0]))
    pitch = -np.arctan2(r[2, 1], r[2, 2])
    roll = np.arctan2(r[1, 0], r[0, 0])
    return Pose(*(float(value) for value in np.degrees([yaw, pitch, roll])))


def pose_from_five(five: Points) -> Pose:
    """Coarse pose from five points (5, 2) in the order of `fdf.vocabulary.LANDMARK_NAMES`, for faces without a mesh.

    Errors on renders: 3.6° in yaw, 5.9° in pitch, 2.6° in roll; pitch is little better than a constant. Angles end at ±90°.
    """
    five = np.asarray(five, dtype=np.float64)
    eyes, mouth = five[:2].mean(axis=0), five[3:].mean(axis=0)
    across = five[1] - five[0]
    roll = np.arctan2(across[1], across[0])
    right, down = np.array([np.cos(roll), np.sin(roll)]), np.array([-np.sin(roll), np.cos(roll)])
    height = float((mouth - eyes) @ down)
    if abs(height) < 1e-3:
        return Pose(0.0, 0.0, float(np.degrees(roll)))
    level = float((five[2] - eyes) @ down) / height
    aside = float((five[2] - eyes - level * (mouth - eyes)) @ right) / height
    yaw = np.arcsin(np.clip(aside / _NOSE_YAW, -1, 1))
    pitch = np.arcsin(np.clip((_NOSE_LEVEL - level) / _NOSE_PITCH, -1, 1))
    return Pose(*(float(value) for value in np.degrees([yaw, pitch, roll])))


@cache
def _template() -> tuple[list[int], npt.NDArray[np.float64]]:
    points = {}
    for index, mirror, x, y, z in _TEMPLATE:
        points[index] = (x, y, z)
        points[mirror] = (-x, y, z)
    centred = np.array(list(points.values()), dtype=np.float64)
    return list(points), centred - centred.mean(axis=0)
