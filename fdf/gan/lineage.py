"""What a run eats, and what that makes of its weights: whose photos, under which licences, looked at when.

Written before the first step, so that nothing is ever eaten that isn't listed: `lineage.json` for people, `faces.parquet` with
every face and the picture of the run at which it is first drawn.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fdf.consent.licenses import RELEASABLE, RIGHTS, combined_rights
from fdf.errors import DataError
from fdf.gan.config import DataConfig
from fdf.gan.data import Faces, first_order
from fdf.store.files import atomic_file, disk_errors, file_sha256
from fdf.store.shards import INDEX, MANIFEST, packed_from

ALLOWING: Final = frozenset({"allowed_by_licence"})
"""Consent decisions that allow a face to be learnt from. What isn't listed refuses."""
FACES_FILE: Final = "faces.parquet"
LINEAGE_FILE: Final = "lineage.json"
_RENDERED: Final = {"source": "synthetic", "license_id": "CC0-1.0"}
_RENDERED_OWNER: Final = r"^8[0-9]{12}@S00$"
_RENDERED_URL: Final = r"^http://synthetic\.invalid/[a-z]+/(?P<photo_id>8[0-9]{13})\.jpg$"
"""What `fdf synth` and its pipeline say of every photo. Owners on Flickr are `…@N00` and the like, never `@S00`."""


@dataclass(frozen=True)
class Lineage:
    """What a run eats.

    Attributes:
        index_sha256: of the index of the shards; `manifest_sha256`: of the manifest that they were packed from, None where an
            older index doesn't say; `shards`: path, SHA-256, rights class and number of samples of each.
        faces, photos, owners: how many.
        synthetic_faces: people whom `fdf synth` rendered, by all that a sidecar says of it.
        sources, licenses, rights_classes, decisions, policies: value → faces.
        consent_dates: the first and the last day on which signals against use were looked for; of people who exist, if there
            are any.
        weights_rights_class: the strictest reading: what the weights ask of their users if they count as made from all of it.
        conflict: why no single licence satisfies all of it; empty if one does.
        forced: what spoke against training on it, and was overruled with --force.
        ancestors: lineages of the runs whose weights this one began with, the last one first, each with `run`, `pictures` and
            `checkpoint_sha256`. Rights and `forced` are of all of it; counts are of this run alone.
    """

    index_sha256: str
    manifest_sha256: str | None
    shards: tuple[dict[str, Any], ...]
    resolution: int
    faces: int
    photos: int
    owners: int
    synthetic_faces: int
    sources: dict[str, int]
    licenses: dict[str, int]
    rights_classes: dict[str, int]
    decisions: dict[str, int]
    policies: dict[str, int]
    consent_dates: tuple[str, str]
    weights_rights_class: str
    conflict: str
    forced: tuple[str, ...]
    ancestors: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"format": "fdf-lineage-1", **asdict(self)}


def lineage_digest(body: Mapping[str, Any]) -> str:
    """SHA-256 of a lineage as `to_dict` gives it or JSON brings it back, without `forced`, which a later start may add to.

    Checkpoints carry it: so weights can't be taken for those of another run, nor a lineage be cut after them. A manifest that
    isn't known counts as one that isn't named: runs that were begun before it was go on.
    """
    fixed = {key: value for key, value in body.items() if key != "forced"}
    if fixed.get("manifest_sha256") is None:
        fixed.pop("manifest_sha256", None)
    return hashlib.sha256(json.dumps(fixed, sort_keys=True, default=list).encode()).hexdigest()


