"""Rights as the page shows them: the audit of the release, worded for a reader who knows licences and not tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

import pyarrow.compute as pc

from fdf.consent.audit import Audit, Finding, audit
from fdf.consent.licenses import find_license
from fdf.report.snapshot import Snapshot
from fdf.schema import RELEASE

SHOWN_FINDINGS = 50
"""Findings listed on the page; all of them are counted, and `fdf audit` lists all."""

_HEAVY = {"keypoints", "box", "box_in_crop", "crop_box", "crop_sha256", "photo_sha256", "photo_pixel_sha256"}
"""Columns that no audit reads, left on the disk."""


@dataclass(frozen=True)
class LicenceLine:
    """One licence of the corpus, named and explained."""

    name: str
    license_id: str
    url: str
    rights_class: str
    asks: str
    photos: int
    faces: int
    owners: int
    share: float


@dataclass(frozen=True)
class Rights:
    """The audit, its licences, and when consent signals were looked at."""

    audit: Audit
    licences: tuple[LicenceLine, ...]
    kinds: dict[str, int]
    findings: tuple[Finding, ...]
    signals: tuple[str, ...]
    policies: tuple[str, ...]
    seen: tuple[date, date] | None

    @property
    def touched(self) -> dict[str, int]:
        """Released faces that each model touched."""
        return {model.id: model.faces for model in self.audit.models}


def rights(build: Snapshot) -> Rights | None:
    """Audit the release; None if there is none yet."""
    if not build.released:
        return None
    release = build.release(*(name for name in RELEASE.names if name not in _HEAVY))
    found = audit(release)
    dates = pc.min_max(release["consent_date"]).as_py()
    signals = release["consent_signals"].combine_chunks().flatten().unique().to_pylist()
    return Rights(
        audit=found,
        licences=tuple(
            LicenceLine(
                name=_name(row.license_url, row.license_id),
                license_id=row.license_id,
                url=row.license_url,
                rights_class=row.rights_class,
                asks=_asks(row.rights_class),
                photos=row.photos,
                faces=row.faces,
                owners=row.owners,
                share=row.faces / max(found.faces, 1),
            )
            for row in sorted(found.rights, key=lambda row: (-row.faces, row.license_id))
        ),
        kinds=dict(Counter(finding.kind for finding in found.findings).most_common()),
        findings=found.findings[:SHOWN_FINDINGS],
        signals=tuple(sorted(signals)),
        policies=tuple(sorted(release["consent_policy"].unique().to_pylist())),
        seen=(dates["min"], dates["max"]) if dates["min"] else None,
    )


def _name(url: str, license_id: str) -> str:
    known = find_license(None, url)
    return known.name if known else license_id


def _asks(rights_class: str) -> str:
    parts = {"by": "credit", "nc": "no commercial use", "sa": "share alike", "nd": "no derivatives"}
    asked = [parts[part] for part in rights_class.split("-") if part in parts]
    return ", ".join(asked) or ("nothing" if rights_class == "pd" else "unknown")
