"""The closed lists that all of fdf speaks: names of keypoints and landmarks, and the reasons why something was dropped."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

KEYPOINT_NAMES: Final = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
)
"""The first seven COCO keypoints, in COCO order; left and right are the subject's own."""

KEYPOINT_FLIP: Final = (0, 2, 1, 4, 3, 6, 5)
"""Index of each keypoint after a horizontal flip of the picture."""

LANDMARK_NAMES: Final = ("eye_image_left", "eye_image_right", "nose", "mouth_image_left", "mouth_image_right")
"""Order of `landmarks5`, by side of the upright face in the picture (the ArcFace alignment order)."""


class Reason(StrEnum):
    """Why a photo or a face was dropped. The list is closed; `retryable` says whether trying again can change it."""

    retryable: bool
    doc: str

    def __new__(cls, value: str, retryable: bool, doc: str) -> Reason:
        """Make a member that is its own string and carries its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.retryable = retryable
        member.doc = doc
        return member

    # metadata
    BAD_ROW = "bad_row", False, "The row can't be used: wrong number of columns, no id, no URL, an id twice."
    NOT_A_PHOTO = "not_a_photo", False, "The row describes a video."
    LICENSE_UNKNOWN = "license_unknown", False, "The licence is missing or not in the registry: no rights are assumed."
    LICENSE_NO_DERIVATIVES = "license_no_derivatives", False, "The licence forbids derivatives, and a crop is one."
    LICENSE_EXCLUDED = "license_excluded", False, "The licence is known but the recipe, or the licence itself, refuses."
    OPTED_OUT = "opted_out", False, "Owner or server asked not to be used: `no_cv` tag, or a noai/noindex/TDM signal."
    # fetch
    GONE = "gone", False, "Every candidate URL answered 404 or 410."
    PRIVATE = "private", False, "The server answered 401, 403 or 451."
    PLACEHOLDER = "placeholder", False, "The server sent its 'photo unavailable' picture instead of the photo."
    RATE_LIMITED = "rate_limited", True, "The server kept answering 429 after every retry."
    FORBIDDEN_HOST = "forbidden_host", False, "URL or redirect leaves the hosts, or the http(s) schemes, of the recipe."
    TIMEOUT = "timeout", True, "Connect, read or whole-photo time-out, after every retry."
    DNS = "dns", True, "The host name did not resolve."
    TLS = "tls", True, "The TLS handshake or certificate failed."
    CONNECTION = "connection", True, "The connection was refused or broke, after every retry."
    HTTP_ERROR = "http_error", True, "Another HTTP error, after every retry for 5xx."
    TOO_LARGE = "too_large", False, "More bytes than the recipe's cap."
    TRUNCATED = "truncated", True, "Fewer bytes than announced, or a picture file that ends early."
    NOT_AN_IMAGE = "not_an_image", False, "The bytes are no picture of a known format."
    UNDECODABLE = "undecodable", False, "A picture header, but its pixels can't be decoded."
    DECOMPRESSION_BOMB = "decompression_bomb", False, "More pixels than the recipe's cap."
    HASH_MISMATCH = "hash_mismatch", True, "The bytes are not the ones the photo list names by SHA-256."
    # detect
    NO_FACE = "no_face", False, "The detector found no face in the photo."
    # filter
    NO_KEYPOINTS = "no_keypoints", False, "Nose or eyes were not found with enough confidence."
    KEYPOINT_OUTSIDE = "keypoint_outside", False, "Nose or an eye lies outside the face box."
    LOW_SCORE = "low_score", False, "The detector's score is under the threshold."
    FACE_TOO_SMALL = "face_too_small", False, "The short side of the face box is under the threshold."
    CROP_TOO_SMALL = "crop_too_small", False, "The expanded crop is narrower than the threshold."
    POSE_OUT_OF_RANGE = "pose_out_of_range", False, "Yaw, pitch or roll is outside its range, or unknown."
    BLURRED = "blurred", False, "Sharpness is under the threshold."
    TOO_DARK = "too_dark", False, "Mean brightness is under the threshold."
    TOO_BRIGHT = "too_bright", False, "Mean brightness is over the threshold."
    LOW_CONTRAST = "low_contrast", False, "Contrast is under the threshold."
    DUPLICATE_PHOTO = "duplicate_photo", False, "Same bytes, same pixels or nearly the same picture as another photo."
    DUPLICATE_FACE = "duplicate_face", False, "The same face, in the same burst of one owner, is kept once."
    OVER_REPRESENTED = "over_represented", False, "Its owner, or its cell of pose, size and light, is full."