def today() -> date:
    """The day by the clock; SOURCE_DATE_EPOCH fixes it (reproducible-builds.org)."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(fixed), UTC).date() if fixed.isdigit() else datetime.now(UTC).date()


def objections(faces: Faces, config: DataConfig, day: date) -> Iterator[str]:
    """Why these faces should not be learnt from; nothing if all is well."""
    if faces.altered:
        yield f"{len(faces.altered)} shards are not the ones that the index names, first {faces.altered[0]}"
    yield from _of_another_manifest(faces)
    refused = {name: count for name, count in _counts(faces, "consent_decision").items() if name not in ALLOWING}
    if refused:
        what = ", ".join(f"{count} × {name}" for name, count in refused.items())
        yield f"{sum(refused.values())} faces have no consent decision that allows it ({what})"
    shut = {name: count for name, count in _counts(faces, "rights_class").items() if name not in RELEASABLE}
    if shut:
        what = ", ".join(f"{count} × {name}" for name, count in shut.items())
        yield f"the licences of {sum(shut.values())} faces allow nothing to be made of them ({what})"
    oldest = _oldest(config, day)
    days = _days(faces, _real(faces))
    unknown = {value: count for value, count in days.items() if not _is_past(value, day)}
    if unknown:
        yield (
            f"when signals of {sum(unknown.values())} faces were looked at is not known "
            f"({', '.join(map(repr, unknown))} instead of a day up to today)"
        )
    stale = {value: count for value, count in days.items() if value not in unknown and value < oldest}
    if stale:
        yield (
            f"signals of {sum(stale.values())} faces were looked at before {oldest}, the earliest on {min(stale)}: "
            "they may have changed"
        )


def permitted(faces: Faces, config: DataConfig, day: date) -> np.ndarray:
    """Which faces, bool (N,), may be shown: those of the rights classes asked for against which `objections` has nothing."""
    names = ("consent_decision", "rights_class", "consent_date")
    oldest, columns = _oldest(config, day), (faces.table[name].to_pylist() for name in names)
    rows = zip(*columns, _real(faces), strict=True)
    return np.array(
        [
            decision in ALLOWING
            and rights in RELEASABLE
            and (not config.rights or rights in config.rights)
            and (not real or (_is_past(str(when), day) and when >= oldest))
            for decision, rights, when, real in rows
        ],
        dtype=bool,
    )


def _oldest(config: DataConfig, day: date) -> str:
    """The earliest day whose signals aren't stale."""
    return (day - timedelta(days=config.max_consent_age_days)).isoformat()


def _of_another_manifest(faces: Faces) -> Iterator[str]:
    """Whether the build's manifest was made anew since its shards were packed. Shards that lie alone are believed."""
    before, manifest = packed_from(faces.folder / INDEX), faces.folder.absolute().parent / MANIFEST
    if before is None or not manifest.is_file():
        return
    now = file_sha256(manifest)
    if now != before:
        yield (
            f"the shards are not packed from the manifest beside them (SHA-256 {now[:12]}…), but from another one "
            f"({before[:12]}…): faces may have been taken back since. `fdf build … --from shard --rebuild` packs them again"
        )


def _is_past(value: str, day: date) -> bool:
    """Whether this is a day, YYYY-MM-DD, and not one to come; east of us it may be tomorrow already."""
    try:
        found = date.fromisoformat(value)
    except ValueError:
        return False
    return found.isoformat() == value and found <= day + timedelta(days=1)  # days are compared as text


def refuse(found: Collection[str], *, force: bool) -> None:
    """Stop at objections, unless forced.

    Raises:
        DataError: there are some.
    """
    if found and not force:
        raise DataError(
            "These shards should not be trained on",
            expected="signals that are fresh and allow it, and shards as the index names them",
            got="; ".join(found),
            action="Build again (`fdf build` looks at all signals), begin with other weights, or overrule it with --force: the "
            "model's card will say so",
        )


