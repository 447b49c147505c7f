"""The tables of a build: what every stage speaks.

Coordinates are pixels (x, y), origin at the top left corner of the upright (EXIF orientation applied) original picture,
float32; boxes are [x0, y0, x1, y1) with x1 > x0 and y1 > y0. Columns marked `volatile` hold a time or something that a
server may change between two identical runs: content digests leave them out, everything else must be byte-identical.
"""

from __future__ import annotations

import contextlib
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

# Arrow reads a time zone when it first meets one, and swallows whatever is raised meanwhile: a Ctrl-C would be lost.
with contextlib.suppress(ZoneInfoNotFoundError):
    ZoneInfo("UTC")


def _field(name: str, kind: pa.DataType, doc: str, *, nullable: bool = True, volatile: bool = False) -> pa.Field:
    metadata = {"doc": doc} | ({"volatile": "true"} if volatile else {})
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


_key = {"nullable": False}
_text, _f32, _i32, _i64 = pa.string(), pa.float32(), pa.int32(), pa.int64()
_time = pa.timestamp("ms", tz="UTC")
_box_f, _box_i = pa.list_(_f32, 4), pa.list_(_i32, 4)
_models = pa.list_(
    pa.struct([("id", _text), ("task", _text), ("sha256", _text), ("weight_license", _text)]),
)

RECORDS = pa.schema(
    [
        _field("line_index", _i64, "Line or row number in the source, from 0.", **_key),
        _field("problem", _text, "Why the row can't be read at all; null when it can."),
        *(
            _field(name, _text, "As found in the source, decoded to text; null when empty.")
            for name in (
                "photo_id", "owner_nsid", "owner_name", "date_taken", "date_uploaded", "capture_device", "title", "tags",
                "machine_tags", "longitude", "latitude", "page_url", "download_url", "license_name", "license_url",
                "server_id", "secret", "secret_original", "extension", "marker", "sha256",
            )
        ),
    ]
)  # fmt: skip
"""What a source yields: text as found, one row a record, nothing dropped. Not stored; `metadata` makes PHOTOS of it."""

PHOTOS = pa.schema(
    [
        _field("photo_id", _text, "Id of the photo within its source.", **_key),
        _field("source", _text, "Name of the source, as in the recipe.", **_key),
        _field("line_index", _i64, "Line or row number in the source, from 0.", **_key),
        _field("owner_nsid", _text, "The owner's id; for lists without one, a hash of the author's name."),
        _field("owner_name", _text, "The owner's name at the time of the metadata."),
        _field("title", _text, "Title given by the owner."),
        _field("tags", pa.list_(_text), "User tags."),
        _field("machine_tags", pa.list_(_text), "Machine tags."),
        _field("date_taken", pa.timestamp("ms"), "When the picture was taken, camera time; null if impossible."),
        _field("date_uploaded", _time, "When the picture was uploaded; null if impossible."),
        _field("capture_device", _text, "Camera, as Flickr names it."),
        _field("longitude", _f32, "Degrees east; null unless the recipe asks for places."),
        _field("latitude", _f32, "Degrees north; null unless the recipe asks for places."),
        _field("page_url", _text, "Page of the photo: the 'source' of its attribution."),
        _field("download_url", _text, "URL of the picture as the source gives it.", **_key),
        _field("mirror_key", _text, "Key of the picture in the multimedia-commons bucket (of its layout)."),
        _field("server_id", _text, "Flickr server id, to form URLs of other sizes."),
        _field("secret", _text, "Flickr secret, to form URLs of other sizes."),
        _field("secret_original", _text, "Flickr secret of the original size."),
        _field("extension", _text, "Extension of the original file, lower case, without a dot."),
        _field("expected_sha256", _text, "SHA-256 the source promises for the bytes, if it does."),
        _field("license_name", _text, "Licence name as found."),
        _field("license_url", _text, "Canonical URL of the licence.", **_key),
        _field("license_id", _text, "SPDX id of the licence, for example `CC-BY-NC-SA-2.0`.", **_key),
    ]
)

