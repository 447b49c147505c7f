"""Who made the pictures, under which licence, and is each face's paper complete? Works on a RELEASE table alone.

The audit trusts nothing that the build concluded: licences are looked up anew from their URLs, attributions are checked part
by part, rights classes recomputed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fdf.consent.attribution import attribution, missing_parts
from fdf.consent.licenses import RIGHTS, Obligations, combined_rights, find_license, refusal

NOTICE = (
    "A licence is the photographer's permission. It is not the consent of the person in the picture; "
    "nothing here says that anyone pictured has agreed."
)

_CHECKED = (
    "face_id", "photo_id", "source", "owner_nsid", "owner_name", "title", "page_url", "license_id", "license_url",
    "rights_class", "attribution", "changes",
)  # fmt: skip
COLUMNS = (*_CHECKED, "consent_decision", "models")
"""Columns of a RELEASE that an audit reads."""
BATCH_ROWS = 20_000
"""Faces to look at at once."""

_MODEL_FIELDS = ("id", "task", "sha256", "weight_license")
_Model = tuple[str, str, str, str]


@dataclass(frozen=True)
class RightsRow:
    """One licence of the corpus."""

    license_id: str
    license_url: str
    rights_class: str
    photos: int
    faces: int
    owners: int


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one face's rights."""

    face_id: str
    photo_id: str
    kind: str
    detail: str


@dataclass(frozen=True)
class ModelRow:
    """Weights that touched the corpus, and how many faces they touched."""

    id: str
    task: str
    sha256: str
    weight_license: str
    faces: int


@dataclass(frozen=True)
class Audit:
    """What an audit found. `findings` is empty if all is well."""

    faces: int
    rights: tuple[RightsRow, ...]
    obligations: Obligations
    findings: tuple[Finding, ...]
    models: tuple[ModelRow, ...]
    decisions: Mapping[str, int]
    notice: str = NOTICE


def audit(release: pa.Table, advance: Callable[[int], None] = lambda _: None) -> Audit:
    """Audit a RELEASE table; `advance` hears of every so many faces."""
    return audit_batches(release.select(list(COLUMNS)).to_batches(max_chunksize=BATCH_ROWS), advance)


def audit_batches(batches: Iterable[pa.RecordBatch], advance: Callable[[int], None] = lambda _: None) -> Audit:
    """Audit a RELEASE that comes in pieces with `COLUMNS`: only one piece, and a few words a face, are held at once."""
    findings: list[Finding] = []
    decisions: Counter[str] = Counter()
    rights, models = _Rights(), Counter[_Model]()
    for batch in batches:
        rows = batch.select(list(_CHECKED)).to_pylist()
        for row in rows:
            findings += _check(row)
        rights.add(rows)
        models.update(_model_counts(batch["models"]))
        decisions.update(batch["consent_decision"].to_pylist())
        advance(batch.num_rows)
    known = {kind for kind, _, url in rights.codes if find_license(None, url) is not None}
    return Audit(
        faces=decisions.total(),
        rights=rights.rows(),
        obligations=combined_rights(known & set(RIGHTS)),
        findings=tuple(findings),
        models=tuple(
            sorted((ModelRow(*model, faces=count) for model, count in models.items()), key=lambda model: model.id)
        ),
        decisions=dict(decisions),
    )


def _check(row: Mapping[str, Any]) -> Iterator[Finding]:
    def finding(kind: str, detail: str) -> Finding:
        return Finding(row["face_id"], row["photo_id"], kind, detail)

    licence = find_license(None, row["license_url"])
    reason = refusal(licence)
    if reason:
        yield finding("refused_licence", f"{row['license_id']} ({row['license_url'] or 'no URL'}): {reason}")
    for part in missing_parts(row["owner_name"], row["page_url"], licence):
        yield finding(f"missing_{part}", f"the attribution needs the {part}")
    if licence is None:
        return
    if (licence.id, licence.url) != (row["license_id"], row["license_url"]):
        yield finding("wrong_licence_id", f"{row['license_url']} is {licence.id}, the row says {row['license_id']}")
    if licence.rights_class != row["rights_class"]:
        yield finding(
            "wrong_rights_class", f"{licence.id} is {licence.rights_class}, the row says {row['rights_class']}"
        )
    credit = attribution(row["title"], row["owner_name"], row["page_url"], licence, row["changes"])
    if credit != row["attribution"]:
        yield finding("wrong_attribution", f"the row says {row['attribution']!r}, its parts give {credit!r}")


class _Rights:
    """Counts faces, photos and owners of each licence. Of a face it keeps a number and three words, in Arrow."""

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str, str], int] = {}
        self._faces: Counter[int] = Counter()
        self._parts: list[pa.Table] = []

    def add(self, rows: list[dict[str, Any]]) -> None:
        keys = ((row["rights_class"], row["license_id"], row["license_url"]) for row in rows)
        codes = [self.codes.setdefault(key, len(self.codes)) for key in keys]
        self._faces.update(codes)
        part = {
            "code": pa.array(codes, pa.int32()),
            "source": pa.array([row["source"] for row in rows], pa.string()),
            "photo": pa.array([row["photo_id"] for row in rows], pa.string()),
            "owner": pa.array([row["owner_nsid"] or row["photo_id"] for row in rows], pa.string()),
        }
        self._parts.append(pa.table(part))

    def rows(self) -> tuple[RightsRow, ...]:
        photos, owners = self._distinct("source", "photo"), self._distinct("owner")
        return tuple(
            RightsRow(license_id, url, rights_class, photos=photos[code], faces=self._faces[code], owners=owners[code])
            for (rights_class, license_id, url), code in sorted(self.codes.items())
        )

    def _distinct(self, *columns: str) -> dict[int, int]:
        """Code → how many different values of `columns` it has."""
        if not self._parts:
            return {}
        once = pa.concat_tables(self._parts).group_by(["code", *columns]).aggregate([])
        counts = once.group_by("code").aggregate([([], "count_all")])
        return dict(zip(counts["code"].to_pylist(), counts["count_all"].to_pylist(), strict=True))


def _model_counts(models: pa.ListArray) -> dict[_Model, int]:
    """How often each model stands in a column `models`, in the order of their first appearance."""
    flat = models.flatten()
    table = pa.table({name: flat.field(name) for name in _MODEL_FIELDS})
    counts = table.group_by(list(_MODEL_FIELDS), use_threads=False).aggregate([([], "count_all")])
    return {tuple(row[name] for name in _MODEL_FIELDS): row["count_all"] for row in counts.to_pylist()}
