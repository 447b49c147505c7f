"""Example faces: drawn by lot, not by looks, and cut from the photos as the shards cut them.

The lot is a hash of the face's id, so that the same build shows the same faces. Every picture carries its credit line: a page
with pictures on it is a publication too.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fdf.consent.attribution import UNKNOWN_AUTHOR, UNTITLED, plain, plain_url
from fdf.consent.licenses import find_license
from fdf.report.overlay import Mark, marks
from fdf.report.snapshot import Snapshot
from fdf.report.thumbnail import Thumbnails
from fdf.schema import DROPPED, FACES, FETCHED, PHOTOS, RELEASE
from fdf.stages.balance import lot
from fdf.stages.manifest import CHANGES
from fdf.store.tables import read_table
from fdf.vision.crop import crop_box
from fdf.vocabulary import Reason

PER_REASON: Final = 2
"""Dropped faces shown for one reason."""

SHOWABLE: Final = (
    Reason.NO_KEYPOINTS,
    Reason.KEYPOINT_OUTSIDE,
    Reason.LOW_SCORE,
    Reason.FACE_TOO_SMALL,
    Reason.CROP_TOO_SMALL,
    Reason.POSE_OUT_OF_RANGE,
    Reason.BLURRED,
    Reason.TOO_DARK,
    Reason.TOO_BRIGHT,
    Reason.LOW_CONTRAST,
    Reason.DUPLICATE_PHOTO,
    Reason.DUPLICATE_FACE,
    Reason.OVER_REPRESENTED,
)
"""Reasons whose faces may be shown. A list of what may, so that a face someone took back is never shown by oversight."""


@dataclass(frozen=True)
class Credit:
    """Title, author, source, licence: what a licence asks to stand beside a picture. Plain text and http(s) URLs."""

    title: str
    author: str
    page_url: str
    licence: str
    licence_url: str
    changes: str


@dataclass(frozen=True)
class Example:
    """One face. `picture` is a `data:` URI, empty where the photo can't be read any more; box in per cent of the crop."""

    face_id: str
    picture: str
    credit: Credit
    crop_size: int
    box: tuple[float, float, float, float]
    marks: tuple[Mark, ...]
    reason: str = ""
    detail: str = ""

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        return f"Face cut from {self.credit.title} by {self.credit.author}, {self.crop_size:,} pixels wide"


@dataclass(frozen=True)
class Gallery:
    """Examples out of `total` faces."""

    examples: tuple[Example, ...]
    total: int


_SHOWN_COLUMNS = (
    "face_id", "photo_id", "title", "owner_name", "page_url", "license_id", "license_url", "changes", "crop_box",
    "crop_size", "box", "keypoints",
)  # fmt: skip


def kept_faces(build: Snapshot, count: int) -> Gallery | None:
    """A lot of the released faces; None before the manifest."""
    if not build.released:
        return None
    ids = build.release("face_id")["face_id"].to_pylist()
    drawn = _draw(ids, count)
    rows = _rows([build.release_path], RELEASE, _SHOWN_COLUMNS, "face_id", drawn)
    thumbnails = Thumbnails(build.layout.root, _places(build, {row["photo_id"] for row in rows.values()}))
    examples = []
    for row in (rows[face_id] for face_id in drawn):
        x0, y0 = row["crop_box"][:2]
        side = row["crop_size"]
        points = [(x * side + x0, y * side + y0, c) for x, y, c in _triples(row["keypoints"])]
        examples.append(_example(build, row, row, row["crop_box"], points, thumbnails))
    return Gallery(tuple(examples), len(ids))


def dropped_faces(build: Snapshot, count: int) -> Gallery | None:
    """A few faces that the filter dropped, for each reason; None before the filter, or if none are wanted."""
    if "filter" not in build.records or not count:
        return None
    chosen = _drawn_drops(build)
    faces = _rows(
        build.kept_paths("detect"), FACES, ("face_id", "photo_id", "box", "keypoints"), "face_id", list(chosen)
    )
    wanted = {row["photo_id"] for row in faces.values()}
    places = _places(build, wanted)
    columns = ("photo_id", "title", "owner_name", "page_url", "license_id", "license_url")
    photos = _rows(build.kept_paths("metadata"), PHOTOS, columns, "photo_id", sorted(wanted))
    thumbnails = Thumbnails(build.layout.root, places)
    rule = build.recipe.filter.rules.crop_rule
    examples = []
    for face_id, drop in chosen.items():
        face = faces.get(face_id)
        if face is None or face["photo_id"] not in places or face["photo_id"] not in photos:
            continue  # its stage is being built again
        place = places[face["photo_id"]]
        crop = crop_box(face["box"], place["width"], place["height"], rule)
        photo = {**photos[face["photo_id"]], "changes": CHANGES}
        points = _triples(face["keypoints"])
        examples.append(_example(build, face, photo, crop, points, thumbnails, drop["reason"], drop["detail"]))
    dropped = sum(sum(row.dropped.values()) for row in build.funnel if row.stage == "filter")
    return Gallery(tuple(examples), dropped)