FETCHED = pa.schema(
    [
        _field("photo_id", _text, "Id of the photo within its source.", **_key),
        _field("status", _text, "`ok`; photos with any other outcome are drops with that reason.", **_key),
        _field("http_status", _i32, "Status of the answer that gave the bytes.", **_key),
        _field("url", _text, "URL that gave the bytes, after redirects.", volatile=True, **_key),
        _field("candidate", _text, "Which candidate it was: `mirror`, `mirror_ext`, `download_url`, `_o`, `_b`, `_z`, ….", **_key),
        _field("attempts", _i32, "Requests made for this photo, redirects not counted.", volatile=True),
        _field("size_bytes", _i64, "Length of the bytes.", **_key),
        _field("sha256", _text, "SHA-256 of the bytes as they came.", **_key),
        _field("pixel_sha256", _text, "SHA-256 of `width`x`height` and the upright RGB pixels.", **_key),
        _field("phash", pa.uint64(), "64-bit perceptual hash (DCT) of the upright picture.", **_key),
        _field("width", _i32, "Width of the upright picture.", **_key),
        _field("height", _i32, "Height of the upright picture.", **_key),
        _field("format", _text, "`JPEG`, `PNG`, `GIF`, `WEBP`, `TIFF`, `BMP`.", **_key),
        _field("archive", _text, "Tar with the untouched bytes, relative to the build.", **_key),
        _field("offset", _i64, "Where the bytes start in the tar.", **_key),
        _field("length", _i64, "How many bytes.", **_key),
        _field("etag", _text, "ETag header.", volatile=True),
        _field("last_modified", _text, "Last-Modified header.", volatile=True),
        _field("robots_signal", _text, "X-Robots-Tag and TDM headers as they came."),
        _field("fetched_at", _time, "When the bytes came.", volatile=True, **_key),
    ]
)  # fmt: skip

FACES = pa.schema(
    [
        _field("face_id", _text, "Stable id: the photo's SHA-256 and the box, hashed.", **_key),
        _field("photo_id", _text, "Id of the photo within its source.", **_key),
        _field("box", _box_f, "Face box [x0, y0, x1, y1), pixels of the upright original.", **_key),
        _field("score", _f32, "The detector's score, 0–1.", **_key),
        _field("keypoints", pa.list_(_f32, 21), "Seven COCO keypoints × (x, y, confidence): nose, left eye, right eye, left ear, right ear, left shoulder, right shoulder; left is the subject's.", **_key),
        _field("landmarks5", pa.list_(_f32, 10), "Eyes, nose, mouth corners × (x, y), by side in the picture."),
        _field("yaw", _f32, "Degrees, positive when the subject looks to their own left (the picture's right)."),
        _field("pitch", _f32, "Degrees, positive when the subject looks up."),
        _field("roll", _f32, "Degrees, positive when the head is turned clockwise in the picture."),
        _field("sharpness", _f32, "Variance of the Laplacian of the face, luminance 0–255, at 64 px.", **_key),
        _field("brightness", _f32, "Mean luminance of the face, 0–255.", **_key),
        _field("contrast", _f32, "Standard deviation of the luminance of the face, 0–255.", **_key),
        _field("skin_ita", _f32, "Individual typology angle of the cheeks in degrees: how light the skin appears in this light. Not a group of people."),
        _field("occlusion", _f32, "1 − the face mesh's presence: 0 a clear face, 1 none seen. Null without a mesh."),
        _field("embedding", pa.list_(pa.float16()), "Face embedding; length and metric are the embedder's. Null if none was asked for."),
        _field("detector", _text, "Zoo id of the detector.", **_key),
        _field("keypointer", _text, "Zoo id of the keypointer.", **_key),
        _field("embedder", _text, "Zoo id of the embedder."),
    ]
)  # fmt: skip

KEPT = pa.schema(
    [
        _field("face_id", _text, "Stable id of the face.", **_key),
        _field("photo_id", _text, "Id of the photo within its source.", **_key),
        _field("crop_rule", _text, "`fdf128` or `fdf256`.", **_key),
        _field("crop_box", _box_i, "Crop [x0, y0, x1, y1) by that rule; may leave the picture.", **_key),
        _field("cell", _text, "Cell of the balance grid: yaw, size, brightness.", **_key),
    ]
)

DROPPED = pa.schema(
    [
        _field("stage", _text, "Stage that dropped it.", **_key),
        _field("photo_id", _text, "Id of the photo, or `line:<n>` where the row has no usable id.", **_key),
        _field("face_id", _text, "Id of the face; null when the whole photo was dropped."),
        _field("reason", _text, "One of the closed list.", **_key),
        _field(
            "detail",
            _text,
            "What exactly: the value and the threshold, the status and the URL, the twin.",
            volatile=True,
        ),
        _field("retryable", pa.bool_(), "Whether trying again can change it.", **_key),
    ]
)

