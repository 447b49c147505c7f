"""Stage `metadata`: records of a source as found → PHOTOS with checked fields and a known licence.

Unusable records are drops with a reason. An impossible field in a usable record becomes null and is counted in the notes.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
from pydantic import Field, field_validator

from fdf.consent.licenses import LICENSES, RIGHTS, find_license, refusal
from fdf.consent.signals import opted_out_by_tags
from fdf.schema import PHOTOS
from fdf.sources.yfcc import mirror_key
from fdf.stages.base import Config, Stage, StageResult, Tools, drop, dropped_table
from fdf.vocabulary import Reason

NAME: Final = "metadata"

_FIRST_PHOTOGRAPH = datetime(1826, 1, 1)
_AHEAD = timedelta(hours=14)  # camera time has no zone: it may be that far ahead of UTC
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""A fixed bound, not today's date: the same rows must give the same table next year."""

_FLICKR_OPENS = datetime(2004, 2, 10, tzinfo=UTC)
_BY_LINE: Final = "line:"  # how DROPPED names a row without an id of its own
_EXCLUDABLE: Final = {name.lower(): name for name in (*LICENSES, *RIGHTS)}


class MetadataConfig(Config):
    """Which records may become photos."""

    exclude_licenses: tuple[str, ...] = Field(
        (),
        description="SPDX ids or rights classes that this corpus must not hold, for example `by-nc` or `CC-BY-SA-2.0`.",
    )
    keep_location: bool = Field(
        False, description="Keep latitude and longitude. Off: places are nobody's business here."
    )
    obey_opt_out_tags: bool = Field(True, description="Drop photos tagged `no_cv` (also as a machine tag).")

    @field_validator("exclude_licenses")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """As the registry writes them, each once: a name that matches nothing would exclude nothing."""
        return tuple(dict.fromkeys(_excludable(name) for name in value))


