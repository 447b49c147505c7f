"""Stage `shard`: RELEASE rows of one shard → WebDataset samples at every resolution of the recipe.

A sample is a picture, lossless by default, and a JSON sidecar with the full provenance row. A crop is enlarged only if the
recipe says so: faces smaller than a resolution are absent from it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, Literal

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from fdf.errors import DataError
from fdf.schema import SHARDED
from fdf.stages.base import Config, Stage, StageResult, Tools, by_photo, dropped_table, ordered_map
from fdf.stages.pictures import read_picture
from fdf.vision.crop import cut, resize
from fdf.vision.picture import pixel_sha256

NAME: Final = "shard"

_ENCODERS: Final = {
    "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 6]),
    "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),  # over 100 is lossless
}


class ShardConfig(Config):
    """What the samples look like."""

    resolutions: tuple[int, ...] = Field(
        (64, 128, 256), min_length=1, description="Sides of the square pictures, pixels."
    )
    format: Literal["png", "webp", "jpeg"] = Field("png", description="`png` and `webp` are lossless.")
    jpeg_quality: int = Field(95, ge=1, le=100, description="For `jpeg` only.")
    enlarge: bool = Field(False, description="Also put crops smaller than a resolution there, enlarged.")

    @field_validator("resolutions")
    @classmethod
    def _sane(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(side < 8 or side > 4096 for side in value) or len(set(value)) != len(value):
            raise ValueError("resolutions must be different numbers from 8 to 4096")
        return tuple(sorted(value))


def run(tables: Mapping[str, pa.Table], config: ShardConfig, tools: Tools) -> StageResult:
    """RELEASE rows of one shard, in order, and the FETCHED rows of their photos → samples."""
    blobs, samples = tools.blobs, tools.samples
    if blobs is None or samples is None:
        raise ValueError("shard needs blobs and samples")
    # The crop's own hash, in the manifest, is the check here: no more of FETCHED is needed than where the bytes lie.
    fetched = by_photo(tables["fetch"], "archive", "offset", "length", "width", "height")

    def make(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, bytes]]:
        crop = cut(read_picture(blobs, fetched[row["photo_id"]]), tuple(row["crop_box"]))
        if pixel_sha256(crop) != row["crop_sha256"]:
            raise DataError(
                f"The crop of face {row['face_id']} is not the one in the manifest",
                expected=f"pixels with sha256 {row['crop_sha256']}",
                got=pixel_sha256(crop),
                action="The archive has changed since: `fdf validate` names the file; build again from there",
            )
        sides = [side for side in config.resolutions if config.enlarge or side <= row["crop_size"]]
        return row, {side: _encode(resize(crop, side), config) for side in sides}

    kept: list[dict[str, Any]] = []
    counts: Counter[int] = Counter()
    for row, pictures in ordered_map(make, tables["manifest"].to_pylist(), tools.threads):
        for side, picture in pictures.items():
            sidecar = json.dumps(_plain(row) | {"resolution": side}, sort_keys=True, ensure_ascii=False).encode()
            samples.add(side, row["key"], {config.format.replace("jpeg", "jpg"): picture, "json": sidecar})
            counts[side] += 1
        kept.append(
            {
                "face_id": row["face_id"],
                "photo_id": row["photo_id"],
                "shard": row["shard"],
                "resolutions": list(pictures),
            }
        )
        tools.advance(1)
    notes = {f"samples.{side}": counts[side] for side in config.resolutions}
    return StageResult(pa.Table.from_pylist(kept, schema=SHARDED), dropped_table(()), notes)


def _encode(pixels: np.ndarray, config: ShardConfig) -> bytes:
    suffix, options = _ENCODERS.get(config.format, (".jpg", [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality]))
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a picture of {pixels.shape} can't be written as {config.format}")
    return bytes(data)


def _plain(value: Any) -> Any:
    """JSON values: times as ISO 8601, float32 in their shortest form."""
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    if isinstance(value, float):
        return float(str(np.float32(value)))
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


STAGE = Stage(
    name=NAME,
    version=1,
    unit="face",
    scope="shard",
    reads=("manifest", "fetch"),
    schema=SHARDED,
    config=ShardConfig,
    run=run,
    doc="Packs WebDataset shards: crops at every resolution with their provenance.",
    tools=("blobs", "samples"),
    seconds=0.03,
)
