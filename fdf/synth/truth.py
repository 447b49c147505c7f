"""What is in a rendered photo, exactly: one row a face, projected from the mesh, nothing estimated.

Pixels (x, y) have their origin at the top left corner of the picture. Angles are those of the final rotation of the head
against the line of sight, in the convention of `fdf.vision.pose` and with the signs of `fdf.schema.FACES`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from fdf.synth.geometry import Floats


def _field(name: str, kind: pa.DataType, doc: str) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"doc": doc})


_text, _f32, _i32, _bool = pa.string(), pa.float32(), pa.int32(), pa.bool_()

TRUTH: Final = pa.schema(
    [
        _field("photo_id", _text, "Id of the photo, as in the metadata rows."),
        _field("file", _text, "The picture, relative to `mirror/`."),
        _field("width", _i32, "Width of the picture, pixels."),
        _field("height", _i32, "Height of the picture, pixels."),
        _field("face", _i32, "Number of the face in its photo, from 0, the largest first."),
        _field("person", _text, "Who it is: the same in every photo of one made-up person, different for any two."),
        _field("box", pa.list_(_f32, 4), "[x0, y0, x1, y1): span of the face from chin to hairline and to before the ears, hidden parts too; may leave the picture."),
        _field("keypoints", pa.list_(_f32, 21), "Seven points × (x, y, visible 0 or 1): nose tip, left eye, right eye, left ear, right ear, left shoulder, right shoulder; left is the subject's. Hidden ones are where they are."),
        _field("yaw", _f32, "Degrees, positive to the subject's own left (the picture's right)."),
        _field("pitch", _f32, "Degrees, positive up."),
        _field("roll", _f32, "Degrees, positive clockwise in the picture."),
        _field("gaze_yaw", _f32, "Turn of the eyes within the head, degrees to the subject's left."),
        _field("gaze_pitch", _f32, "Turn of the eyes within the head, degrees up."),
        _field("occluded", _f32, "Share of the face's front, as far as it is turned to the camera, that something covers or the picture's border cuts off, 0–1."),
        _field("expression", _text, "Name of the mix of face units: see `fdf.synth.expression`."),
        _field("monk", _f32, "Skin tone on the Monk scale, 1–10, of the material: not how light it looks in this light."),
        _field("age_years", _f32, "Age the face was made for."),
        _field("age_group", _text, "`18-29`, `30-44`, `45-59`, `60-74`, `75+`."),
        _field("feminine", _f32, "0 typically male to 1 typically female features: a slider of the mesh, not a gender."),
        _field("hair_style", _text, "Name of the style, `bald` among them; what a hat hides is still named."),
        _field("hair_color", _text, "Name of the colour."),
        _field("beard", _text, "`none`, `stubble`, `short`, `full`, `goatee`, `moustache`."),
        _field("glasses", _text, "`none`, `clear`, `dark`."),
        _field("hat", _text, "`none`, `cap`, `beanie`, `brim`, `headscarf`."),
        _field("mask", _bool, "Whether a medical mask covers mouth and nose."),
        _field("scarf", _bool, "Whether a scarf is round the neck."),
        _field("held", _text, "Before the face: `none`, `hand`, `cup`, `phone`, `microphone`."),
        _field("place", _text, "Kind of light: `studio`, `window`, `indoor`, `overcast`, `sun`, `night`."),
        _field("backlit", _bool, "Whether the main light stands behind the people."),
        _field("distance_m", _f32, "From the camera to the middle of the face, metres."),
        _field("focal_mm", _f32, "Focal length as on 24 × 36 mm, the picture's short side standing for 24 mm."),
        _field("blur", _text, "`none`, `focus`, `motion`."),
        _field("blur_px", _f32, "Size of the blur, pixels; 0 for none."),
        _field("noise", _f32, "Standard deviation of the sensor's noise at middle grey, linear light."),
        _field("jpeg_quality", _i32, "Quality of the JPEG."),
        _field("scene", _text, "`portrait`, `group`, `crowd`."),
    ]
)  # fmt: skip
"""Schema of `truth.parquet`."""

_GROUPS: Final = ((30, "18-29"), (45, "30-44"), (60, "45-59"), (75, "60-74"))
_FLIP: Final = np.diag([1.0, -1.0, -1.0])


def age_group(years: float) -> str:
    """Name of the group that an age lies in."""
    return next((name for end, name in _GROUPS if years < end), "75+")


def pose_angles(rotation: Floats, frame: Floats) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees of a head's rotation (3, 3) against the line of sight `frame` (3, 3), both in the scene.

    In the picture's axes (x right, y down, z away) the rotation is Rz(roll) · Ry(yaw) · Rx(pitch), as in `fdf.vision.pose`.
    """
    r = _FLIP @ (frame.T @ rotation) @ _FLIP
    yaw = np.arctan2(r[2, 0], np.hypot(r[0, 0], r[1, 0]))
    pitch = -np.arctan2(r[2, 1], r[2, 2])
    roll = np.arctan2(r[1, 0], r[0, 0])
    found = np.degrees([yaw, pitch, roll])
    return float(found[0]), float(found[1]), float(found[2])


def face_box(pixels: Floats) -> list[float]:
    """Box [x0, y0, x1, y1) that spans projected points (n, 2)."""
    return [float(value) for value in (*pixels.min(axis=0), *pixels.max(axis=0))]