def _excludable(name: str) -> str:
    key = "-".join(name.lower().split())
    if key in _EXCLUDABLE:
        return _EXCLUDABLE[key]
    near = [_EXCLUDABLE[one] for one in difflib.get_close_matches(key, _EXCLUDABLE, n=3)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the rights classes are {', '.join(RIGHTS)}"
    raise ValueError(f"{name!r} is no rights class and no SPDX id of a known licence; {hint}")


class _ImpossibleError(Exception):
    """A field that can't be true; becomes null and is counted."""


def run(tables: Mapping[str, pa.Table], config: MetadataConfig, tools: Tools) -> StageResult:
    """RECORDS (under `source`) → PHOTOS. One record gives one photo or one drop."""
    records = tables["source"]
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    nulled: Counter[str] = Counter()
    seen: set[str] = set()
    for record in _rows(records):
        refused = _refuse(record, config, seen)
        photo_id = record["photo_id"]
        # Without an id of its own a row is named by its line: two rows must not account for one photo.
        own = photo_id and photo_id not in seen and not photo_id.startswith(_BY_LINE)
        name = photo_id if own else f"{_BY_LINE}{record['line_index']}"
        seen.add(name)
        if refused:
            dropped.append(drop(NAME, name, *refused))
            continue
        kept.append(_photo(record, config, tools.source, nulled))
    tools.advance(records.num_rows)
    return StageResult(
        pa.Table.from_pylist(kept, schema=PHOTOS),
        dropped_table(dropped),
        {f"nulled.{name}": count for name, count in sorted(nulled.items())},
    )


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    names = table.schema.names
    for values in zip(*(column.to_pylist() for column in table.columns), strict=True):
        yield dict(zip(names, values, strict=True))


def _refuse(record: dict[str, Any], config: MetadataConfig, seen: set[str]) -> tuple[Reason, str] | None:
    """Why a record can't be used, in the order in which a person would look."""
    if record["problem"]:
        return Reason.BAD_ROW, record["problem"]
    if not record["photo_id"]:
        return Reason.BAD_ROW, "no photo id"
    if record["photo_id"].startswith(_BY_LINE):
        return Reason.BAD_ROW, f"an id may not begin with {_BY_LINE!r}"
    if record["marker"] not in (None, "0"):
        return Reason.NOT_A_PHOTO, f"marker {record['marker']}"
    url = record["download_url"]
    if not url:
        return Reason.BAD_ROW, "no download URL"
    if not _web_url(url):
        return Reason.BAD_ROW, f"the download URL is no http(s) URL: {url[:200]}"
    if record["photo_id"] in seen:
        return Reason.BAD_ROW, f"photo id {record['photo_id']} was there before"
    licence = find_license(record["license_name"], record["license_url"])
    reason = refusal(licence)
    if reason or licence is None:
        found = f"{record['license_name'] or 'no name'}, {record['license_url'] or 'no URL'}"
        return reason or Reason.LICENSE_UNKNOWN, licence.id if licence else found
    if licence.id in config.exclude_licenses or licence.rights_class in config.exclude_licenses:
        return Reason.LICENSE_EXCLUDED, f"{licence.id} is excluded by the recipe"
    if config.obey_opt_out_tags:
        tag = opted_out_by_tags(_tags(record["tags"]), _tags(record["machine_tags"]))
        if tag:
            return Reason.OPTED_OUT, f"tag {tag}"
    return None


def _photo(record: dict[str, Any], config: MetadataConfig, source: str, nulled: Counter[str]) -> dict[str, Any]:
    """One row of PHOTOS of a record that `_refuse` let pass."""
    licence = find_license(record["license_name"], record["license_url"])
    if licence is None:
        raise ValueError("a record without a known licence is a drop")

    def checked(name: str, parse: Any) -> Any:
        text = record[name]
        if not text:
            return None
        try:
            return parse(text)
        except (_ImpossibleError, ValueError, OverflowError, OSError):  # OSError: what the C library says of year 10⁹
            nulled[name] += 1
            return None

    def text(name: str) -> str | None:
        value: str | None = record[name]
        if value and "\ufffd" in value:
            nulled[f"{name}_bytes"] += 1  # undecodable bytes were replaced, the rest of the text is kept
        return value

    uploaded = checked("date_uploaded", _date_uploaded)
    return {
        "photo_id": record["photo_id"],
        "source": source,
        "line_index": record["line_index"],
        "owner_nsid": record["owner_nsid"],
        "owner_name": text("owner_name"),
        "title": text("title"),
        "tags": _tags(record["tags"]),
        "machine_tags": _tags(record["machine_tags"]),
        "date_taken": checked("date_taken", lambda v: _date_taken(v, uploaded or _LATEST)),
        "date_uploaded": uploaded,
        "capture_device": text("capture_device"),
        # Checked even if it is left behind: an impossible place is counted either way.
        "longitude": _only_if(config.keep_location, checked("longitude", lambda v: _degrees(v, 180))),
        "latitude": _only_if(config.keep_location, checked("latitude", lambda v: _degrees(v, 90))),
        "page_url": checked("page_url", _page),
        "download_url": record["download_url"],
        "mirror_key": mirror_key(record["download_url"]),
        "server_id": record["server_id"],
        "secret": record["secret"],
        "secret_original": record["secret_original"],
        "extension": checked("extension", _extension),
        "expected_sha256": checked("sha256", _sha256),
        "license_name": record["license_name"],
        "license_url": licence.url,
        "license_id": licence.id,
    }


def _tags(text: str | None) -> list[str]:
    return [tag for tag in (part.strip() for part in (text or "").split(",")) if tag]


def _only_if(wanted: bool, value: float | None) -> float | None:
    return value if wanted else None


def _web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable() and " " not in text


def _page(text: str) -> str:
    if not _web_url(text):
        raise _ImpossibleError
    return text


def _date_taken(text: str, latest: datetime) -> datetime:
    """`2011-11-07 07:20:22.0`: camera time, without a zone, not after `latest`: the upload, where that is known.

    Cameras with an empty battery write years like 4501.
    """
    moment = datetime.fromisoformat(text.strip()).replace(microsecond=0, tzinfo=None)
    if not _FIRST_PHOTOGRAPH <= moment <= latest.replace(tzinfo=None) + _AHEAD:
        raise _ImpossibleError
    return moment


def _date_uploaded(text: str) -> datetime:
    moment = (
        datetime.fromtimestamp(int(text), UTC) if text.lstrip("-").isdigit() else _utc(datetime.fromisoformat(text))
    )
    if not _FLICKR_OPENS <= moment < _LATEST:
        raise _ImpossibleError
    return moment


def _utc(moment: datetime) -> datetime:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.replace(microsecond=0)


def _degrees(text: str, limit: float) -> float:
    value = float(text)
    if not math.isfinite(value) or abs(value) > limit:
        raise _ImpossibleError
    return value


def _extension(text: str) -> str:
    extension = text.strip().lower().lstrip(".")
    if not (extension.isascii() and extension.isalnum() and len(extension) <= 5):
        raise _ImpossibleError
    return extension


def _sha256(text: str) -> str:
    value = text.strip().lower()
    if len(value) != 64 or any(c not in "0123456789abcdef" for c in value):
        raise _ImpossibleError
    return value


STAGE = Stage(
    name=NAME,
    version=1,
    unit="photo",
    scope="partition",
    reads=("source",),
    schema=PHOTOS,
    config=MetadataConfig,
    run=run,
    doc="Reads the metadata, drops what is no photo or may not be used, nulls impossible fields.",
    seconds=2e-5,
)
