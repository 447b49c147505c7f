"""Stage `manifest`: KEPT faces → RELEASE, one row a face with everything a user or a lawyer needs.

It also decides the split (by owner) and the place of each face in the shards: the manifest is complete without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pydantic import Field

from fdf.consent.attribution import attribution
from fdf.consent.licenses import License, find_license
from fdf.consent.signals import POLICY_VERSION
from fdf.errors import DataError
from fdf.schema import FACES, RELEASE
from fdf.stages.balance import lot
from fdf.stages.base import Config, Stage, StageResult, Tools, by_photo, dropped_table, ordered_map
from fdf.stages.pictures import read_picture
from fdf.vision.crop import cut
from fdf.vision.picture import pixel_sha256

NAME: Final = "manifest"
CHANGES: Final = "cropped to one face"

_LOT_RANGE = 1 << 96


class ManifestConfig(Config):
    """How the released faces are split and packed."""

    validation_share: float = Field(0.05, ge=0, lt=1, description="Share of owners whose faces are for validation.")
    split_seed: str = Field("fdf", description="Changes which owners are for validation.")
    shard_faces: int = Field(1000, ge=1, description="Faces in a shard; the last one of each kind may hold fewer.")


def run(tables: Mapping[str, pa.Table], config: ManifestConfig, tools: Tools) -> StageResult:
    """KEPT with its FACES, FETCHED and PHOTOS rows → RELEASE, ordered by shard, then place in it."""
    blobs = tools.blobs
    if blobs is None:
        raise ValueError("manifest needs blobs")
    faces = {(row["photo_id"], row["face_id"]): row for row in tables["detect"].to_pylist()}
    photos, fetched = by_photo(tables["metadata"]), by_photo(tables["fetch"])
    models = [
        {name: model[name] for name in ("id", "task", "sha256", "weight_license")}
        for model in sorted(tools.models, key=lambda model: model["id"])
    ]

    def rows_of_photo(kept: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        photo_id = kept[0]["photo_id"]
        place = fetched[photo_id]
        pixels = read_picture(blobs, place)
        if (digest := pixel_sha256(pixels)) != place["pixel_sha256"]:
            raise DataError(
                f"Photo {photo_id} in {place['archive']} is not the one that was fetched",
                expected=f"pixels with sha256 {place['pixel_sha256']}",
                got=digest,
                action="The archive has changed since: `fdf validate` names the file; build again from there",
            )
        return [
            {
                **_photo_columns(photos[photo_id], place, config),
                **_face_columns(row, faces[photo_id, row["face_id"]]),
                "crop_sha256": pixel_sha256(cut(pixels, tuple(row["crop_box"]))),
                "models": models,
            }
            for row in kept
        ]

    kept_by_photo = [list(group) for _, group in groupby(tables["filter"].to_pylist(), key=lambda row: row["photo_id"])]
    rows: list[dict[str, Any]] = []
    for made in ordered_map(rows_of_photo, kept_by_photo, tools.threads):
        rows += made
        tools.advance(len(made))
    placed = sorted(_place(rows, config), key=lambda row: (row["shard"], row.pop("position")))
    return StageResult(pa.Table.from_pylist(placed, schema=RELEASE), dropped_table(()))


def split_of(owner: str, config: ManifestConfig) -> str:
    """`training` or `validation`, by the owner alone: all photos of a person stay on one side."""
    drawn = int(lot(owner, config.split_seed), 16) / _LOT_RANGE
    return "validation" if drawn < config.validation_share else "training"


def _place(rows: list[dict[str, Any]], config: ManifestConfig) -> Iterator[dict[str, Any]]:
    """Assign shards: one split and one rights class each, faces shuffled by a hash of their id."""

    def kind(row: Mapping[str, Any]) -> tuple[str, str]:
        return row["split"], row["rights_class"]

    shuffled = sorted(rows, key=lambda row: (kind(row), lot(row["face_id"], "shard")))
    for (split, rights), group in groupby(shuffled, key=kind):
        for position, row in enumerate(group):
            shard = f"{split}-{rights}-{position // config.shard_faces:05d}"
            yield {**row, "shard": shard, "key": row["face_id"], "position": position}


def _photo_columns(photo: Mapping[str, Any], place: Mapping[str, Any], config: ManifestConfig) -> dict[str, Any]:
    licence = find_license(None, photo["license_url"])
    if licence is None:
        raise ValueError(f"{photo['license_url']} is not in the licence registry any more; run metadata again")
    same = (
        "photo_id",
        "source",
        "title",
        "owner_nsid",
        "owner_name",
        "page_url",
        "download_url",
        "date_taken",
        "date_uploaded",
    )
    return {
        **{name: photo[name] for name in same},
        **_rights_columns(photo, licence),
        "split": split_of(photo["owner_nsid"] or photo["photo_id"], config),
        "photo_sha256": place["sha256"],
        "photo_pixel_sha256": place["pixel_sha256"],
        "photo_width": place["width"],
        "photo_height": place["height"],
        "consent_decision": "allowed_by_licence",
        "consent_signals": ["licence", "tags", "http_headers"],
        "consent_date": place["fetched_at"].date(),
        "consent_policy": POLICY_VERSION,
    }


def _rights_columns(photo: Mapping[str, Any], licence: License) -> dict[str, Any]:
    credit = attribution(photo["title"], photo["owner_name"], photo["page_url"], licence, CHANGES)
    return {
        "license_id": licence.id,
        "license_url": licence.url,
        "rights_class": licence.rights_class,
        "attribution": credit,
        "changes": CHANGES,
    }


def _face_columns(kept: Mapping[str, Any], face: Mapping[str, Any]) -> dict[str, Any]:
    """Face columns; box and keypoints in crop coordinates, 0–1 of its side."""
    same = ("score", "yaw", "pitch", "roll", "sharpness", "brightness", "contrast", "skin_ita", "occlusion")
    x0, y0, x1, _ = kept["crop_box"]
    side = x1 - x0
    box = (np.asarray(face["box"], np.float64) - [x0, y0, x0, y0]) / side
    keypoints = np.asarray(face["keypoints"], np.float64).reshape(7, 3)
    keypoints[:, :2] = (keypoints[:, :2] - [x0, y0]) / side
    return {
        "face_id": face["face_id"],
        **{name: face[name] for name in same},
        "box": face["box"],
        "crop_rule": kept["crop_rule"],
        "crop_box": kept["crop_box"],
        "crop_size": side,
        "box_in_crop": box,
        "keypoints": keypoints.reshape(21),
    }


STAGE = Stage(
    name=NAME,
    version=1,
    unit="face",
    scope="dataset",
    reads=("filter", "detect", "fetch", "metadata"),
    schema=RELEASE,
    config=ManifestConfig,
    run=run,
    doc="Writes the release manifest: rights, crop, split and place of every face.",
    tools=("blobs",),
    seconds=0.01,
    partition="release",
    columns={"detect": tuple(name for name in FACES.names if name != "embedding")},
)
