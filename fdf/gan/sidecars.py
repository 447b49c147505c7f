"""What is believed of a face: its sidecar in a shard, held against the index of the shard and the registry of licences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fdf.consent.licenses import LICENSES, License, find_license
from fdf.errors import DataError
from fdf.store.shards import ShardEntry

_WORD: Final = pa.dictionary(pa.int32(), pa.string())
ROWS: Final = pa.schema(
    [(name, pa.string()) for name in ("face_id", "photo_id", "owner_nsid", "download_url")]
    + [(name, _WORD) for name in ("source", "license_id", "rights_class")]
    + [(name, _WORD) for name in ("consent_date", "consent_decision", "consent_policy")]
)
"""What the lineage keeps of a sidecar."""
_NEVER_EMPTY: Final = ("face_id", "photo_id", "source", "license_id", "rights_class")
"""Without these a face could be neither licensed nor taken back."""


def read_sidecar(data: bytes, entry: ShardEntry, key: str, path: Path) -> dict[str, Any]:
    """The `row` of a face as in `ROWS`, its `box` (4 numbers) and `keypoints` (21), as shares of the picture.

    Raises:
        DataError: incomplete, contradicting the index or its own licence, under a licence that isn't known, of another
            resolution, or with a box that hides nothing.
    """
    try:
        body = json.loads(data)
        side = int(body["resolution"])
        box, keypoints = [float(v) for v in body["box_in_crop"]], [float(v) for v in body["keypoints"]]
        if (len(box), len(keypoints)) != (4, 21):
            raise ValueError(f"{len(box)} numbers of a box and {len(keypoints)} of keypoints")
        if not _covers(box, side):  # nothing would be hidden of such a face
            raise ValueError(f"a box that covers no pixel: {box}")
        row = {name: body[name] for name in ROWS.names}
        for name, value in row.items():
            if not isinstance(value, str | None) or (name in _NEVER_EMPTY and not (value or "").strip()):
                raise ValueError(f"{name} {value!r}")
        for name, stated in (("rights_class", entry.rights_class), ("split", entry.split)):
            if body[name] != stated:
                raise ValueError(f"{name} {body[name]!r} in a shard of {stated!r}")
    except (ValueError, KeyError, TypeError) as error:
        missing = isinstance(error, KeyError)
        raise DataError(
            f"The sidecar of sample {key} of {path} can't be read",
            expected="the RELEASE row of a face, as docs/manifest.md describes it",
            got=f"no key {error}" if missing else str(error),
            action="Build the shard stage again with this version of fdf",
        ) from error
    if side != entry.resolution:
        raise DataError(
            f"{path} mixes resolutions: sample {key} is of another size",
            expected=f"{entry.resolution} px, as the index says",
            got=f"{side} px",
            action="Build the shard stage again; one folder holds one resolution",
        )
    _of_its_licence(row, f"sample {key} of {path}")
    return {"row": row, "box": box, "keypoints": keypoints}


def license_of(name: str) -> License | None:
    """The licence of an id as a manifest has it; None if fdf gives no such id.

    Ports of 2.1 have ids that stand in no list (`LicenseRef-CC-BY-2.1-AU`): they are read, and must come out the same.
    """
    if name in LICENSES:
        return LICENSES[name]
    found = find_license(name.removeprefix("LicenseRef-"))
    return found if found and found.id == name else None


def _of_its_licence(row: dict[str, Any], where: str) -> None:
    """Hold the rights class against the licence: the rights of the weights come from the one, what they owe from the other."""
    name, stated = row["license_id"], row["rights_class"]
    licence = license_of(name)
    if licence is None:
        raise DataError(
            f"The licence of {where} is not known: what it asks can't be said",
            expected="a license_id that stands in docs/licences.md",
            got=repr(name),
            action="Build again from the metadata stage, which names licences: `fdf build … --from metadata --rebuild`",
        )
    if licence.rights_class != stated:
        raise DataError(
            f"The sidecar of {where} states rights that its licence doesn't give",
            expected=f"rights_class {licence.rights_class!r}, as {name} has it",
            got=repr(stated),
            action="Find out which of them is wrong, then build again from the manifest stage: "
            "`fdf build … --from manifest --rebuild`",
        )


def _covers(box: Sequence[float], side: int) -> bool:
    """Whether a box in shares of the picture has a pixel or more in it, across and down. False for NaN."""
    x0, y0, x1, y1 = box
    return min(x1, 1) - max(x0, 0) >= 1 / side and min(y1, 1) - max(y0, 0) >= 1 / side
