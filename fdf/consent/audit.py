"""Who made the pictures, under which licence, and is each face's paper complete? Works on a RELEASE table alone.

The audit trusts nothing that the build concluded: licences are looked up anew from their URLs, attributions are checked part
by part, rights classes recomputed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fdf.consent.attribution import attribution, missing_parts
from fdf.consent.licenses import Obligations, combined_rights, find_license, refusal

NOTICE = (
    "A licence is the photographer's permission. It is not the consent of the person in the picture; "
    "nothing here says that anyone pictured has agreed."
)

_COLUMNS = (
    "face_id", "photo_id", "source", "owner_nsid", "owner_name", "title", "page_url", "license_id", "license_url",
    "rights_class", "attribution", "changes", "consent_decision", "models",
)  # fmt: skip


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


def audit(release: pa.Table) -> Audit:
    """Audit a RELEASE table."""
    rows = release.select(list(_COLUMNS)).to_pylist()
    findings = tuple(finding for row in rows for finding in _check(row))
    usable = {row["rights_class"] for row in rows if find_license(None, row["license_url"]) is not None}
    return Audit(
        faces=len(rows),
        rights=_rights(rows),
        obligations=combined_rights(usable & {"pd", "by", "by-sa", "by-nc", "by-nc-sa", "nd", "none"}),
        findings=findings,
        models=_models(rows),
        decisions=dict(Counter(row["consent_decision"] for row in rows)),
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


def _rights(rows: list[dict[str, Any]]) -> tuple[RightsRow, ...]:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["rights_class"], row["license_id"], row["license_url"]].append(row)
    return tuple(
        RightsRow(
            license_id,
            url,
            rights_class,
            photos=len({(row["source"], row["photo_id"]) for row in group}),
            faces=len(group),
            owners=len({row["owner_nsid"] or row["photo_id"] for row in group}),
        )
        for (rights_class, license_id, url), group in sorted(groups.items())
    )


def _models(rows: list[dict[str, Any]]) -> tuple[ModelRow, ...]:
    counts = Counter(tuple(sorted(model.items())) for row in rows for model in row["models"])
    found = (ModelRow(**dict(model), faces=count) for model, count in counts.items())
    return tuple(sorted(found, key=lambda model: model.id))