def _example(
    build: Snapshot,
    face: Mapping[str, Any],
    photo: Mapping[str, Any],
    crop: Sequence[int],
    points: Iterable[tuple[float, float, float]],
    thumbnails: Thumbnails,
    reason: str = "",
    detail: str | None = None,
) -> Example:
    """Box and points are in pixels of the photo; the page wants per cent of the crop."""
    x0, y0, x1, _ = crop
    scale = 100 / (x1 - x0)
    left, top, right, bottom = face["box"]
    box = ((left - x0) * scale, (top - y0) * scale, (right - left) * scale, (bottom - top) * scale)
    least = build.recipe.filter.rules.min_keypoint_confidence
    return Example(
        face_id=face["face_id"],
        picture=thumbnails.uri(face["photo_id"], crop),
        credit=_credit(photo),
        crop_size=x1 - x0,
        box=tuple(round(value, 1) for value in box),
        marks=marks([((x - x0) * scale, (y - y0) * scale, c) for x, y, c in points], least),
        reason=reason,
        detail=detail or "",
    )


def _credit(row: Mapping[str, Any]) -> Credit:
    licence = find_license(None, row["license_url"])
    title = plain(row["title"])
    return Credit(
        title=f"“{title}”" if title else UNTITLED,
        author=plain(row["owner_name"]) or UNKNOWN_AUTHOR,
        page_url=plain_url(row["page_url"]),
        licence=licence.name if licence else row["license_id"],
        licence_url=plain_url(row["license_url"]),
        changes=plain(row["changes"], limit=1000),
    )


def _draw(ids: Iterable[str], count: int) -> list[str]:
    """The `count` ids that the lot falls on, in its order; a list drawn longer begins with the shorter one."""
    return heapq.nsmallest(count, ids, key=lambda face_id: (lot(face_id, "report"), face_id))


def _drawn_drops(build: Snapshot) -> dict[str, dict[str, Any]]:
    """Drop rows to show, by face id, reason after reason."""
    pool: dict[Reason, list[dict[str, Any]]] = defaultdict(list)
    for path in build.dropped_paths("filter"):
        table = read_table(path, DROPPED, ("face_id", "reason", "detail"))
        for reason in SHOWABLE:
            some = table.filter(pc.and_(pc.equal(table["reason"], reason.value), pc.is_valid(table["face_id"])))
            drawn = _draw(some["face_id"].to_pylist(), PER_REASON)
            pool[reason] += some.filter(pc.is_in(some["face_id"], pa.array(drawn, pa.string()))).to_pylist()
    chosen = {}
    for reason in SHOWABLE:
        rows = {row["face_id"]: row for row in pool[reason]}
        chosen.update({face_id: rows[face_id] for face_id in _draw(rows, PER_REASON)})
    return chosen


def _places(build: Snapshot, photo_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Where the bytes of some photos lie."""
    columns = ("photo_id", "archive", "offset", "length", "width", "height")
    return _rows(build.kept_paths("fetch"), FETCHED, columns, "photo_id", sorted(photo_ids))


def _rows(
    paths: Sequence[Path], schema: pa.Schema, columns: Sequence[str], key: str, wanted: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Rows by key; one partition is in memory at a time. An id that stands twice has its first row."""
    found: dict[str, dict[str, Any]] = {}
    values = pa.array(wanted, pa.string())
    for path in paths if wanted else ():
        table = read_table(path, schema, columns)
        for row in table.filter(pc.is_in(table[key], values)).to_pylist():
            found.setdefault(row[key], row)
    return found


def _triples(flat: Sequence[float]) -> list[tuple[float, float, float]]:
    return [(flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat), 3)]