RELEASE = pa.schema(
    [
        _field("face_id", _text, "Stable id: the photo's SHA-256 and the box, hashed.", **_key),
        _field("photo_id", _text, "Id of the photo within its source.", **_key),
        _field("source", _text, "Name of the source.", **_key),
        _field("split", _text, "`training` or `validation`, by a hash of the owner: no owner is on two sides.", **_key),
        _field("license_id", _text, "SPDX id of the photo's licence.", **_key),
        _field("license_url", _text, "Canonical URL of the licence.", **_key),
        _field("rights_class", _text, "What the licence asks: `pd`, `by`, `by-sa`, `by-nc`, `by-nc-sa`.", **_key),
        _field("attribution", _text, "Ready-made credit line: title, author, source, licence, changes.", **_key),
        _field("changes", _text, "What was done to the picture.", **_key),
        _field("title", _text, "Title given by the owner."),
        _field("owner_nsid", _text, "The owner's id."),
        _field("owner_name", _text, "The owner's name: the author to credit."),
        _field("page_url", _text, "Page of the photo."),
        _field("download_url", _text, "URL of the picture as the source gives it.", **_key),
        _field("date_taken", pa.timestamp("ms"), "When the picture was taken."),
        _field("date_uploaded", _time, "When the picture was uploaded."),
        _field("photo_sha256", _text, "SHA-256 of the photo's bytes.", **_key),
        _field("photo_pixel_sha256", _text, "SHA-256 of the photo's upright pixels.", **_key),
        _field("photo_width", _i32, "Width of the upright photo.", **_key),
        _field("photo_height", _i32, "Height of the upright photo.", **_key),
        _field("box", _box_f, "Face box in the photo.", **_key),
        _field("crop_rule", _text, "`fdf128` or `fdf256`.", **_key),
        _field("crop_box", _box_i, "Crop in the photo; may leave it (filled with black).", **_key),
        _field("crop_size", _i32, "Side of the square crop, pixels of the original.", **_key),
        _field("crop_sha256", _text, "SHA-256 of `width`x`height` and the RGB pixels of the crop at original size.", **_key),
        _field("box_in_crop", _box_f, "Face box in crop coordinates, 0–1.", **_key),
        _field("keypoints", pa.list_(_f32, 21), "Seven keypoints × (x, y, confidence); x and y in crop coordinates, 0–1 (may leave it).", **_key),
        _field("score", _f32, "The detector's score, 0–1.", **_key),
        _field("yaw", _f32, "Degrees, positive to the subject's own left."),
        _field("pitch", _f32, "Degrees, positive up."),
        _field("roll", _f32, "Degrees, positive clockwise in the picture."),
        _field("sharpness", _f32, "Variance of the Laplacian at 64 px.", **_key),
        _field("brightness", _f32, "Mean luminance, 0–255.", **_key),
        _field("contrast", _f32, "Standard deviation of the luminance.", **_key),
        _field("skin_ita", _f32, "Individual typology angle of the cheeks, degrees: appearance in this light, not a group of people."),
        _field("occlusion", _f32, "0 a clear face, 1 none seen."),
        _field("consent_decision", _text, "`allowed_by_licence`: no signal against use was seen. Never the consent of the person pictured.", **_key),
        _field("consent_signals", pa.list_(_text), "Signals that were looked at.", **_key),
        _field("consent_date", pa.date32(), "When they were looked at.", volatile=True, **_key),
        _field("consent_policy", _text, "Version of the policy that decided.", **_key),
        _field("models", _models, "Every model that touched the row: id, task, SHA-256 and the licence of its weights.", **_key),
        _field("shard", _text, "Shard that holds the face, without resolution and extension.", **_key),
        _field("key", _text, "Key of the sample in its shard.", **_key),
    ]
)  # fmt: skip

SHARDED = pa.schema(
    [
        _field("face_id", _text, "Stable id of the face.", **_key),
        _field("photo_id", _text, "Id of the photo within its source.", **_key),
        _field("shard", _text, "Shard that holds the face.", **_key),
        _field("resolutions", pa.list_(_i32), "Resolutions at which the face is there; a crop is never enlarged unless the recipe says so.", **_key),
    ]
)  # fmt: skip

TABLES: Final[dict[str, pa.Schema]] = {
    "PHOTOS": PHOTOS,
    "FETCHED": FETCHED,
    "FACES": FACES,
    "KEPT": KEPT,
    "DROPPED": DROPPED,
    "RELEASE": RELEASE,
    "SHARDED": SHARDED,
}


def volatile_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that hold a time or a server's whim; content digests leave them out."""
    return [field.name for field in schema if (field.metadata or {}).get(b"volatile") == b"true"]
