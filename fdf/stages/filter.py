"""Stage `filter`: FACES → KEPT. Rules for single faces, then duplicates, then balance, over the whole dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pydantic import Field

from fdf.schema import KEPT
from fdf.stages.balance import BalanceConfig, cell, over_cap
from fdf.stages.base import Config, Stage, StageResult, Tools, by_photo, drop, dropped_table
from fdf.stages.duplicates import BurstFace, PhotoView, burst_duplicates, duplicate_photos
from fdf.stages.rules import FaceView, RulesConfig, judge
from fdf.vocabulary import Reason

NAME: Final = "filter"

Drops = dict[tuple[str, str], tuple[Reason, str]]
"""Verdicts so far, by `FaceView.key`."""

_SIZE: Final = ("width", "height")
_PHOTO: Final = ("photo_id", "owner_nsid", "date_taken", "date_uploaded")
_FETCHED: Final = ("photo_id", "sha256", "pixel_sha256", "phash", "width", "height")

_EPOCH: Final = datetime(1970, 1, 1)


class DuplicatesConfig(Config):
    """What counts as the same photo, and as the same face in a burst. Same bytes or pixels always do."""

    max_hash_distance: int = Field(
        4,
        ge=-1,
        le=16,
        description="Bits of the 64-bit perceptual hash that may differ between near-same photos; -1: off.",
    )
    burst_seconds: float = Field(60.0, ge=0, description="Photos of one owner this near in time are a burst; 0: off.")
    max_embedding_distance: float = Field(
        0.45, ge=0, description="Embedding distance up to which two faces of a burst are the same (dlib: 0.6 is usual)."
    )


class FilterConfig(Config):
    """Sections of `[filter]`."""

    rules: RulesConfig = RulesConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    balance: BalanceConfig = BalanceConfig()


def run(tables: Mapping[str, pa.Table], config: FilterConfig, tools: Tools) -> StageResult:
    """FACES with their FETCHED and PHOTOS rows → KEPT."""
    photos, fetched = by_photo(tables["metadata"], *_PHOTO), by_photo(tables["fetch"], *_FETCHED)
    faces = list(_views(tables["detect"], fetched))
    drops: Drops = {}

    for face in faces:
        if verdict := judge(face, config.rules):
            drops[face.key] = verdict
    _drop_duplicate_photos(faces, photos, fetched, config.duplicates, drops)
    _drop_burst_duplicates(tables["detect"], faces, photos, config.duplicates, drops)
    _balance(faces, photos, config.balance, drops)

    tools.advance(len(faces))
    kept = [
        {
            "face_id": face.face_id,
            "photo_id": face.photo_id,
            "crop_rule": config.rules.crop_rule,
            "crop_box": face.crop(config.rules.crop_rule),
            "cell": cell(face),
        }
        for face in faces
        if face.key not in drops
    ]
    dropped = [drop(NAME, face.photo_id, *drops[face.key], face_id=face.face_id) for face in faces if face.key in drops]
    return StageResult(pa.Table.from_pylist(kept, schema=KEPT), dropped_table(dropped))


def _drop_duplicate_photos(
    faces: Iterable[FaceView],
    photos: Mapping[str, Mapping[str, Any]],
    fetched: Mapping[str, Mapping[str, Any]],
    config: DuplicatesConfig,
    drops: Drops,
) -> None:
    """Among photos that still have a face: the earliest upload stays, it is likeliest the author's own."""
    alive = [face for face in faces if face.key not in drops]
    views = [
        PhotoView(
            photo_id,
            (_seconds(photos[photo_id]["date_uploaded"]), photo_id),
            row["sha256"],
            row["pixel_sha256"],
            row["phash"],
        )
        for photo_id in sorted({face.photo_id for face in alive})
        for row in (fetched[photo_id],)
    ]
    twins = duplicate_photos(views, config.max_hash_distance)
    for face in alive:
        if face.photo_id in twins:
            twin, how = twins[face.photo_id]
            drops[face.key] = Reason.DUPLICATE_PHOTO, f"of photo {twin}: {how}"


def _drop_burst_duplicates(
    table: pa.Table,
    faces: Iterable[FaceView],
    photos: Mapping[str, Mapping[str, Any]],
    config: DuplicatesConfig,
    drops: Drops,
) -> None:
    """Within an owner's burst the largest face stays. Photos without a date, owner or embedding are no burst."""
    if not config.burst_seconds:
        return
    embeddings = table["embedding"]
    candidates = []
    for index, face in enumerate(faces):
        photo = photos[face.photo_id]
        if (
            face.key in drops
            or photo["date_taken"] is None
            or not photo["owner_nsid"]
            or not embeddings[index].is_valid
        ):
            continue
        embedding = np.asarray(embeddings[index].values)
        candidates.append(
            BurstFace(
                face.face_id,
                face.photo_id,
                photo["owner_nsid"],
                _seconds(photo["date_taken"]),
                (-round(face.size), face.face_id),
                embedding,
            )
        )
    photo_of = {candidate.face_id: candidate.photo_id for candidate in candidates}
    twins = burst_duplicates(candidates, config.burst_seconds, config.max_embedding_distance)
    for face_id, (twin, how) in twins.items():
        drops[photo_of[face_id], face_id] = Reason.DUPLICATE_FACE, f"of face {twin}: {how}"


def _balance(
    faces: Iterable[FaceView],
    photos: Mapping[str, Mapping[str, Any]],
    config: BalanceConfig,
    drops: Drops,
) -> None:
    """First owners, then cells: a cell must not be filled by faces that their owner's cap takes out again."""
    groups = (
        ("owner", lambda face: photos[face.photo_id]["owner_nsid"] or face.photo_id, config.max_per_owner),
        ("cell", cell, config.max_per_cell),
    )
    for kind, group, cap in groups:
        alive = [face for face in faces if face.key not in drops]
        for face_key, (key, size) in over_cap(alive, group, cap, config.seed).items():
            drops[face_key] = Reason.OVER_REPRESENTED, f"{kind} {key} has {size}, cap {cap}"


def _views(table: pa.Table, fetched: Mapping[str, Mapping[str, Any]]) -> Iterable[FaceView]:
    columns = [name for name in FaceView._fields if name not in _SIZE]
    for values in zip(*(table[name].to_pylist() for name in columns), strict=True):
        face = dict(zip(columns, values, strict=True))
        photo = fetched[face["photo_id"]]
        yield FaceView(**face, width=photo["width"], height=photo["height"])


def _seconds(moment: datetime | None) -> float:
    """Seconds, for ordering; an unknown date comes last."""
    return float("inf") if moment is None else (moment.replace(tzinfo=None) - _EPOCH).total_seconds()


STAGE = Stage(
    name=NAME,
    version=1,
    unit="face",
    scope="dataset",
    reads=("detect", "fetch", "metadata"),
    schema=KEPT,
    config=FilterConfig,
    run=run,
    doc="Applies the rules, removes duplicates, balances.",
    seconds=1e-4,
    columns={
        "detect": (*(name for name in FaceView._fields if name not in _SIZE), "embedding"),
        "fetch": _FETCHED,
        "metadata": _PHOTO,
    },
)
