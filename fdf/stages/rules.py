"""One small function a rule: a face in, a reason with its figures or None out.

Order matters only for which reason is named first. All thresholds come from the recipe; 0 (or a full range) turns a rule off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from pydantic import Field

from fdf.stages.base import Config
from fdf.vision.crop import crop_box
from fdf.vocabulary import KEYPOINT_NAMES, Reason

Box = tuple[float, float, float, float]
CropBox = tuple[int, int, int, int]
Verdict = tuple[Reason, str] | None


class RulesConfig(Config):
    """Thresholds for single faces. Sizes in pixels of the original, angles in degrees, brightness 0–255."""

    crop_rule: str = Field("fdf128", pattern="^(fdf128|fdf256)$", description="How the face box grows to a crop.")
    min_score: float = Field(0.5, ge=0, le=1, description="Lowest detector score.")
    min_face: float = Field(24.0, ge=0, description="Shortest side of the face box.")
    min_crop: int = Field(64, ge=0, description="Narrowest crop. FDF128 used 128.")
    min_keypoint_confidence: float = Field(0.2, ge=0, le=1, description="Lowest confidence of nose and eyes.")
    keypoints_inside: bool = Field(True, description="Nose and both eyes must lie inside the face box.")
    max_yaw: float = Field(
        90.0, ge=0, le=180, description="Largest |yaw|; a face of unknown pose fails unless this is 180."
    )
    max_pitch: float = Field(60.0, ge=0, le=180, description="Largest |pitch|.")
    max_roll: float = Field(90.0, ge=0, le=180, description="Largest |roll|.")
    min_sharpness: float = Field(15.0, ge=0, description="Lowest variance of the Laplacian of the face at 64 px.")
    min_brightness: float = Field(25.0, ge=0, le=255, description="Darkest mean of a face.")
    max_brightness: float = Field(235.0, ge=0, le=255, description="Brightest mean of a face.")
    min_contrast: float = Field(8.0, ge=0, description="Lowest standard deviation of a face.")


class FaceView(NamedTuple):
    """What rules, duplicates and balance need to know of a face."""

    face_id: str
    photo_id: str
    box: Box
    score: float
    keypoints: tuple[float, ...]
    yaw: float | None
    pitch: float | None
    roll: float | None
    sharpness: float
    brightness: float
    contrast: float
    width: int
    height: int

    @property
    def key(self) -> tuple[str, str]:
        """Photo and face: the same bytes under two photo ids give the same face id twice."""
        return self.photo_id, self.face_id

    @property
    def size(self) -> float:
        """Short side of the face box, pixels."""
        x0, y0, x1, y1 = self.box
        return min(x1 - x0, y1 - y0)

    def crop(self, rule: str) -> CropBox:
        """The crop of this face by a rule of `fdf.crop_box`."""
        return crop_box(self.box, self.width, self.height, rule=rule)


def low_score(face: FaceView, config: RulesConfig) -> Verdict:
    """The detector was not sure enough."""
    return (Reason.LOW_SCORE, f"{face.score:.3f} < {config.min_score:g}") if face.score < config.min_score else None


def face_too_small(face: FaceView, config: RulesConfig) -> Verdict:
    """Too few pixels to be of use."""
    return (Reason.FACE_TOO_SMALL, f"{face.size:.1f} px < {config.min_face:g}") if face.size < config.min_face else None


def crop_too_small(face: FaceView, config: RulesConfig) -> Verdict:
    """The crop would have to be enlarged."""
    x0, _, x1, _ = face.crop(config.crop_rule)
    return (Reason.CROP_TOO_SMALL, f"{x1 - x0} px < {config.min_crop}") if x1 - x0 < config.min_crop else None


def no_keypoints(face: FaceView, config: RulesConfig) -> Verdict:
    """Nose or an eye was not found."""
    for index in range(3):
        confidence = face.keypoints[3 * index + 2]
        if confidence < config.min_keypoint_confidence:
            name = KEYPOINT_NAMES[index]
            return Reason.NO_KEYPOINTS, f"{name} {confidence:.2f} < {config.min_keypoint_confidence:g}"
    return None


def keypoint_outside(face: FaceView, config: RulesConfig) -> Verdict:
    """Nose or an eye lies outside the box: box and keypoints belong to two people, or one is wrong."""
    x0, y0, x1, y1 = face.box
    for index in range(3) if config.keypoints_inside else ():
        x, y = face.keypoints[3 * index : 3 * index + 2]
        if not (x0 <= x <= x1 and y0 <= y <= y1):
            return Reason.KEYPOINT_OUTSIDE, f"{KEYPOINT_NAMES[index]} at ({x:.0f}, {y:.0f})"
    return None


def pose_out_of_range(face: FaceView, config: RulesConfig) -> Verdict:
    """Turned, tilted or rolled too far, or not measurable."""
    for name, value, limit in (
        ("yaw", face.yaw, config.max_yaw),
        ("pitch", face.pitch, config.max_pitch),
        ("roll", face.roll, config.max_roll),
    ):
        if value is None:
            if limit < 180:
                return Reason.POSE_OUT_OF_RANGE, f"{name} unknown"
        elif abs(value) > limit:
            return Reason.POSE_OUT_OF_RANGE, f"{name} {value:.0f}°, limit ±{limit:g}°"
    return None


def blurred(face: FaceView, config: RulesConfig) -> Verdict:
    """Out of focus or moved."""
    low = face.sharpness < config.min_sharpness
    return (Reason.BLURRED, f"{face.sharpness:.1f} < {config.min_sharpness:g}") if low else None


def exposure(face: FaceView, config: RulesConfig) -> Verdict:
    """Too dark or too bright to see a face in."""
    if face.brightness < config.min_brightness:
        return Reason.TOO_DARK, f"{face.brightness:.0f} < {config.min_brightness:g}"
    if face.brightness > config.max_brightness:
        return Reason.TOO_BRIGHT, f"{face.brightness:.0f} > {config.max_brightness:g}"
    return None


def low_contrast(face: FaceView, config: RulesConfig) -> Verdict:
    """Fog, or a flat surface taken for a face."""
    low = face.contrast < config.min_contrast
    return (Reason.LOW_CONTRAST, f"{face.contrast:.1f} < {config.min_contrast:g}") if low else None


RULES: Final[tuple[Callable[[FaceView, RulesConfig], Verdict], ...]] = (
    low_score,
    face_too_small,
    crop_too_small,
    no_keypoints,
    keypoint_outside,
    pose_out_of_range,
    exposure,
    low_contrast,
    blurred,
)


def judge(face: FaceView, config: RulesConfig) -> Verdict:
    """The first rule that refuses the face, or None."""
    return next((verdict for rule in RULES if (verdict := rule(face, config))), None)