def lineage(faces: Faces, forced: Collection[str] = (), ancestors: Collection[Mapping[str, Any]] = ()) -> Lineage:
    """Count what there is; rights are of all that went into the weights, by way of ancestors, too."""
    real = _real(faces)
    days = _days(faces, real) or _days(faces, np.ones(len(faces), bool))
    rights = _counts(faces, "rights_class")
    eaten = {*rights, *(name for one in ancestors for name in one["rights_classes"])}
    combined = combined_rights(eaten)
    parts = {part for name in eaten for part in name.split("-")}
    strictest = "-".join(part for part in ("by", "nc", "sa") if part in parts) or "pd"
    worst = max(eaten, key=RIGHTS.index)
    return Lineage(
        index_sha256=faces.digest,
        manifest_sha256=packed_from(faces.folder / INDEX),
        shards=tuple(
            {"path": e.path, "sha256": e.sha256, "rights_class": e.rights_class, "split": e.split, "samples": e.samples}
            for e in faces.entries
        ),
        resolution=faces.resolution,
        faces=len(faces),
        photos=faces.table.group_by(["source", "photo_id"]).aggregate([]).num_rows,
        # A photo whose owner isn't known stands for an owner of its own.
        owners=pc.count_distinct(pc.coalesce(faces.table["owner_nsid"], faces.table["photo_id"])).as_py(),
        synthetic_faces=int((~real).sum()),
        sources=_counts(faces, "source"),
        licenses=_counts(faces, "license_id"),
        rights_classes=rights,
        decisions=_counts(faces, "consent_decision"),
        policies=_counts(faces, "consent_policy"),
        consent_dates=(min(days), max(days)),
        weights_rights_class=worst if worst in ("nd", "none") else strictest,
        conflict=combined.conflict,
        forced=tuple(forced),
        ancestors=tuple(dict(one) for one in ancestors),
    )


def write_faces(faces: Faces, seed: int, path: Path, inherited: pa.Table | None = None) -> None:
    """Write which faces a run may draw, and when it first does: a checkpoint has eaten those below its number of pictures.

    Args:
        inherited: those of `faces_eaten_by`, eaten before the first picture.
    """
    first = np.empty(len(faces), np.int64)
    first[first_order(len(faces), seed)] = np.arange(len(faces))
    shard = pa.DictionaryArray.from_arrays(pa.array(faces.shard), pa.array([entry.path for entry in faces.entries]))
    columns = faces.table.select(["photo_id", "face_id", "owner_nsid", "source", "license_id", "rights_class"])
    table = columns.append_column("shard", shard).append_column("first_picture", pa.array(first))
    if inherited is not None:
        table = pa.concat_tables([table, inherited.cast(table.schema)])
    with atomic_file(path) as file, disk_errors(path):
        pq.write_table(table.sort_by([("photo_id", "ascending"), ("face_id", "ascending")]), file, compression="zstd")


def read_faces(folder: Path, columns: Sequence[str] | None = ("photo_id", "owner_nsid", "first_picture")) -> pa.Table:
    """What `write_faces` wrote into a run's folder; all columns, or some.

    Raises:
        DataError: it isn't there, or damaged.
    """
    path = folder / FACES_FILE
    if not path.is_file():
        raise DataError(
            f"{folder} has models and no {FACES_FILE}: what they ate is not known",
            expected="the file that `fdf train` wrote before the first step",
            action="Bring it back, or treat these models as if they had seen every photo of their shards",
        )
    try:
        return pq.read_table(path, columns=columns and list(columns))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} can't be read ({error})", expected="a file that `fdf train` wrote") from error


def _counts(faces: Faces, column: str) -> dict[str, int]:
    rows = pc.value_counts(faces.table[column].combine_chunks().cast(pa.string())).to_pylist()
    return {
        str(row["values"]): row["counts"] for row in sorted(rows, key=lambda row: (-row["counts"], str(row["values"])))
    }


def _days(faces: Faces, of: np.ndarray) -> dict[str, int]:
    """On which days signals of some faces, bool (N,), were looked at → how many of them."""
    rows = pc.value_counts(faces.table["consent_date"].cast(pa.string()).filter(pa.array(of))).to_pylist()
    return {str(row["values"]): row["counts"] for row in sorted(rows, key=lambda row: str(row["values"]))}


def _real(faces: Faces) -> np.ndarray:
    """Which faces, bool (N,), aren't rendered: one thing that doesn't fit is enough, for nobody's signals may be waived."""
    table = faces.table
    named = pc.struct_field(pc.extract_regex(table["download_url"], _RENDERED_URL), "photo_id")
    rendered = pc.and_(
        pc.equal(named, table["photo_id"]), pc.match_substring_regex(table["owner_nsid"], _RENDERED_OWNER)
    )
    for name, value in _RENDERED.items():
        rendered = pc.and_(rendered, pc.equal(table[name].cast(pa.string()), value))
    return ~np.asarray(rendered.fill_null(False).to_numpy(), dtype=bool)
